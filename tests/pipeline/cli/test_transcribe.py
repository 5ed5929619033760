"""The settings of `medstream transcribe`: what is refused before a stream is opened. Audio is synthetic."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import soundfile
import typer
from typer.main import get_command
from typer.testing import CliRunner

from pipeline import cli
from pipeline.cli import transcribe
from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind
from pipeline.errors import SettingsError
from pipeline.output.transcript_text import Ending

NOWHERE = ("--endpoint-url=http://127.0.0.1:1", "--region=us-east-1", "--max-retries=0")


@pytest.fixture(autouse=True)
def _log_level_restored() -> Iterator[None]:
    logger = logging.getLogger("pipeline.worker.live_session")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "synthetic")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "visit.wav"
    soundfile.write(path, [0.0] * 16_000, 16_000)
    return str(path)


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and all output; a SettingsError, which `guarded` would tell, is raised."""
    found = CliRunner().invoke(cli.app, ["transcribe", *arguments], env={"COLUMNS": "200"})
    if isinstance(found.exception, SettingsError):
        raise found.exception
    return found.exit_code, found.output


def refused(arguments: Sequence[str]) -> SettingsError:
    with pytest.raises(SettingsError) as error:
        invoke(*arguments)
    return error.value


def test_the_help_has_every_option_and_every_exit_code() -> None:
    code, shown = invoke("--help")
    assert code == 0
    command = get_command(cli.app).get_command(None, "transcribe")  # type: ignore[attr-defined]
    for parameter in command.params:
        assert parameter.help
        if parameter.param_type_name == "option":
            assert all(option in shown for option in (*parameter.opts, *parameter.secondary_opts))
    for part in ("AUDIO", "FLAC", "standard input", "Exit codes: 0 ", "; 5 throttled", "130 interrupted"):
        assert part in shown


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--speeed=2"], ["a", "--channels=3"]])
def test_wrong_usage(arguments: list[str]) -> None:
    code, _shown = invoke(*arguments)
    assert code == 2


@pytest.mark.parametrize("speed", ["1.01", "20", "0", "max"])
def test_faster_than_real_time_is_refused_against_aws(recording: str, speed: str) -> None:
    error = refused([recording, f"--speed={speed}", "--region=us-east-1"])
    assert error.setting == "--speed"
    assert "five minutes" in str(error)
    assert "--force" in str(error)


@pytest.mark.parametrize("options", [("--speed=max", *NOWHERE), ("--speed=1", *NOWHERE)])
def test_an_endpoint_of_one_s_own_takes_any_speed(recording: str, options: tuple[str, ...]) -> None:
    code, _shown = invoke(recording, *options)
    assert code == 6, "nobody listens there"


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (("--speed=fast", *NOWHERE), "--speed"),
        (("--speed=-1", *NOWHERE), "--speed"),
        (("--log-level=LOUD", *NOWHERE), "--log-level"),
        (("--transport=carrier-pigeon", *NOWHERE), "--transport"),
        (("--sample-rate=8000", *NOWHERE), "--sample-rate"),
        (("--channels=2", *NOWHERE), "--channels"),
    ],
)
def test_a_setting_that_cannot_work_is_named(recording: str, options: tuple[str, ...], setting: str) -> None:
    assert refused([recording, *options]).setting == setting


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--endpoint-url=ftp://x",), 1, "--endpoint-url 'ftp://x' cannot be used"),
        (("--endpoint-url=http://10.1.2.3",), 1, "--insecure"),
        (("--region=us-esat-1",), 1, "did you mean us-east-1"),
        (("--ca-file=/no/such.pem", *NOWHERE), 1, "'/no/such.pem' cannot be used"),
        (("--specialty=DENTISTRY", *NOWHERE), 3, "Specialty is 'DENTISTRY'; allowed: PRIMARYCARE"),
        (("--type=SMALLTALK", *NOWHERE), 3, "Type is 'SMALLTALK'"),
        (("--vocabulary-name=no blanks", *NOWHERE), 3, "VocabularyName"),
        (("--content-identification-type=PII", *NOWHERE), 3, "allowed: PHI"),
    ],
)
def test_what_the_client_refuses_ends_with_the_code_of_its_kind(
    recording: str, options: tuple[str, ...], code: int, sentence: str
) -> None:
    region = () if any("--region" in option for option in options) else ("--region=us-east-1",)
    assert invoke(recording, *region, *options)[0] == code
    assert sentence in invoke(recording, *region, *options)[1]


def test_no_region_is_said() -> None:
    code, shown = invoke("a.wav", "--endpoint-url=http://127.0.0.1:1")
    assert code == 1
    assert "--region" in shown


def test_no_credentials_is_said_before_anything_is_opened(
    recording: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, shown = invoke(recording, *NOWHERE)
    assert code == 4
    assert shown.startswith("medstream: no AWS credentials: set AWS_ACCESS_KEY_ID")


def test_a_rate_that_the_service_does_not_take_is_its_refusal(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, [0.0] * 9600, 96_000)
    code, shown = invoke(str(path), *NOWHERE)
    assert code == 3
    assert "96000" in shown


def test_an_empty_recording_is_a_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, [], 16_000)
    assert "there is no audio" in str(refused([str(path), *NOWHERE]))


# The end


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending(1.0, 1.0, 1, 1, 0, interrupted=True), 130),
        (Ending(1.0, 0.0, 0, 1, 0, failure=StreamFailure("C", "m", kind=FailureKind.THROTTLED)), 5),
        (Ending(1.0, 0.0, 0, 1, 0, StreamFailure("C", "m", kind=FailureKind.SERVICE), interrupted=True), 7),
    ],
)
def test_the_ending_decides_the_exit_code(
    ending: Ending, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left:
        transcribe._leave(ending)
    assert left.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(line.startswith("medstream: ") for line in captured.err.splitlines())


def test_a_good_ending_is_one_line_and_no_exit(capsys: pytest.CaptureFixture[str]) -> None:
    transcribe._leave(Ending(1.0, 1.0, 1, 1, 0))
    assert capsys.readouterr().err == "medstream: 1.0 s of audio, 1 final, 1 stream, 0 retries\n"


def test_a_failure_is_told_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    failure = StreamFailure("LimitExceededException", "Too many.", kind=FailureKind.THROTTLED)
    with pytest.raises(typer.Exit):
        transcribe._leave(Ending(1.0, 0.0, 0, 1, 0, failure=failure))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("medstream: LimitExceededException: Too many; wait")
    assert "{" not in json.dumps(last)
