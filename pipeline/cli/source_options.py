"""The options of `medstream run` that say what is read of the input topic: start, stop, new partitions."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from connectors.kafka.positions import parse_start, parse_stop


def _option(text: str, environment: str, **limits: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}", **limits)


StartFrom: TypeAlias = Annotated[
    str,
    _option(
        "Start without checkpoint: committed (else earliest), earliest, latest, or timestamp:MOMENT "
        "(ISO 8601, or milliseconds since 1970).",
        "START_FROM",
    ),
]
StopAt: TypeAlias = Annotated[
    str | None,
    _option(
        "Read so far, then end the job: end (of the topic as it is at start) or a MOMENT, as for --start-from.",
        "STOP_AT",
    ),
]
DiscoveryIntervalSeconds: TypeAlias = Annotated[
    float,
    _option(
        "How often to look for new partitions of the input topic; 0: at start only.",
        "DISCOVERY_INTERVAL_SECONDS",
        min=0,
    ),
]


def check_start(text: str) -> str:
    """The same text; raises InvalidPosition."""
    parse_start(text, "--start-from")
    return text


def check_stop(text: str | None) -> str | None:
    """The same text; raises InvalidPosition."""
    if text is not None:
        parse_stop(text, "--stop-at")
    return text


def check_discovery(seconds: float) -> float | None:
    """The interval, None for none; the source cannot wait for less than a second."""
    if 0 < seconds < 1:
        raise typer.BadParameter(
            f"{seconds:g} is neither 0 nor at least 1.", param_hint="--discovery-interval-seconds"
        )
    return seconds or None
