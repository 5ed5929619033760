"""The options of the tools that read output topics: which broker, which topics, from where to where."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer


def _option(text: str, environment: str) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}")


BootstrapServers: TypeAlias = Annotated[str, _option("Kafka brokers, host:port[,...].", "BOOTSTRAP_SERVERS")]
OptionalBootstrapServers: TypeAlias = Annotated[
    str | None, _option("Kafka brokers, host:port[,...].", "BOOTSTRAP_SERVERS")
]
OutputTopic: TypeAlias = Annotated[str, _option("Topic of FinalTranscript records.", "OUTPUT_TOPIC")]
OptionalOutputTopic: TypeAlias = Annotated[
    str | None, _option("Topic of FinalTranscript records.", "OUTPUT_TOPIC")
]
SessionsTopic: TypeAlias = Annotated[
    str | None, _option("Topic of SessionEnded records: ends, gaps, completeness.", "SESSIONS_TOPIC")
]
PartialsTopic: TypeAlias = Annotated[
    str | None, _option("Topic of PartialTranscript records: what is heard so far.", "PARTIALS_TOPIC")
]
DeadLetterTopic: TypeAlias = Annotated[str, _option("Topic of DeadLetter records.", "DEAD_LETTER_TOPIC")]
StartFrom: TypeAlias = Annotated[
    str,
    typer.Option(
        help="earliest, latest, committed (of --group-id; else earliest), or timestamp:MOMENT "
        "(ISO 8601, or milliseconds since 1970)."
    ),
]
Until: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Stop at end (of the topics as they are now) or MOMENT; without it, go on for ever."),
]
OnUnreadable: TypeAlias = Annotated[
    str, typer.Option(help="A record that cannot be decoded: fail, or skip and count it.")
]
OnLostOffsets: TypeAlias = Annotated[
    str, typer.Option(help="When retention took records that were not read: fail, or skip them.")
]
