"""`medstream test` before it starts anything: what it refuses, and how."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectors.kafka.errors import KafkaConnectorError
from deploy.local.testing.cli import app
from pipeline.cli import app as root
from pipeline.errors import PipelineError, SettingsError

MEDSTREAM = Path(sys.executable).with_name("medstream")


def refused(*arguments: object) -> str:
    """The sentence with which the command refuses these arguments."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, PipelineError | KafkaConnectorError), result.output
    return str(result.exception)


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    path = tmp_path / "expected.json"
    path.write_text('{"sessions": {"a": "melanoma"}}')
    return path


def test_what_is_missing_or_too_much_is_said(tmp_path: Path, expected: Path) -> None:
    recording = tmp_path / "none.avro"
    assert "RECORDING: is needed, or --example" in refused()
    assert "not both" in refused(recording, "--example")
    assert "--expect: is needed, or --write-expected" in refused(recording)
    assert "--write-expected: " in refused(recording, "--write-expected", expected)
    assert "--overwrite" in refused(recording, "--write-expected", expected)
    assert "cannot read" in refused(recording, "--expect", tmp_path / "absent.json")
    assert "--compare: 'fuzzy' is not one of exact, wer" in refused("--example", "--compare", "fuzzy")
    assert "did you mean --recogniser?" in refused("--example", "--recognizer=x")
    assert f"{recording}" in refused(recording, "--expect", expected)
    assert "is one file, not 2" in refused(recording, recording)
    new = tmp_path / "new.json"
    nowhere = tmp_path / "nowhere" / "x"
    assert "--junit-xml: cannot write" in refused("--example", "--junit-xml", nowhere)
    assert "--write-expected: cannot write" in refused("--example", "--write-expected", nowhere)
    assert "--junit-xml: needs --expect" in refused(
        recording, "--write-expected", new, "--junit-xml", "x.xml"
    )


def test_a_mistake_leaves_no_folder(tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    assert "none.avro" in refused(tmp_path / "none.avro", "--expect", expected)
    assert not list((tmp_path / "tmp").glob("medstream-test-*"))


def test_options_of_beam_may_stand_anywhere(tmp_path: Path, expected: Path) -> None:
    """Click would take the first of them for the recording."""
    recording, flag = tmp_path / "none.avro", "--job_endpoint=localhost:1"
    assert f"{recording}" in refused(flag, recording, "--expect", expected, "--parallelism=1")
    assert f"{recording}" in refused(recording, flag, "--expect", expected)


@pytest.mark.parametrize(
    "option", ["--input-topic=x", "--output-topic=x", "--group-id=x", "--stop-at=end", "--catch-up-rate=2"]
)
def test_what_a_run_decides_by_itself_cannot_be_set(option: str) -> None:
    assert refused("--example", option).startswith(f"{option.split('=')[0]}: has no effect")


def test_a_real_service_is_protected_before_anything_is_started() -> None:
    assert "--force" in refused("--example", "--aws", "--region", "us-east-1", "--speed", "max")


def test_settings_come_from_the_file_s_table_and_those_of_run(tmp_path: Path) -> None:
    file = tmp_path / "medstream.toml"
    file.write_text('[run]\ninput-topic = "audio"\n[test]\ncompare = "fuzzy"\n')
    given = [MEDSTREAM, "test", "--example", "--config", str(file)]
    result = subprocess.run(given, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "'fuzzy' is not one of" in result.stderr
    file.write_text('[test]\ncomparing = "exact"\n')
    result = subprocess.run(given, capture_output=True, text=True, check=False)
    assert "'comparing' of [test]" in result.stderr
    assert "did you mean compare?" in result.stderr


def test_other_commands_pass_over_the_table_of_one_that_is_plugged_in(tmp_path: Path) -> None:
    file = tmp_path / "medstream.toml"
    file.write_text('[run]\ninput-topic = "audio"\n[test]\ncompare = "wer"\n')
    result = CliRunner().invoke(root, ["config", "show", "--config", str(file)])
    assert 'input-topic = "audio"' in result.output
    file.write_text('[tests]\ncompare = "wer"\n')
    result = CliRunner().invoke(root, ["config", "show", "--config", str(file)])
    assert isinstance(result.exception, SettingsError)
    assert "no such table" in str(result.exception)


def test_a_server_that_cannot_be_started_is_exit_code_1_and_leaves_its_logs(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MEDSTREAM_JAVA": str(tmp_path / "no-java")}
    environment["MEDSTREAM_MAVEN_REPOSITORY"] = "http://127.0.0.1:9"
    result = subprocess.run(
        [MEDSTREAM, "test", "--example"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "medstream test: " in result.stderr
    (left,) = [path for path in tmp_path.iterdir() if path.name.startswith("medstream-test-")]
    assert f"Logs are in {left}" in result.stderr
    assert {path.suffix for path in left.rglob("*") if path.is_file()} == {".log"}
    assert "Traceback" not in result.stderr
    assert not result.stdout
