"""`medstream record`: a topic's range, or audio files, into a recording that can be replayed for ever.

Exit codes: 0 the recording is complete, 1 a setting, the broker or the disk is at fault, 2 wrong usage, 130
interrupted before the end: FILE.partial is left for `--resume`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import InvalidPosition
from connectors.kafka.reading.positions import EARLIEST, Position, parse_start, parse_stop
from connectors.kafka.recordings.container import CODECS, ZSTANDARD
from connectors.kafka.recordings.recording import RecordingWriter, partial_path
from connectors.kafka.recordings.topic_reader import ranges_of
from connectors.kafka.records import KafkaRecord
from pipeline.audio.audio_file import DeclaredFormat
from pipeline.audio.raw_chunks import AVRO
from pipeline.cli.exit_codes import INTERRUPTED
from pipeline.cli.interrupts import interruptible
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.progress_bars import progress_bar
from pipeline.cli.service_options import Insecure
from pipeline.cli.source_options import ChunkFormat, check_chunk_format
from pipeline.errors import SettingsError
from pipeline.recordings.audio_recording import audio_records, session_names
from pipeline.recordings.record_selection import parse_offsets, session_patterns
from pipeline.recordings.recorder import Progress, RecordingRange, begin
from pipeline.recordings.recorder import record as record_range

app = typer.Typer()
_UNTIL_INTERRUPTED = "interrupted"
_AUDIO_TOPIC = "audio"
_SHOW_RECORDS = 500


def _option(text: str, environment: str | None = None, **limits: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}" if environment else None, **limits)


@app.command(
    epilog="Exit codes: 0 complete, 1 a setting, broker or disk, 2 usage, 130 interrupted (--resume)."
)
def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording, an Avro container file.")],
    topic: Annotated[str | None, _option("Topic to record.", "INPUT_TOPIC")] = None,
    bootstrap_servers: Annotated[
        str | None, _option("Kafka brokers, host:port[,...].", "BOOTSTRAP_SERVERS")
    ] = None,
    start: Annotated[
        str, typer.Option("--from", help="earliest, latest, or timestamp:MOMENT (ISO 8601 or milliseconds).")
    ] = EARLIEST,
    until: Annotated[
        str,
        _option(
            "end (of the topic as it is now), MOMENT, or interrupted: by Ctrl-C, which completes the file."
        ),
    ] = "end",
    offsets: Annotated[
        list[str] | None,
        _option("PARTITION:FIRST-LAST or PARTITION:FIRST-; only these partitions. Repeatable."),
    ] = None,
    sessions: Annotated[
        list[str] | None,
        _option("Only these sessions: names, or patterns as in a shell, by comma. Repeatable."),
    ] = None,
    codec: Annotated[str, _option("zstandard, or deflate for readers without it.")] = ZSTANDARD,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with FILE.partial.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    on_lost_offsets: Annotated[
        str, _option("When retention took records that were not read: fail, or skip them.", "ON_LOST_OFFSETS")
    ] = "fail",
    from_audio: Annotated[
        list[Path] | None,
        _option(
            "Make the recording of this WAV, FLAC or raw file, a session; no broker is asked. Repeatable."
        ),
    ] = None,
    sample_rate: Annotated[int | None, _option("Samples per second of raw audio, in hertz.", min=1)] = None,
    channels: Annotated[int | None, _option("Channels of raw audio; 1 without.", min=1, max=2)] = None,
    chunk_format: ChunkFormat = AVRO,
    topic_partitions: Annotated[int, _option("Partitions of the topic that files are made for.", min=1)] = 1,
    stagger_seconds: Annotated[float, _option("Between the beginnings of two files.", min=0)] = 0.0,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    insecure: Insecure = False,
) -> None:
    """Record a range of a topic, byte for byte, in the order of the timestamps, or audio files."""
    _check_choice("--codec", codec, CODECS)
    if from_audio:
        declared = DeclaredFormat(sample_rate, channels)
        records = audio_records(
            from_audio,
            declared,
            topic=topic or _AUDIO_TOPIC,
            partitions=topic_partitions,
            started_at_ms=time.time_ns() // 1_000_000,
            stagger_seconds=stagger_seconds,
            chunk_format=check_chunk_format(chunk_format),
        )
        range_ = {"topic": topic or _AUDIO_TOPIC, "sessions": session_names(from_audio)}
        _record_audio(file, records, range_, codec, overwrite=overwrite)
        return
    _check_choice("--on-lost-offsets", on_lost_offsets, ("fail", "skip"))
    if topic is None or bootstrap_servers is None:
        raise SettingsError(
            "--topic" if topic is None else "--bootstrap-servers", "is needed to record a topic"
        )
    config = ClientConfig.build(
        bootstrap_servers, command_config, properties_of(kafka_property), insecure=insecure
    )
    wanted = _range(config, topic, start, until, offsets, session_patterns(sessions))
    writer, found = begin(file, wanted, codec, resume=resume, overwrite=overwrite)
    try:
        _record(config, found, writer, skip_lost=on_lost_offsets == "skip")
    finally:
        writer.close()


def _record_audio(
    file: Path, records: Iterator[KafkaRecord], range_: dict[str, Any], codec: str, *, overwrite: bool
) -> None:
    first = next(records)  # opens the files: what is wrong with them is said before anything is written
    writer = RecordingWriter.create(file, range_, codec, overwrite=overwrite)
    try:
        with progress_bar("reading audio", None) as bar:
            for number, record in enumerate(itertools.chain([first], records)):
                writer.write(record)
                if number % _SHOW_RECORDS == 0:
                    bar(number, f"{number:,} records")
        writer.finish()
    except BaseException:  # nothing of it is worth going on with
        writer.close()
        partial_path(file).unlink(missing_ok=True)
        raise
    _say_complete(writer)


def _say_complete(writer: RecordingWriter) -> None:
    typer.echo(f"{writer.path}: {writer.records} records, {writer.path.stat().st_size} bytes")


def _record(
    config: ClientConfig, range_: RecordingRange, writer: RecordingWriter, *, skip_lost: bool
) -> None:
    with interruptible() as asked, progress_bar(f"recording {range_.topic}", range_.offsets) as bar:

        def show(progress: Progress) -> None:
            bar(progress.offsets_read, f"{progress.records:,} records, {progress.size_bytes / 1e6:,.1f} MB")

        progress = record_range(
            config, range_, writer, skip_lost=skip_lost, interrupted=asked.is_set, show=show
        )
    if progress.lost_offsets:
        typer.echo(f"medstream: retention had removed {progress.lost_offsets} offsets unread", err=True)
    if asked.is_set() and not range_.is_live:
        writer.close()
        typer.echo(f"medstream: interrupted; {writer.path.name}.partial is left, --resume goes on", err=True)
        raise typer.Exit(INTERRUPTED)
    writer.finish()
    _say_complete(writer)


def _range(
    config: ClientConfig,
    topic: str,
    start: str,
    until: str,
    offsets: list[str] | None,
    sessions: tuple[str, ...],
) -> RecordingRange:
    first, stop = _start(start), _stop(until)
    ranges = ranges_of(config, topic, first, stop, parse_offsets(offsets), setting="--topic")
    return RecordingRange(topic, {number: found for (_, number), found in ranges.items()}, sessions)


def _start(text: str) -> Position:
    try:
        position = parse_start(text, "--from")
    except InvalidPosition as error:
        raise SettingsError("--from", f"{text!r} cannot be used: {error.problem}") from None
    if position.kind == "committed":
        raise SettingsError("--from", "committed is a group's; expected earliest, latest or timestamp:MOMENT")
    return position


def _stop(text: str) -> Position | None:
    if text == _UNTIL_INTERRUPTED:
        return None
    try:
        position = parse_stop(text, "--until")
    except InvalidPosition as error:
        problem = f"{text!r} cannot be used: {error.problem}; or {_UNTIL_INTERRUPTED}"
        raise SettingsError("--until", problem) from None
    if position.timestamp_ms is not None and position.timestamp_ms > time.time() * 1000:
        raise SettingsError("--until", f"{text} is still to come; record until {_UNTIL_INTERRUPTED}")
    return position


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(option, f"{value!r} is not one of {', '.join(choices)}")
