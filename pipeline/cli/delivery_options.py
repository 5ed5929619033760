"""How finals are delivered, as options of `medstream run`."""

from __future__ import annotations

from typing import Annotated

import typer

Delivery = Annotated[
    str,
    typer.Option(
        help="at-least-once, or exactly-once: finals and ends of sessions in Kafka transactions.",
        envvar="MEDSTREAM_DELIVERY",
    ),
]
ProgressTopic = Annotated[
    str | None,
    typer.Option(
        help="Compacted topic that remembers what was published; OUTPUT_TOPIC.progress without. Created when "
        "there is none, with the output topic's partitions.",
        envvar="MEDSTREAM_PROGRESS_TOPIC",
    ),
]
MaskedTopic = Annotated[
    str | None,
    typer.Option(
        help="Topic of finals once more, with the words that the service identifies as PHI replaced; makes "
        "every session identify PHI. Not published without.",
        envvar="MEDSTREAM_MASKED_TOPIC",
    ),
]
SinkId = Annotated[
    str | None,
    typer.Option(
        help="Beginning of the transactional.ids of --delivery exactly-once, one of each partition; "
        "OUTPUT_TOPIC without. Whoever starts with the same one fences the one before.",
        envvar="MEDSTREAM_SINK_ID",
    ),
]
ProgressRetentionHours = Annotated[
    float,
    typer.Option(
        min=1.0,
        help="How long an ended session is remembered; longer than any reading again of its audio takes.",
        envvar="MEDSTREAM_PROGRESS_RETENTION_HOURS",
    ),
]
