"""The command line from outside: help, versions, wrong usage, plugged-in commands, exit codes."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import typer
from typer.testing import CliRunner

from connectors.kafka.errors import BrokerUnreachable
from connectors.transcribe.errors import RegionNotFoundError
from pipeline import cli
from pipeline.cli import guarded
from pipeline.errors import PipelineError, SettingsError

RUN = [
    "run",
    "--bootstrap-servers=127.0.0.1:1",
    "--input-topic=audio",
    "--output-topic=finals",
    "--region=us-east-1",
]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "AWS_EC2_METADATA_DISABLED": "true"},
    )


def medstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-c", "from pipeline.cli import main; main()", *arguments)


def invoke(arguments: Sequence[str]) -> tuple[int, str]:
    """The root command in this process; errors that `guarded` would tell are raised."""
    found = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"})
    if isinstance(found.exception, PipelineError | BrokerUnreachable):
        raise found.exception
    return found.exit_code, found.output


# Help and version


@pytest.mark.parametrize(
    "arguments", [["run", "--help"], ["transcribe", "--help"], ["--help"], ["--version"]]
)
def test_help_needs_no_beam(arguments: list[str]) -> None:
    program = (
        "import sys; from pipeline.cli import main\n"
        "try: main()\n"
        "finally: print('beam' if 'apache_beam' in sys.modules else 'no beam')"
    )
    done = python("-c", program, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("no beam\n")


def test_the_help_of_run_lists_its_options_and_says_where_the_others_go() -> None:
    code, shown = invoke(["run", "--help"])
    assert code == 0
    for option in ("--bootstrap-servers", "--input-topic", "--start-from", "--endpoint-url", "--insecure"):
        assert option in shown
    assert "Beam" in shown
    assert "MEDSTREAM_BOOTSTRAP_SERVERS" in shown


def test_the_help_lists_the_plugged_in_commands() -> None:
    done = medstream("--help")
    assert done.returncode == 0
    for command in ("run", "transcribe", "demo", "endpoint", "local"):
        assert command in done.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert invoke(["--version"]) == (0, f"medstream {importlib.metadata.version('medstream')}\n")


def test_python_m_pipeline_is_the_run_command() -> None:
    done = python("-m", "pipeline", "--help")
    assert done.returncode == 0, done.stderr
    assert "python -m pipeline" in done.stdout
    assert "--input-topic" in done.stdout


# Wrong usage


def test_a_missing_option_is_wrong_usage_and_named() -> None:
    code, shown = invoke(["run", "--input-topic=audio", "--output-topic=finals"])
    assert code == 2
    assert "--bootstrap-servers" in shown


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--idle-close-seconds=15", "--idle-close-seconds"),  # the service would end the stream first
        ("--catch-up-rate=-1", "--catch-up-rate"),
        ("--outbound-seconds=soon", "--outbound-seconds"),
        ("--resample-to=7999", "--resample-to"),
        ("--resample-to=48001", "--resample-to"),
        ("--read-interval-ms=0", "--read-interval-ms"),
    ],
)
def test_a_value_out_of_range_is_wrong_usage(option: str, named: str) -> None:
    code, shown = invoke([*RUN, option])
    assert code == 2
    assert named in shown


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--start-from=now", "--start-from"),
        ("--log-level=LOUD", "--log-level"),
        ("--kafka-property=linger.ms", "--kafka-property"),
        ("--transport=carrier-pigeon", "--transport"),
        ("--start-from=timestamp:2026-03-01T08:00:00", "--start-from"),  # no time zone
        ("--stop-at=soon", "--stop-at"),
        ("--chunk-format=wav", "--chunk-format"),
        ("--discovery-interval-seconds=0.5", "--discovery-interval-seconds"),
        *(
            (f"--masked-topic={topic}", "--masked-topic")
            for topic in ("audio", "finals", "audio.dead-letters", "finals.progress")
        ),
    ],
)
def test_a_setting_that_cannot_work_is_named_before_anything_is_connected(option: str, setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        invoke([*RUN, option])
    assert refused.value.setting == setting


def test_an_unknown_command_is_wrong_usage() -> None:
    assert medstream("rnu").returncode == 2


def test_a_wrong_setting_is_one_sentence_and_exit_code_1() -> None:
    done = medstream(*RUN, "--start-from=now")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "medstream: --start-from: 'now' cannot be used: expected one of earliest, latest, committed, "
        "timestamp:MOMENT"
    ]


def test_python_m_pipeline_tells_a_wrong_setting_in_the_same_way() -> None:
    done = python("-m", "pipeline", *RUN[1:], "--start-from=now")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("medstream: --start-from: ")
    assert "Traceback" not in done.stderr


def test_a_setting_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSTREAM_START_FROM", "never")
    with pytest.raises(SettingsError, match="never"):
        invoke(RUN)


def test_a_misspelt_variable_is_told_and_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSTREAM_GROUPID", "x")
    found = CliRunner().invoke(cli.app, [*RUN, "--start-from=now"])
    assert isinstance(found.exception, SettingsError)  # the wrong setting behind it
    assert found.stderr == "medstream: MEDSTREAM_GROUPID is no setting; did you mean MEDSTREAM_GROUP_ID?\n"


# Exit codes


def fail(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("--x", "synthetic"),
        BrokerUnreachable("broker:9092", "synthetic"),
        RegionNotFoundError("synthetic"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_foreseen_errors_end_in_their_message_and_exit_code_1(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        guarded(fail(error))
    assert exited.value.code == 1
    assert capsys.readouterr().err == f"medstream: {error}\n"


def test_an_interrupt_ends_with_its_own_exit_code() -> None:
    with pytest.raises(SystemExit) as exited:
        guarded(fail(KeyboardInterrupt()))
    assert exited.value.code == 130


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(fail(ZeroDivisionError()))


# Commands of other packages


def entry_point(target: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint("demo", target, cli.COMMAND_GROUP)


def test_a_plugged_in_command_is_loaded() -> None:
    assert isinstance(cli._load(entry_point("pipeline.cli.run:app")), typer.Typer)


@pytest.mark.parametrize("arguments", [[], ["up"], ["up", "--json"], ["--speed", "2"]])
def test_a_command_whose_extra_is_missing_says_what_to_install(arguments: list[str]) -> None:
    root = typer.Typer()
    root.add_typer(cli._load(entry_point("a_package_that_is_not_installed.cli:app")), name="demo")
    found = CliRunner().invoke(root, ["demo", *arguments])
    assert isinstance(found.exception, SettingsError)
    assert "a_package_that_is_not_installed" in str(found.exception)
    assert "medstream[local]" in str(found.exception)
