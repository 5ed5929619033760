"""`medstream test`: a recording through the whole pipeline, and its finals against the expected ones.

Exit codes: 0 as expected, 1 a setting, a server or the job is at fault, 2 wrong usage, 3 differences, 130
interrupted. Transcripts are patient data: words are in the report, on the terminal and in files, only with
`--show-text`, or for the example, which is synthetic.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from deploy.local.errors import LocalStackError
from deploy.local.interruption import Interrupted, signals_raise
from deploy.local.testing.plan import TAKEN, RunOptions
from pipeline.checks.near_misses import refuse_near_misses
from pipeline.cli.beam_flags import beam_flags
from pipeline.cli.like_run import CONTEXT_SETTINGS, LikeRun, option_names, run_options, run_parameters
from pipeline.cli.whole_files import write_whole
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from deploy.local.testing.comparison import Report, Rules
    from deploy.local.testing.expected import Expected
    from deploy.local.testing.run import Heard

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

DIFFERENT = 3
_COMMAND_LINE = "COMMANDLINE"  # of click's ParameterSource
_DEFAULT = "DEFAULT"
_EXPECTED_NOTE = "What medstream test heard; check it before you trust it."


def _option(text: str, environment: str, **limits: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_TEST_{environment}", **limits)


@dataclass(frozen=True, slots=True)
class _Files:
    """What is read and written; `expect` None: nothing is compared."""

    recording: Path | None
    expect: Path | None
    write_expected: Path | None
    junit_xml: Path | None
    overwrite: bool
    example: bool


@app.command(
    "test",
    cls=LikeRun,
    context_settings=CONTEXT_SETTINGS,
    epilog="Exit codes: 0 as expected; 1 a setting, a server or the job is at fault; 2 wrong usage; 3 "
    "differences; 130 interrupted. The options below are those of medstream run; what a run has for itself "
    "(topics, group, start and end) cannot be set. Beam's own (--runner=..., --job_endpoint=...) are taken.",
)
def check_recording(
    ctx: typer.Context,
    recording: Annotated[
        list[str] | None, typer.Argument(metavar="[RECORDING]", help="A file of medstream record.")
    ] = None,
    expect: Annotated[
        Path | None, _option("Expected finals: JSON, or lines of `consume --json --show-text`.", "EXPECT")
    ] = None,
    write_expected: Annotated[
        Path | None, _option("Write what was heard to this file, for --expect.", "WRITE_EXPECTED")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let --write-expected replace a file.")
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Test the synthetic recording that comes with medstream.")
    ] = False,
    compare: Annotated[
        str, _option("exact: same words, same segments; or wer: word error rate of each session.", "COMPARE")
    ] = "exact",
    max_wer: Annotated[
        float, _option("With --compare wer: most word errors for each expected word.", "MAX_WER", min=0)
    ] = 0.05,
    time_tolerance_seconds: Annotated[
        float,
        _option(
            "How far a segment's start and end may be from expected times; inf: any.",
            "TIME_TOLERANCE_SECONDS",
            min=0,
        ),
    ] = 0.5,
    verbatim: Annotated[bool, typer.Option("--verbatim", help="Case and punctuation count, too.")] = False,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Report with what was said: patient data. Masked without.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON document.")] = False,
    junit_xml: Annotated[Path | None, _option("Write the report as JUnit XML too.", "JUNIT_XML")] = None,
    recogniser: Annotated[
        str, _option("Recogniser of the endpoint that the run brings.", "RECOGNISER")
    ] = "pocketsphinx",
    endpoint_option: Annotated[
        list[str] | None,
        _option("A further option of that endpoint, such as --model=DIR. Repeatable.", "ENDPOINT_OPTION"),
    ] = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="Amazon Transcribe Medical itself, which bills it.")
    ] = False,
    speed: Annotated[
        str | None,
        _option(
            "How fast audio goes out, times real time, or max. Without: max to this machine, else 1.",
            "SPEED",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Faster than real time also beyond this machine.")
    ] = False,
    timeout_seconds: Annotated[
        float | None,
        _option(
            "Give up after so long; three minutes and three times the audio without.",
            "TIMEOUT_SECONDS",
            min=0,
        ),
    ] = None,
    keep_topics: Annotated[
        bool, typer.Option("--keep-topics", help="Do not delete the run's topics on given brokers.")
    ] = False,
) -> None:
    """Run a recording through the whole pipeline, and compare its finals with the expected ones.

    Without --bootstrap-servers a Kafka broker is started for it, without --job_endpoint a Flink, without
    --endpoint-url a local endpoint. Everything ends with the run.
    """
    from deploy.local.testing.comparison import COMPARISONS, Rules

    if compare not in COMPARISONS:
        raise SettingsError("--compare", f"{compare!r} is not one of {', '.join(COMPARISONS)}")
    options = run_options(ctx)
    # Click takes an option that it does not know, one of Beam's, for an argument.
    flags = [word for word in recording or () if word.startswith("-")]
    files_given = [Path(word) for word in recording or () if word not in flags]
    refuse_near_misses(flags, option_names(ctx))
    if len(files_given) > 1:
        raise SettingsError("RECORDING", f"is one file, not {len(files_given)}")
    path = files_given[0] if files_given else None
    files = _Files(path, expect, write_expected, junit_xml, overwrite, example)
    run = RunOptions(
        options,
        _overridden(ctx),
        beam_flags(options["beam_option"], flags),
        recogniser,
        endpoint_option or [],
        aws,
        speed,
        force,
        timeout_seconds,
        keep_topics,
    )
    rules = Rules(compare, max_wer, time_tolerance_seconds, verbatim)
    try:
        with signals_raise():
            passed = _test(files, run, rules, show_text=show_text or example, as_json=as_json)
    except Interrupted as interrupted:
        typer.echo("medstream test: stopped", err=True)
        raise typer.Exit(128 + interrupted.signal_number) from None
    raise typer.Exit(0 if passed else DIFFERENT)


def _overridden(ctx: typer.Context) -> frozenset[str]:
    """The options of `run` that somebody set. Raises SettingsError for one that has no effect."""
    found = set()
    for parameter in run_parameters(ctx):
        source = getattr(ctx.get_parameter_source(parameter.name), "name", _DEFAULT)
        if source == _COMMAND_LINE and parameter.name in TAKEN:
            raise SettingsError(parameter.opts[0], "has no effect: a test run decides that by itself")
        if source != _DEFAULT:
            found.add(parameter.name)
    return frozenset(found)


def _test(files: _Files, run: RunOptions, rules: Rules, *, show_text: bool, as_json: bool) -> bool:
    """Whether all is as expected."""
    from deploy.local.testing import example

    began_at = time.monotonic()
    expected = _expected(files)
    heard = _in_a_folder(files, run)
    if files.write_expected is not None:
        _write_expected(files.write_expected, heard, example.NOTE if files.example else _EXPECTED_NOTE)
    if expected is None:
        return True
    report = _compared(expected, heard, rules)
    seconds = time.monotonic() - began_at
    _show(report, show_text=show_text, as_json=as_json)
    if files.junit_xml is not None:
        from deploy.local.testing.report_json import junit_xml

        name = "example" if files.recording is None else files.recording.stem
        document = junit_xml(report, name=name, seconds=seconds, show_text=show_text)
        write_whole(files.junit_xml, document, setting="--junit-xml")
    return report.passed


def _expected(files: _Files) -> Expected | None:
    """What is expected, read before anything is started; None when the run is to find it out."""
    from deploy.local.testing import example
    from deploy.local.testing.expected import read_expected

    _check_files(files)
    path = files.expect
    if path is None and files.write_expected is None:
        if not files.example:
            raise SettingsError("--expect", "is needed, or --write-expected FILE to make it of what is heard")
        path = example.EXPECTED
    if path is None:
        if files.junit_xml is not None:
            raise SettingsError("--junit-xml", "needs --expect: without it nothing is compared")
        return None
    try:
        return read_expected(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("--expect", f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError("--expect", f"cannot read {path}: it is not UTF-8") from None


def _check_files(files: _Files) -> None:
    """Raises SettingsError for what would only be noticed after the run."""
    if (files.recording is None) == (not files.example):
        raise SettingsError("RECORDING", "is needed, or --example, and not both")
    if files.write_expected is not None and files.write_expected.exists() and not files.overwrite:
        raise SettingsError("--write-expected", f"{files.write_expected} exists; --overwrite replaces it")
    for setting, file in (("--write-expected", files.write_expected), ("--junit-xml", files.junit_xml)):
        if file is not None and not file.absolute().parent.is_dir():
            raise SettingsError(setting, f"cannot write {file}: there is no such folder")


def _in_a_folder(files: _Files, run: RunOptions) -> Heard:
    """Runs it in a folder of its own, of which the logs stay when something went wrong."""
    from deploy.local.testing.hearing import hear

    directory = Path(tempfile.mkdtemp(prefix="medstream-test-"))
    disposable = False
    try:
        logging.basicConfig(
            filename=directory / "test.log",
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        heard = hear(run, files.recording, directory, Console(stderr=True, highlight=False))
        disposable = True
    except LocalStackError as error:
        typer.echo(f"medstream test: {error}\nLogs are in {directory}.", err=True)
        raise typer.Exit(1) from None
    except BaseException as error:  # the rest becomes a sentence elsewhere
        disposable = isinstance(error, Interrupted) or not list(directory.glob("*/*.log"))
        if not disposable:
            typer.echo(f"medstream test: logs are in {directory}", err=True)
        raise
    finally:
        if disposable:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            _keep_logs(directory)
    return heard


def _keep_logs(directory: Path) -> None:
    """What else servers leave is audio and transcripts."""
    for path in directory.rglob("*"):
        if path.is_file() and path.suffix != ".log":
            path.unlink(missing_ok=True)


def _compared(expected: Expected, heard: Heard, rules: Rules) -> Report:
    from deploy.local.testing.comparison import compare
    from deploy.local.testing.expected import segments_of

    actual = {session.session_id: segments_of(session) for session in heard.transcripts}
    return compare(expected, actual, rules, heard.remarks())


def _show(report: Report, *, show_text: bool, as_json: bool) -> None:
    if as_json:
        from deploy.local.testing.report_json import report_document

        document = report_document(report, show_text=show_text)
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from deploy.local.testing.report_lines import report_lines

    console = Console(highlight=False)
    for line in report_lines(report, show_text=show_text):
        if console.is_terminal:
            console.print(line, soft_wrap=True)
        else:
            typer.echo(line.plain)


def _write_expected(path: Path, heard: Heard, note: str) -> None:
    from deploy.local.testing.expected import expected_of, write_expected

    sessions = sorted(heard.transcripts, key=lambda session: session.session_id)
    text = write_expected(expected_of(sessions), note)
    write_whole(path, text.encode("utf-8", "backslashreplace"), setting="--write-expected")
    segments = sum(len(session.segments) for session in sessions)
    typer.echo(f"medstream: {len(sessions)} sessions with {segments} segments written to {path}", err=True)
