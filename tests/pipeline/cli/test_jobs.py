"""`medstream jobs` against a scripted Flink: what is asked, printed and told. Real ones: test_job_life."""

from __future__ import annotations

import json
import shlex
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.errors import FlinkUnreachable, JobNotFound, PipelineError, SettingsError, StillRunning
from tests.pipeline.jobs.test_flink_rest import ScriptedFlink, scripted

RUNBOOK = Path(__file__).parents[3] / "deploy" / "README.md"
RUNNING = {
    "jid": "1",
    "name": "medstream",
    "state": "RUNNING",
    "start-time": 1_772_348_400_000,
    "end-time": -1,
}
OTHER = {**RUNNING, "jid": "2", "name": "other"}
ENDED = {**RUNNING, "jid": "3", "state": "FINISHED", "end-time": 1_772_348_500_000}
CHECKPOINTS = {
    "counts": {"completed": 3, "failed": 0},
    "latest": {
        "completed": {"external_path": "file:/c/chk-3", "latest_ack_timestamp": 1, "state_size": 70},
    },
}
DONE = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/savepoint-1"}}


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error; foreseen errors are raised."""
    found = CliRunner().invoke(cli.app, ["jobs", *arguments], env={"COLUMNS": "200"})
    if isinstance(found.exception, PipelineError):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def overview(*jobs: dict[str, Any]) -> dict[tuple[str, str], tuple[int, Any]]:
    return {
        ("GET", "/jobs/overview"): (200, {"jobs": list(jobs)}),
        ("GET", "/jobs/1/checkpoints"): (200, CHECKPOINTS),
    }


def test_jobs_are_listed_with_their_newest_checkpoint() -> None:
    with scripted(overview(RUNNING, ENDED)) as flink:
        code, out, _ = invoke("list", f"--flink-url={flink.url}")
        assert code == 0
        assert "RUNNING" in out
        assert "3 done, 0 failed" in out
        assert "file:/c/chk-3" in out
        assert "FINISHED" not in out
        assert "FINISHED" in invoke("list", "--all", f"--flink-url={flink.url}")[1]
        [listed] = json.loads(invoke("list", "--json", f"--flink-url={flink.url}")[1])
    assert listed["id"] == "1"
    assert (listed["checkpoint_path"], listed["checkpoint_bytes"]) == ("file:/c/chk-3", 70)


def test_a_cluster_without_jobs_says_so() -> None:
    with scripted(overview()) as flink:
        assert "no job runs" in invoke("list", f"--flink-url={flink.url}")[1]


@pytest.mark.parametrize(
    ("jobs", "wanted", "told"),
    [
        ((), [], "no job runs"),
        ((RUNNING, OTHER), [], r"several jobs run .* there is: 1 \(medstream\), 2 \(other\)"),
        ((RUNNING, ENDED), ["--job=3"], r"no running job '3' .* 1 \(medstream\)"),
    ],
)
def test_which_job_is_meant_must_be_clear(jobs: tuple[Any, ...], wanted: list[str], told: str) -> None:
    with scripted(overview(*jobs)) as flink, pytest.raises(JobNotFound, match=told):
        invoke("cancel", f"--flink-url={flink.url}", *wanted)


def ending(flink: ScriptedFlink, answers: dict[tuple[str, str], tuple[int, Any]]) -> None:
    """The job has ended by the second time that it is asked about."""
    answers["GET", "/jobs/overview"] = (200, {"jobs": [ENDED | {"jid": "1"}]})


def test_stop_prints_the_savepoint_alone_when_the_job_has_ended() -> None:
    answers = overview(RUNNING) | {
        ("POST", "/jobs/1/stop"): (202, {"request-id": "r"}),
        ("GET", "/jobs/1/savepoints/r"): (200, DONE),
    }
    with scripted(answers) as flink:
        flink.after["POST", "/jobs/1/stop"] = lambda: ending(flink, answers)
        code, out, _ = invoke("stop", "--savepoint-directory=file:/s", f"--flink-url={flink.url}")
        assert (code, out) == (0, "file:/s/savepoint-1\n")
        assert ("POST", "/jobs/1/stop", {"targetDirectory": "file:/s", "drain": False}) in flink.asked


def test_a_savepoint_leaves_the_job_alone() -> None:
    answers = overview(RUNNING, OTHER) | {
        ("POST", "/jobs/1/savepoints"): (202, {"request-id": "r"}),
        ("GET", "/jobs/1/savepoints/r"): (200, DONE),
    }
    with scripted(answers) as flink:
        assert (
            invoke("savepoint", "--job=medstream", f"--flink-url={flink.url}")[1] == "file:/s/savepoint-1\n"
        )


def test_a_savepoint_that_takes_too_long_is_told() -> None:
    answers = overview(RUNNING) | {
        ("POST", "/jobs/1/savepoints"): (202, {"request-id": "r"}),
        ("GET", "/jobs/1/savepoints/r"): (200, {"status": {"id": "IN_PROGRESS"}}),
    }
    began = time.monotonic()
    with scripted(answers) as flink, pytest.raises(StillRunning, match=r"after 1 s \(--timeout-seconds\)"):
        invoke("savepoint", "--timeout-seconds=1", f"--flink-url={flink.url}")
    assert time.monotonic() - began < 30


def test_cancel_waits_for_the_end() -> None:
    answers = overview(RUNNING) | {("PATCH", "/jobs/1?mode=cancel"): (202, {})}
    with scripted(answers) as flink:
        flink.after["PATCH", "/jobs/1?mode=cancel"] = lambda: ending(flink, answers)
        assert "cancelled medstream (1)" in invoke("cancel", f"--flink-url={flink.url}")[2]


def test_an_embedded_flink_that_goes_with_its_job_has_ended_it() -> None:
    answers = overview(RUNNING) | {("PATCH", "/jobs/1?mode=cancel"): (202, {})}
    with scripted(answers) as flink:
        flink.after["PATCH", "/jobs/1?mode=cancel"] = lambda: threading.Thread(target=flink.close).start()
        assert "cancelled medstream (1)" in invoke("cancel", f"--flink-url={flink.url}")[2]


def test_a_drain_needs_the_job_s_settings() -> None:
    with pytest.raises(SettingsError, match="--input-topic: is needed, as the job has it"):
        invoke("drain", "--bootstrap-servers=127.0.0.1:1", "--output-topic=finals")


def test_a_flink_that_is_away_ends_a_drain_before_it_has_begun() -> None:
    options = ("--bootstrap-servers=127.0.0.1:1", "--input-topic=audio", "--output-topic=finals")
    with pytest.raises(FlinkUnreachable):
        invoke("drain", *options, "--flink-url=http://127.0.0.1:9")


def test_the_url_may_be_in_the_settings_file(tmp_path: Path) -> None:
    with scripted(overview(RUNNING)) as flink:
        file = tmp_path / "medstream.toml"
        file.write_text(f'[jobs]\nflink-url = "{flink.url}"\n')
        assert "RUNNING" in invoke("list", f"--config={file}")[1]


def test_every_command_of_the_runbook_is_one() -> None:
    text = RUNBOOK.read_text(encoding="utf-8").split("## Runbook")[1]
    found = {shlex.split(part)[2] for part in text.split("`") if part.startswith("medstream jobs ")}
    assert found == {"list", "savepoint", "stop", "drain", "cancel"}
    for command in found:
        assert invoke(command, "--help")[0] == 0
