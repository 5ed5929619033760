"""What doctor prints and how it ends; what it finds is in `tests/integration/test_doctor.py`."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from connectors.kafka.errors import UnknownTopic
from pipeline import cli
from pipeline.checks.check import Check, examine
from pipeline.cli import doctor
from pipeline.errors import SettingsError

NOWHERE = ["--region=us-esat-1", "--input-topic=a", "--output-topic=b"]  # nothing of this is connected to


def lost() -> str:
    raise UnknownTopic("t", "--output-topic", "broker:1")


CHECKS = (
    Check("topic.output", "find the topic", lost),
    Check("acl.output", "write the topic", lambda: "allowed", ("topic.output",)),
    Check("kafka.broker", "connect", lambda: "[b]it answers[/b]"),
)


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


def test_lines_say_what_was_tried_found_and_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._shown(CHECKS, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "failed  topic.output: find the topic: Kafka at broker:1 has no topic 't' (--output-topic).",
        "        remedy: Create it or correct --output-topic.",
        "skipped acl.output: write the topic: needs topic.output",
        "ok      kafka.broker: connect: [b]it answers[/b]",
        "1 skipped, 1 failed, 1 ok",
    ]


def test_a_terminal_gets_a_table_with_the_same() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=110, force_terminal=True, color_system=None)
    doctor._table(examine(CHECKS, lambda: 0.0), console)
    text = " ".join(shown.getvalue().split())
    assert "failed topic.output find the topic: Kafka at broker:1 has no topic 't'" in text
    assert "→ Create it or correct --output-topic." in text
    assert "[b]it answers[/b]" in text  # nothing is taken for markup


def test_json_and_the_exit_code_tell_a_failure() -> None:
    ended = CliRunner().invoke(cli.app, ["doctor", "--json", *NOWHERE])
    report = json.loads(ended.stdout)
    assert (ended.exit_code, report["ok"]) == (1, False)
    [region] = [check for check in report["checks"] if check["name"] == "aws.region"]
    assert region["result"] == "failed"
    assert region["tried"]
    assert "us-east-1" in region["found"]
    assert region["remedy"] == "Set --region."


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--reorder-wait-seconds=12", "settings.sessions"),
        ("--start-from=never", "settings.source"),
        ("--delivery=perhaps", "settings.delivery"),
        ("--masked-topic=b", "settings.masking"),
        ("--experiments=enable_data_sampling", "runner.exposure"),
        ("--kafka-property=linger.ms=soon", "kafka.settings"),
        ("--schema-registry-url=ftp://x", "registry.settings"),
    ],
)
def test_a_setting_that_cannot_work_is_a_failed_check_with_a_remedy(option: str, name: str) -> None:
    given = [*NOWHERE, option, *(["--bootstrap-servers=127.0.0.1:1"] if name == "kafka.settings" else [])]
    ended = CliRunner().invoke(cli.app, ["doctor", "--json", *given])
    checks = {check["name"]: check for check in json.loads(ended.stdout)["checks"]}
    assert checks[name]["result"] == "failed"
    assert checks[name]["remedy"]


def test_an_option_that_is_nearly_ours_is_refused() -> None:
    ended = CliRunner().invoke(cli.app, ["doctor", "--input-topics=a"])
    assert isinstance(ended.exception, SettingsError)
    assert "did you mean --input-topic?" in str(ended.exception)


def test_the_help_has_the_options_of_run_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli.app, ["doctor", "--help"], env={"COLUMNS": "200"}).output
    for text in ("--json", "--bootstrap-servers", "--config", "Exit codes: 0", "MEDSTREAM_INPUT_TOPIC"):
        assert text in shown
    assert "[required]" not in shown
