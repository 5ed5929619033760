"""`medstream inspect`: what is in a recording, whether it is whole, and a session's audio out of it.

Exit codes: 0 the recording is whole, 1 it is damaged, not complete or no recording (what could be read is
told), 2 wrong usage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.kafka.recordings.errors import DamagedRecording
from connectors.kafka.recordings.recording import RecordingReader
from pipeline.audio.raw_chunks import AVRO
from pipeline.cli.progress_bars import progress_bar
from pipeline.cli.source_options import ChunkFormat, check_chunk_format
from pipeline.errors import SettingsError

app = typer.Typer()
_SHOW_RECORDS = 1000
WHOLE, DAMAGED, INCOMPLETE, UNKNOWN = "whole", "damaged", "incomplete", "no checksum"


@app.command(epilog="Exit codes: 0 whole, 1 damaged, not complete or no recording, 2 usage.")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    export_session: Annotated[
        str | None,
        typer.Option(
            "--export-audio", metavar="SESSION", help="Write this session's audio to --output instead."
        ),
    ] = None,
    chunk_format: ChunkFormat = AVRO,
    output: Annotated[
        Path | None, typer.Option(help="Audio file to write, .wav or .flac; SESSION.wav without.")
    ] = None,
) -> None:
    """Show sessions, durations, rates, gaps and sizes of a recording, and verify its checksum."""
    check_chunk_format(chunk_format)
    if export_session is not None:
        _export(file, export_session, output or Path(f"{Path(export_session).name}.wav"), chunk_format)
        return
    if output is not None:
        raise SettingsError("--output", "is for --export-audio")
    state, problem, told = _read(file, chunk_format)
    typer.echo(json.dumps(told, indent=2) if as_json else _page(told, state))
    if problem:
        typer.echo(f"medstream: {problem}", err=True)
        raise typer.Exit(1)


def _read(file: Path, chunk_format: str) -> tuple[str, str, dict[str, Any]]:
    """The recording's state, what is wrong with it, and all there is to tell."""
    from pipeline.audio.decoding import ChunkDecoder  # with soundfile a tenth of a second
    from pipeline.recordings.recording_report import RecordingReport

    decode = ChunkDecoder(chunk_format=chunk_format).decode
    report, problem, state = RecordingReport(decode), "", WHOLE
    with RecordingReader(file) as reader, progress_bar(f"reading {file.name}", reader.size_bytes) as bar:
        header = reader.header
        try:
            for record in reader:
                report.add(record)
                if report.records % _SHOW_RECORDS == 0:
                    bar(reader.position_bytes, f"{report.records:,} records")
        except DamagedRecording as damage:
            state, problem = DAMAGED, str(damage)
    if not problem and header.checksum is None:
        state = INCOMPLETE if header.is_ours else UNKNOWN
        if header.is_ours:
            problem = f"{file} was never completed: medstream record --resume goes on with a .partial file"
    told = {
        "file": str(file),
        "file_bytes": reader.size_bytes,
        "codec": header.codec,
        "state": state,
        "sha256": header.checksum,
        "recorded": reader.range,
    }
    return state, problem, told | report.to_json()


def _page(told: dict[str, Any], state: str) -> str:
    lines = [
        f"{told['file']}: {state}, {told['records']} records in {told['seconds']:.1f} s, {told['codec']}, "
        f"{told['file_bytes']:,} bytes ({told['value_bytes']:,} of values)",
        *(
            f"{one['topic']}-{one['partition']}: offsets {one['first_offset']} to {one['last_offset']}"
            for one in told["partitions"]
        ),
    ]
    if told["records_that_are_no_audio"]:
        lines.append(f"{told['records_that_are_no_audio']} records are no AudioChunk")
    if not told["sessions"]:
        return "\n".join(lines)
    width = max(7, *(len(one["session"]) for one in told["sessions"]))
    columns = f"{'records':>8} {'seconds':>9} {'rec/s':>7} {'audio s':>9} {'pause ms':>9}  notes"
    lines.append(f"{'session':{width}} {columns}")
    lines += [_line(one, width) for one in told["sessions"]]
    return "\n".join(lines)


def _line(one: dict[str, Any], width: int) -> str:
    notes = []
    if one["missing_chunks"]:
        notes.append(f"{one['missing_chunks']} chunks missing")
    if one["repeated_or_late_chunks"]:
        notes.append(f"{one['repeated_or_late_chunks']} repeated or late")
    if one["chunks"] and not one["complete"]:
        notes.append("no end")
    rate = "" if one["records_per_second"] is None else f"{one['records_per_second']:.1f}"
    return (
        f"{one['session']:{width}} {one['records']:>8} {one['seconds']:>9.1f} {rate:>7} "
        f"{one['audio_seconds']:>9.1f} {one['longest_pause_ms']:>9}  {', '.join(notes)}"
    ).rstrip()


def _export(file: Path, session: str, output: Path, chunk_format: str) -> None:
    from pipeline.recordings.session_audio import export_audio

    with RecordingReader(file) as reader:
        found = export_audio(reader, session, output, chunk_format)
    audio = found.audio
    typer.echo(f"{output}: {found.seconds:.2f} s, {audio.sample_rate_hertz} Hz, {audio.channels} channel(s)")
    if found.silence_seconds or found.skipped_records:
        typer.echo(
            f"medstream: {found.silence_seconds:.2f} s are silence for missing chunks; "
            f"{found.skipped_records} records could not be decoded",
            err=True,
        )
