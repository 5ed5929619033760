"""`medstream replay`: a recording onto a topic again, with its timing, as often and as broken as wanted.

Exit codes: 0 all was sent and acknowledged, 1 a setting, the broker or the file is at fault (what came before
was sent), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.kafka.client import ClientConfig, is_loopback_only
from connectors.kafka.reading.offsets import find_topics
from connectors.kafka.recordings.bulk_sender import BulkSender
from connectors.kafka.recordings.recording import RecordingReader
from connectors.kafka.records import KafkaRecord
from pipeline.audio.playback import UNPACED, parse_speed
from pipeline.audio.raw_chunks import AVRO, RAW
from pipeline.cli.exit_codes import INTERRUPTED
from pipeline.cli.interrupts import interruptible
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.progress_bars import progress_bar
from pipeline.cli.service_options import Insecure
from pipeline.cli.source_options import ChunkFormat, check_chunk_format
from pipeline.errors import SettingsError
from pipeline.recordings.record_selection import parse_moment, session_patterns
from pipeline.recordings.replay_plan import Planned, ReplayOptions, ReplayPlan, names_template, parse_faults
from pipeline.recordings.replayer import Replayer, ReplaySummary, Target

app = typer.Typer()
_SWITCH_SECONDS = 0.0005
_KEEP, _KEY, _NOW, _DROP = "keep", "key", "now", "drop"


def _option(text: str, environment: str | None = None, **limits: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}" if environment else None, **limits)


@app.command(
    epilog="Exit codes: 0 all sent and acknowledged, 1 a setting, broker or file, 2 usage, 130 interrupted."
)
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")],
    topic: Annotated[str | None, _option("Topic to write to; it must exist.")] = None,
    bootstrap_servers: Annotated[
        str | None, _option("Kafka brokers, host:port[,...].", "BOOTSTRAP_SERVERS")
    ] = None,
    speed: Annotated[str, _option("Times real time; 0 or max: as fast as the broker takes it.")] = "1",
    sessions: Annotated[
        list[str] | None,
        _option("Only these sessions: names, or patterns as in a shell, by comma. Repeatable."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin here: seconds (90), minutes (1:30) or ISO 8601.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="End before this place, as in --from.")] = None,
    rename_sessions: Annotated[
        str | None,
        _option(
            "New names, with {session}, {copy}, {round}; without: {session}, with -c{copy} and -r{round}."
        ),
    ] = None,
    loop: Annotated[int, _option("Rounds; 0: until interrupted.", min=0)] = 1,
    fan_out: Annotated[int, _option("Copies of each session at once.", min=1)] = 1,
    fault: Annotated[
        str | None, _option("drop=P,duplicate=P,reorder=P:RECORDS,stall=P:SECONDS; chances by record.")
    ] = None,
    seed: Annotated[int, _option("The same seed makes the same faults.")] = 1,
    partitions: Annotated[
        str | None, _option("keep, or key: by the key. Without: keep, and key for sessions with new names.")
    ] = None,
    timestamps: Annotated[str, _option("now, or keep: those of the recording.")] = _NOW,
    headers: Annotated[str, _option("keep, or drop.")] = _KEEP,
    set_header: Annotated[list[str] | None, _option("Add this header, NAME=VALUE. Repeatable.")] = None,
    chunk_format: ChunkFormat = AVRO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent; no broker.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Faster than real time also to brokers beyond this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    insecure: Insecure = False,
) -> None:
    """Replay a recording with its original timing."""
    pace = _pace(speed)
    names = names_template(rename_sessions, fan_out=fan_out, loop=loop != 1)
    _check("--timestamps", timestamps, (_NOW, _KEEP))
    _check("--headers", headers, (_KEEP, _DROP))
    if check_chunk_format(chunk_format) == RAW and headers == _DROP:
        raise SettingsError("--headers", "must be kept with --chunk-format raw: they say what the audio is")
    partitions = partitions or (_KEEP if names is None else _KEY)
    _check("--partitions", partitions, (_KEEP, _KEY))
    faults, added = parse_faults(fault), _headers(set_header)
    first_ms, stop_ms, total_seconds = _stretch(file, start, to)
    options = ReplayOptions(session_patterns(sessions), first_ms, stop_ms, names, fan_out, faults)
    plan = ReplayPlan(options, random.Random(seed).random)  # noqa: S311  # faults, not secrets
    planned = _rounds(plan, file, loop)
    if dry_run:
        if loop == 0:
            raise SettingsError("--dry-run", "does not end with --loop 0; name a number of rounds")
        _say(_dry(planned, pace), plan, file, as_json=as_json, dry=True)
        return
    if topic is None or bootstrap_servers is None:
        raise SettingsError("--topic" if topic is None else "--bootstrap-servers", "is needed, or --dry-run")
    config = _config(bootstrap_servers, command_config, kafka_property, pace, insecure=insecure)
    _check_speed(config, speed, pace, force=force)
    target = Target(
        topic,
        find_topics(config, [topic], setting="--topic")[topic],
        keep_partitions=partitions == _KEEP,
        keep_timestamps=timestamps == _KEEP,
        keep_headers=headers == _KEEP,
        added_headers=added,
        chunk_format=chunk_format,
    )
    _check_partitions(file, target)
    summary, whole = _send(
        config, target, planned, pace, total_seconds * loop if total_seconds and loop else None
    )
    _say(summary, plan, file, as_json=as_json, dry=False)
    if not whole:
        typer.echo("medstream: interrupted; what was sent is acknowledged", err=True)
        raise typer.Exit(INTERRUPTED)


def _send(
    config: ClientConfig, target: Target, planned: Iterator[Planned], pace: float, total: float | None
) -> tuple[ReplaySummary, bool]:
    sender = BulkSender(config)
    with interruptible() as asked, progress_bar(f"replaying to {target.topic}", total) as bar:

        def show(due_seconds: float, summary: ReplaySummary) -> None:
            bar(due_seconds, f"{summary.records:,} records")

        before = sys.getswitchinterval()
        if pace != UNPACED:  # the producer's thread must not keep us from the next record for 5 ms
            sys.setswitchinterval(_SWITCH_SECONDS)
        replayer = Replayer(sender, target, pace, wait=asked.wait, show=show)
        try:
            whole = replayer.run(planned)
        finally:
            sender.close()
            sys.setswitchinterval(before)
    return replayer.summary, whole


def _rounds(plan: ReplayPlan, file: Path, loop: int) -> Iterator[Planned]:
    for number in itertools.count(1) if loop == 0 else range(1, loop + 1):
        with RecordingReader(file) as reader:
            yield from plan.round(reader, number)


def _stretch(file: Path, start: str | None, to: str | None) -> tuple[int | None, int | None, float | None]:
    """First and last moment that are wanted, and the seconds between them; None where the end is not told."""
    with RecordingReader(file) as reader:
        first: KafkaRecord | None = next(iter(reader), None)
    begins_ms = max(0, first.timestamp_ms) if first is not None else 0
    first_ms, stop_ms = parse_moment(start, "--from", begins_ms), parse_moment(to, "--to", begins_ms)
    if first_ms is not None and stop_ms is not None and stop_ms <= first_ms:
        raise SettingsError("--to", "is not behind --from")
    total = None if stop_ms is None else (stop_ms - (first_ms or begins_ms)) / 1000
    return first_ms, stop_ms, total


def _dry(planned: Iterator[Planned], pace: float) -> ReplaySummary:
    summary, last = ReplaySummary(), 0.0
    for one in planned:
        summary.records += 1
        summary.value_bytes += len(one.record.value or b"")
        last = one.due_seconds
    summary.seconds = 0.0 if pace == UNPACED else last / pace
    return summary


def _say(summary: ReplaySummary, plan: ReplayPlan, file: Path, *, as_json: bool, dry: bool) -> None:
    told = {
        "file": str(file),
        "dry_run": dry,
        "records": summary.records,
        "value_bytes": summary.value_bytes,
        "seconds": round(summary.seconds, 3),
        "late_p99_ms": summary.lateness_ms(0.99),
        "late_max_ms": summary.lateness_ms(1.0),
        "emptied_headers": summary.emptied_headers,
        "faults": {name: count for name, count in sorted(plan.counts.items()) if count},
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    late = "" if told["late_p99_ms"] is None else f", 99 % at most {told['late_p99_ms']} ms late"
    faults = "".join(f", {count} {name}" for name, count in plan.counts.items() if count)
    verb = "would send" if dry else "sent"
    if summary.emptied_headers:
        typer.echo(f"medstream: {summary.emptied_headers} null headers were sent as empty ones", err=True)
    typer.echo(f"{file}: {verb} {summary.records} records in {summary.seconds:.1f} s{late}{faults}")


def _config(
    servers: str, command_config: Path | None, pairs: list[str] | None, pace: float, *, insecure: bool
) -> ClientConfig:
    properties = properties_of(pairs)
    if pace != UNPACED:  # a producer that waits for more records to go with one would shift it
        properties = {"linger.ms": "0", **properties}
    return ClientConfig.build(servers, command_config, properties, insecure=insecure)


def _pace(text: str) -> float:
    try:
        return parse_speed(text)
    except ValueError:
        raise SettingsError("--speed", f"{text!r} is neither a number from 0 on nor max") from None


def _check_speed(config: ClientConfig, text: str, pace: float, *, force: bool) -> None:
    if force or 0 < pace <= 1 or is_loopback_only(config.bootstrap_servers):
        return
    raise SettingsError(
        "--speed",
        f"{text} is faster than real time, and {config.bootstrap_servers} is not on this machine: a job "
        "there that uses Amazon Transcribe can send audio in about real time only, so sessions fall behind "
        "and are billed all the same. Leave the option out, or add --force where no real service listens",
    )


def _check_partitions(file: Path, target: Target) -> None:
    with RecordingReader(file) as reader:
        for number in reader.range.get("offsets", {}):
            if str(number).isdigit():
                target.partition(int(number))


def _headers(pairs: list[str] | None) -> tuple[tuple[str, bytes], ...]:
    found = []
    for pair in pairs or []:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise SettingsError("--set-header", f"{name!r} has no value; expected NAME=VALUE")
        found.append((name, value.encode()))
    return tuple(found)


def _check(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(option, f"{value!r} is not one of {', '.join(choices)}")
