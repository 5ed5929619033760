"""`medstream consume`: the finals of an output topic as lines, for people and for programs.

Transcripts are patient data, so words are shown only with `--show-text`: without it a line has the session,
its place on the timeline and the number of words, and a JSON line has no readings (`"masked": true`). The
text goes to standard output, everything else to standard error.
"""

from __future__ import annotations

from typing import Annotated

import typer

from connectors.kafka.client import ClientConfig
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.registry_options import SchemaRegistryConfig, SchemaRegistryUrl, serde_settings
from pipeline.cli.service_options import Insecure
from pipeline.cli.topic_options import (
    BootstrapServers,
    OnLostOffsets,
    OnUnreadable,
    OutputTopic,
    SessionsTopic,
    StartFrom,
    Until,
)
from pipeline.consuming import FAIL, FinalsConsumer
from pipeline.output.output_values import SessionEnded
from pipeline.output.transcript_text import (
    final_json,
    final_lines_of_session,
    masked_final_json,
    session_ended_json,
    session_ended_line,
)
from pipeline.output.transcripts import Event

app = typer.Typer()


@app.command(
    epilog="Exit codes: 0 all is well; 1 a setting or Kafka is wrong; 2 wrong usage; 130 interrupted."
)
def consume(
    bootstrap_servers: BootstrapServers,
    output_topic: OutputTopic,
    sessions_topic: SessionsTopic = None,
    start_from: StartFrom = "earliest",
    until: Until = None,
    group_id: Annotated[
        str | None, typer.Option(help="Commit what was printed under this group, and no group without.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option(help="Only this session; may be repeated. All without.")
    ] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Print what was said: patient data. Masked without.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for `export` too.")] = False,
    on_unreadable: OnUnreadable = FAIL,
    on_lost_offsets: OnLostOffsets = FAIL,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
) -> None:
    """Print the finals of an output topic, without repetitions, as they come.

    A segment that comes again with other words is printed again, marked as revised: the later one counts.
    """
    kafka = ClientConfig.build(
        bootstrap_servers, command_config, properties_of(kafka_property), insecure=insecure
    )
    wanted = frozenset(session or ())
    finals = sessions = 0
    with FinalsConsumer(
        kafka,
        output_topic,
        sessions_topic=sessions_topic,
        start=start_from,
        until=until,
        group_id=group_id,
        serdes=serde_settings(schema_registry_url, schema_registry_config, insecure=insecure),
        on_unreadable=on_unreadable,
        on_lost_offsets=on_lost_offsets,
    ) as consumer:
        while not consumer.finished:
            for event in consumer.poll():
                if not wanted or _session_of(event) in wanted:
                    for line in _lines(event, show_text=show_text, json=json):
                        typer.echo(line)
                    ended = isinstance(event, SessionEnded)
                    sessions, finals = sessions + ended, finals + (not ended)
            if group_id is not None:
                consumer.commit()  # `echo` has flushed what it is about
    ends = f", {sessions} ends of sessions" if sessions_topic is not None else ""
    left_out = f"{consumer.repeated} repetitions and {consumer.unreadable} unreadable records left out"
    typer.echo(f"medstream: {finals} finals{ends}; {left_out}", err=True)


def _session_of(event: Event) -> str:
    return event.session_id if isinstance(event, SessionEnded) else event.final.session_id


def _lines(event: Event, *, show_text: bool, json: bool) -> list[str]:
    if isinstance(event, SessionEnded):
        if json:
            return [session_ended_json(event.summary, event.ended_at_ms)]
        return [session_ended_line(event.summary)]
    if json:
        return [final_json(event.final) if show_text else masked_final_json(event.final)]
    return final_lines_of_session(event.final, show_text=show_text, revised=event.revised)
