"""`medstream test` for real: the example on servers of its own, and on given ones with one word changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import junitparser
import pytest

from connectors.kafka.client import ClientConfig
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.testing.example import EXPECTED
from tests.integration.test_demo import processes_with

pytestmark = pytest.mark.timeout(240)
MEDSTREAM = Path(sys.executable).with_name("medstream")
SESSIONS = {"primary-care-telephone-visit", "radiology-chest", "urology-urinary-infection"}


def medstream_test(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    folder = tmp_path / "tmp"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [MEDSTREAM, "test", "--example", *map(str, arguments)],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def given(broker: KafkaBroker, flink: FlinkJobServer) -> list[str]:
    """Options of a cluster and a job server that are there already; workers in the submitting process."""
    job = ["--runner=PortableRunner", f"--job_endpoint={flink.job_endpoint}", "--environment_type=LOOPBACK"]
    return ["--bootstrap-servers", broker.bootstrap_servers, *job, "--checkpointing_interval=1000"]


def topics_of_runs(broker: KafkaBroker) -> set[str]:
    admin = ClientConfig.build(broker.bootstrap_servers).admin()
    found = {topic for topic in admin.list_topics() if topic.startswith("medstream-test-")}
    admin.close()
    return found


def test_the_example_is_as_expected_and_nothing_is_left(tmp_path: Path) -> None:
    result = medstream_test(tmp_path, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert report["passed"]
    assert {session["session_id"] for session in report["sessions"]} == SESSIONS
    assert report["expected_words"] > 100
    assert not list((tmp_path / "tmp").glob("medstream-test-*"))
    assert processes_with(str(tmp_path)) == []


def test_on_given_servers_a_changed_word_is_all_that_differs(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path
) -> None:
    document = json.loads(EXPECTED.read_text(encoding="utf-8"))
    segment = document["sessions"]["radiology-chest"][3]
    assert " left " in segment["text"]
    segment["text"] = segment["text"].replace(" left ", " right ")
    changed, xml = tmp_path / "changed.json", tmp_path / "report.xml"
    changed.write_text(json.dumps(document))
    result = medstream_test(
        tmp_path, "--expect", changed, "--junit-xml", xml, *given(kafka_broker, flink), "--speed", "max"
    )
    assert result.returncode == 3, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert [line[:24].rstrip() for line in lines if not line.startswith(" ")] == [
        "ok    primary-care-telep",
        "FAIL  radiology-chest: 3",
        "ok    urology-urinary-in",
        "3 sessions: 2 as expecte",
    ]
    (difference,) = [line for line in lines if line.startswith(" ")]
    assert difference.endswith(": There is a small [-right-] {+left+} pleural effusion unchanged.")
    (suite,) = junitparser.JUnitXml.fromfile(str(xml))
    assert (suite.tests, suite.failures) == (3, 1)
    assert xml.stat().st_mode & 0o077 == 0
    assert topics_of_runs(kafka_broker) == set()


def test_a_run_that_takes_too_long_names_what_is_unfinished(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path
) -> None:
    result = medstream_test(tmp_path, *given(kafka_broker, flink), "--timeout-seconds", "0.1")
    assert result.returncode == 1
    assert "(--timeout-seconds); unfinished: " in result.stderr
    assert all(name in result.stderr for name in SESSIONS)
    (left,) = (tmp_path / "tmp").glob("medstream-test-*")
    files = {path.name for path in left.rglob("*") if path.is_file()}
    assert "job.log" in files
    assert {name[-4:] for name in files} == {".log"}  # no settings, and nothing that was heard
    assert topics_of_runs(kafka_broker) == set()
