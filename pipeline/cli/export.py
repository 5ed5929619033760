"""`medstream export`: transcripts of sessions as documents, from the finals topic or from a file.

What is written is patient data: files are readable by their owner only, and are complete or not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from connectors.kafka.client import ClientConfig
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.registry_options import SchemaRegistryConfig, SchemaRegistryUrl, serde_settings
from pipeline.cli.service_options import Insecure
from pipeline.cli.topic_options import (
    OnLostOffsets,
    OnUnreadable,
    OptionalBootstrapServers,
    OptionalOutputTopic,
    SessionsTopic,
    StartFrom,
)
from pipeline.cli.whole_files import write_whole
from pipeline.consuming import FAIL, read_sessions
from pipeline.errors import SettingsError
from pipeline.export.formats import FORMATS, file_name
from pipeline.export.lines import read_lines
from pipeline.export.plain_text import completeness
from pipeline.output.transcripts import SessionTranscript, Transcripts

app = typer.Typer()


@app.command(
    epilog="Exit codes: 0 all is well; 1 a setting, the file or Kafka is wrong, or --require-complete and a "
    "session is not; 2 wrong usage; 130 interrupted."
)
def export(
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "text",
    session: Annotated[
        list[str] | None, typer.Option(help="Only this session; may be repeated. All without.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File for one session; standard output without.")
    ] = None,
    output_directory: Annotated[
        Path | None, typer.Option(help="Directory for a file of each session, named by its id.")
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            help="Lines of `consume --json --show-text` or `transcribe --json`; - for standard input."
        ),
    ] = None,
    bootstrap_servers: OptionalBootstrapServers = None,
    output_topic: OptionalOutputTopic = None,
    sessions_topic: SessionsTopic = None,
    start_from: StartFrom = "earliest",
    require_complete: Annotated[
        bool, typer.Option("--require-complete", help="Write nothing unless each session is complete.")
    ] = False,
    on_unreadable: OnUnreadable = FAIL,
    on_lost_offsets: OnLostOffsets = FAIL,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
) -> None:
    """Export session transcripts as text, JSON, WebVTT, SRT or one HTML page that needs no network.

    Gaps, and whether a session is complete, are known from --sessions-topic.
    """
    if format_ not in FORMATS:
        raise SettingsError("--format", f"{format_!r} is not one of {', '.join(FORMATS)}")
    if output is not None and output_directory is not None:
        raise SettingsError("--output", "there is --output-directory, too; give one of them")
    wanted = frozenset(session or ())
    if from_file is not None:
        found = _from_file(from_file, wanted)
    else:
        if bootstrap_servers is None or output_topic is None:
            raise SettingsError(
                "--from-file", "give a file, or --bootstrap-servers and --output-topic to read from Kafka"
            )
        kafka = ClientConfig.build(
            bootstrap_servers, command_config, properties_of(kafka_property), insecure=insecure
        )
        with _progress() as progress:
            found = read_sessions(
                kafka,
                output_topic,
                sessions_topic=sessions_topic,
                wanted=lambda session_id: not wanted or session_id in wanted,
                progress=progress,
                start=start_from,
                serdes=serde_settings(schema_registry_url, schema_registry_config, insecure=insecure),
                on_unreadable=on_unreadable,
                on_lost_offsets=on_lost_offsets,
            )
    sessions = _checked(found, wanted, require_complete=require_complete)
    _write(sessions, format_, output, output_directory)


@contextmanager
def _progress() -> Iterator[_Told]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Told(progress)


class _Told:
    """Turns offsets that are left into a bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Reading finals", total=None)
        self._total = 0

    def __call__(self, remaining: int) -> None:
        self._total = max(self._total, remaining)
        self._progress.update(self._task, total=self._total, completed=self._total - remaining)


def _from_file(name: str, wanted: frozenset[str]) -> Transcripts:
    found = Transcripts()
    try:
        with sys.stdin if name == "-" else Path(name).open(encoding="utf-8") as lines:
            for event in read_lines(lines):
                if not wanted or event.session_id in wanted:
                    found.add(event)
    except OSError as error:
        raise SettingsError("--from-file", f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError("--from-file", f"cannot read {name}: it is not UTF-8") from None
    return found


def _checked(
    found: Transcripts, wanted: frozenset[str], *, require_complete: bool
) -> list[SessionTranscript]:
    sessions = list(found)
    for session_id in sorted(wanted - {session.session_id for session in sessions}):
        raise SettingsError("--session", f"there is nothing of {session_id!r}")
    if not sessions:
        raise SettingsError("--output-topic", "there is no session to export")
    incomplete = [session for session in sessions if not session.complete]
    for session in incomplete:
        if session.missing or require_complete:
            typer.echo(f"medstream: session {session.session_id!r}: {completeness(session)}", err=True)
    if incomplete and require_complete:
        raise SettingsError("--require-complete", f"{len(incomplete)} of {len(sessions)} sessions are not")
    return sessions


def _write(
    sessions: list[SessionTranscript], format_: str, output: Path | None, directory: Path | None
) -> None:
    render, _ = FORMATS[format_]
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        for session in sessions:
            _write_file(directory / file_name(session.session_id, format_), render(session))
        typer.echo(f"medstream: {len(sessions)} sessions written to {directory}", err=True)
        return
    if len(sessions) > 1:
        raise SettingsError(
            "--session", f"there are {len(sessions)} sessions: name one, or write all to --output-directory"
        )
    if output is not None:
        _write_file(output, render(sessions[0]))
    else:
        sys.stdout.buffer.write(_encoded(render(sessions[0])))


def _write_file(path: Path, text: str) -> None:
    write_whole(path, _encoded(text), setting="--output")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
