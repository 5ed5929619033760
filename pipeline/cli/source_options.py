"""The options of `medstream run` that say what is read of the input topic: start, stop, new partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import typer

from connectors.kafka.errors import InvalidPosition
from connectors.kafka.reading.positions import parse_start, parse_stop
from pipeline.audio.raw_chunks import CHUNK_FORMATS
from pipeline.errors import SettingsError


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
        "Read so far, then end the job: end (of the topic as it is at start), or MOMENT as in --start-from.",
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
ReadIntervalMs: TypeAlias = Annotated[
    int,
    _option(
        "A busy partition is read at most once in this time: more is cheaper, and finals come later.",
        "READ_INTERVAL_MS",
        min=10,
        max=5_000,
    ),
]

ChunkFormat: TypeAlias = Annotated[
    str,
    _option(
        "What the records of audio are: avro (AudioChunk), or raw: the bare payload, with the other fields "
        "in headers.",
        "CHUNK_FORMAT",
    ),
]


def check_chunk_format(text: str) -> str:
    """The same text; raises SettingsError."""
    if text not in CHUNK_FORMATS:
        raise SettingsError("--chunk-format", f"{text!r} is not one of {', '.join(CHUNK_FORMATS)}")
    return text


def check_start(text: str) -> str:
    """The same text; raises SettingsError."""
    return _checked("--start-from", text, parse_start)


def check_stop(text: str | None) -> str | None:
    """The same text; raises SettingsError."""
    return None if text is None else _checked("--stop-at", text, parse_stop)


def _checked(option: str, text: str, parse: Callable[[str, str], object]) -> str:
    try:
        parse(text, option)
    except InvalidPosition as error:
        raise SettingsError(option, f"{text!r} cannot be used: {error.problem}") from None
    return text


def check_discovery(seconds: float) -> float | None:
    """The interval, None for none; the source cannot wait for less than a second."""
    if 0 < seconds < 1:
        raise SettingsError("--discovery-interval-seconds", f"{seconds:g} is neither 0 nor at least 1")
    return seconds or None
