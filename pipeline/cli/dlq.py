"""`medstream dlq list|show|retry`: what could not be transcribed, why, and once more.

Exit codes: 0 all is well, 1 a setting or Kafka is wrong or there is no such letter, 2 wrong usage, 130
interrupted. Original records are patient data: their bytes are printed only by `show --show-value`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.positions import parse_timestamp_ms
from pipeline.audio.raw_chunks import AVRO
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.registry_options import SchemaRegistryConfig, SchemaRegistryUrl, serde_settings
from pipeline.cli.service_options import Insecure
from pipeline.cli.source_options import ChunkFormat, check_chunk_format
from pipeline.cli.topic_options import BootstrapServers, OnLostOffsets
from pipeline.consuming import FAIL, SKIP
from pipeline.elements import DeadLetter
from pipeline.errors import SettingsError
from pipeline.letters.letter_retry import Plan, ReadAgain, Step, check_ended, plan_retry
from pipeline.letters.letter_selection import ReasonCount, Selection, by_reason, each_once
from pipeline.letters.letter_sending import LetterSender, read_dead_letters
from pipeline.letters.letter_text import (
    json_lines,
    letter_line,
    letter_lines,
    letter_record,
    moment,
    printable,
    reason_lines,
    reason_record,
)
from schemas.serdes import SerdeSettings

app = typer.Typer(
    help="Dead letters: list them by reason, show one, retry them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

InputTopic: TypeAlias = Annotated[
    str | None, typer.Option(help="Topic of AudioChunk records.", envvar="MEDSTREAM_INPUT_TOPIC")
]
DeadLetterTopic: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Topic of DeadLetter records; INPUT_TOPIC.dead-letters without.",
        envvar="MEDSTREAM_DEAD_LETTER_TOPIC",
    ),
]
Reason: TypeAlias = Annotated[list[str] | None, typer.Option(help="Only this error class; may be repeated.")]
Session: TypeAlias = Annotated[list[str] | None, typer.Option(help="Only this session; may be repeated.")]
FailedFrom: TypeAlias = Annotated[
    str | None, typer.Option("--from", help="Only what failed at this MOMENT (ISO 8601, or ms) or later.")
]
FailedTo: TypeAlias = Annotated[str | None, typer.Option("--to", help="Only what failed before this MOMENT.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@app.command("list")
def list_(
    bootstrap_servers: BootstrapServers,
    input_topic: InputTopic = None,
    dead_letter_topic: DeadLetterTopic = None,
    reason: Reason = None,
    session: Session = None,
    failed_from: FailedFrom = None,
    failed_to: FailedTo = None,
    each: Annotated[bool, typer.Option("--each", help="One line for each letter, by position.")] = False,
    json: AsJson = False,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
) -> None:
    """List dead letters by reason, or each of them. Their records' bytes stay out."""
    kafka, serdes = _connection(
        bootstrap_servers,
        command_config,
        kafka_property,
        schema_registry_url,
        schema_registry_config,
        insecure,
    )
    selection = _selection(reason, session, failed_from, failed_to)
    topic = _topic(input_topic, dead_letter_topic)
    letters = each_once(_read(kafka, topic, serdes, selection))
    counts = by_reason(letters)
    if each:
        records = (letter_record(letter, show_value=False) for letter in letters)
        _echo_all(json_lines(records) if json else [letter_line(letter) for letter in letters])
    elif json:
        _echo_all(json_lines(reason_record(count) for count in counts))
    elif (console := Console()).is_terminal:
        console.print(_table(counts))
    else:
        _echo_all(reason_lines(counts))
    typer.echo(f"medstream: {len(letters)} dead letters in {topic}", err=True)


@app.command()
def show(
    letter_id: Annotated[
        str, typer.Argument(metavar="ID", help="TOPIC/PARTITION/OFFSET, as `list --each` has it.")
    ],
    bootstrap_servers: BootstrapServers,
    input_topic: InputTopic = None,
    dead_letter_topic: DeadLetterTopic = None,
    show_value: Annotated[
        bool,
        typer.Option("--show-value", help="Also the original key, headers and value: patient data."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object; bytes in Base64.")] = False,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
) -> None:
    """Show one dead letter: reason, position, sizes; the original bytes only with --show-value."""
    kafka, serdes = _connection(
        bootstrap_servers,
        command_config,
        kafka_property,
        schema_registry_url,
        schema_registry_config,
        insecure,
    )
    topic = _topic(input_topic, dead_letter_topic)
    found = each_once(_read(kafka, topic, serdes, Selection(positions=(letter_id,))))
    if not found:
        raise SettingsError(letter_id, f"there is no such dead letter in {topic} (see dlq list --each)")
    for letter in found:
        if json:
            _echo_all(json_lines([letter_record(letter, show_value=show_value)]))
        else:
            _echo_all(letter_lines(letter, show_value=show_value))


@app.command()
def retry(
    bootstrap_servers: BootstrapServers,
    input_topic: InputTopic = None,
    dead_letter_topic: DeadLetterTopic = None,
    reason: Reason = None,
    session: Session = None,
    letter_id: Annotated[
        list[str] | None,
        typer.Option("--id", help="Only this letter, TOPIC/PARTITION/OFFSET; may be repeated."),
    ] = None,
    failed_from: FailedFrom = None,
    failed_to: FailedTo = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All letters; needed where nothing is chosen.")
    ] = False,
    rename: Annotated[
        str | None,
        typer.Option(help="New session id, {session} stands for the old one; records are encoded anew."),
    ] = None,
    chunk_format: ChunkFormat = AVRO,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    ended_retention_seconds: Annotated[
        float,
        typer.Option(
            min=0, help="The job's own setting: how long it refuses the id of a session that is over."
        ),
    ] = 300.0,
    on_lost_offsets: OnLostOffsets = FAIL,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
) -> None:
    """Send the records of dead letters to their topics again, byte for byte, each session in its order.

    A session that was refused for good is read again from the input topic, from where finals end to where it
    was given up. The letters stay: choose by --from what the last retry has not sent.
    """
    check_chunk_format(chunk_format)
    selection = _selection(reason, session, failed_from, failed_to, letter_id)
    if selection.is_all and not everything:
        raise SettingsError("--all", "choose by --reason, --session, --id, --from or --to, or give --all")
    kafka, serdes = _connection(
        bootstrap_servers,
        command_config,
        kafka_property,
        schema_registry_url,
        schema_registry_config,
        insecure,
    )
    letters = list(_read(kafka, _topic(input_topic, dead_letter_topic), serdes, selection))
    if rename is None and not dry_run:
        check_ended(letters, time.time_ns() // 1_000_000, ended_retention_seconds)
    plan = plan_retry(letters, rename)
    _tell_left_out(plan)
    if dry_run:
        _echo_all([_step_line(step) for step in plan.steps])
        typer.echo(f"medstream: {_what(plan)} would be sent", err=True)
        return
    skip_lost = on_lost_offsets == SKIP
    with LetterSender(kafka, serdes, skip_lost=skip_lost, chunk_format=chunk_format) as sender:
        _send(sender, plan)


def _send(sender: LetterSender, plan: Plan) -> None:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Sending", total=len(plan.steps))
        try:
            sender.send(plan, lambda done: progress.update(task, completed=done))
        finally:
            typer.echo(f"medstream: {sender.sent} records sent, for {_what(plan)}", err=True)
            if sender.emptied:
                typer.echo(f"medstream: {sender.emptied} of them have empty headers that were null", err=True)


def _what(plan: Plan) -> str:
    again = sum(isinstance(step, ReadAgain) for step in plan.steps)
    return f"{len(plan.steps) - again} letters and {again} ranges of the input topic"


def _tell_left_out(plan: Plan) -> None:
    if plan.left_out:
        typer.echo(f"medstream: {len(plan.left_out)} records without a value are left out", err=True)


def _step_line(step: Step) -> str:
    session = step.session_id or "-"
    name = session if step.new_session_id is None else f"{session} as {step.new_session_id}"
    if isinstance(step, ReadAgain):
        last = "the end" if step.last_offset is None else step.last_offset
        return printable(
            f"{step.topic}/{step.partition}  offsets {step.first_offset} to {last}, read again  {name}"
        )
    record = step.record
    size = len(record.value or b"")
    return printable(f"{record.topic}/{record.partition}  offset {record.offset}, {size} bytes  {name}")


def _connection(
    servers: str,
    command_config: Any,
    kafka_property: list[str] | None,
    registry_url: str | None,
    registry_config: Any,
    insecure: bool,
) -> tuple[ClientConfig, SerdeSettings]:
    kafka = ClientConfig.build(servers, command_config, properties_of(kafka_property), insecure=insecure)
    return kafka, serde_settings(registry_url, registry_config, insecure=insecure)


def _topic(input_topic: str | None, dead_letter_topic: str | None) -> str:
    if dead_letter_topic is not None:
        return dead_letter_topic
    if input_topic is None:
        raise SettingsError("--dead-letter-topic", "which topic? Set it, or --input-topic")
    return f"{input_topic}.dead-letters"


def _selection(
    reasons: list[str] | None,
    sessions: list[str] | None,
    failed_from: str | None,
    failed_to: str | None,
    positions: list[str] | None = None,
) -> Selection:
    return Selection(
        tuple(reasons or ()),
        tuple(sessions or ()),
        tuple(positions or ()),
        _moment("--from", failed_from),
        _moment("--to", failed_to),
    )


def _moment(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_timestamp_ms(text)
    except ValueError as error:
        raise SettingsError(option, str(error)) from None


def _read(
    kafka: ClientConfig, topic: str, serdes: SerdeSettings, selection: Selection
) -> Iterator[DeadLetter]:
    """The selected letters, with a bar on a terminal and a word about records that are none."""
    console = Console(stderr=True)
    total = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading dead letters", total=None)

        def told(remaining: int) -> None:
            nonlocal total
            total = max(total, remaining)
            progress.update(task, total=total, completed=total - remaining)

        for letter in read_dead_letters(kafka, topic, serdes, unreadable=_tell, progress=told):
            if selection.takes(letter):
                yield letter


def _tell(sentence: str) -> None:
    typer.echo(f"medstream: left out: {sentence}", err=True)


def _table(counts: list[ReasonCount]) -> Table:
    table = Table("reason", "letters", "sessions", "first", "last", "latest message")
    for count in counts:
        table.add_row(
            count.reason,
            str(count.letters),
            str(len(count.sessions)),
            moment(count.first_at_ms),
            moment(count.last_at_ms),
            printable(count.example),
        )
    return table


def _echo_all(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
