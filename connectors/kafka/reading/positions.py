"""Where reading starts and stops, as people write it: `earliest`, `committed`, `end`, a moment.

    start   earliest | latest | committed | timestamp:MOMENT
    stop    end | [timestamp:]MOMENT

A moment is ISO 8601 with its offset from UTC (`2026-03-01T08:00:00+01:00`, `2026-03-01T07:00Z`), or
milliseconds since 1970-01-01 UTC (`1772348400000`), as Kafka's own tools print them. In a partition it is
the first record whose timestamp is not before it.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from connectors.kafka.errors import InvalidPosition

EARLIEST, LATEST, COMMITTED, TIMESTAMP = "earliest", "latest", "committed", "timestamp"
END = "end"

STARTS = f"{EARLIEST}, {LATEST}, {COMMITTED}, {TIMESTAMP}:MOMENT"
STOPS = f"{END}, {TIMESTAMP}:MOMENT, MOMENT"
_MOMENTS = "MOMENT is ISO 8601 with an offset from UTC (2026-03-01T08:00:00Z) or milliseconds since 1970"

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MAX_DIGITS = 15
"""Milliseconds up to the year 33658: more digits are micro- or nanoseconds by mistake."""


@dataclass(frozen=True, slots=True)
class Position:
    """`timestamp_ms` is set for TIMESTAMP, and only then."""

    kind: str
    timestamp_ms: int | None = None


def parse_start(text: str, setting: str = "start") -> Position:
    """Raises InvalidPosition, which names `setting`."""
    if text in (EARLIEST, LATEST, COMMITTED):
        return Position(text)
    kind, separator, moment = text.partition(":")
    if kind != TIMESTAMP or not separator:
        raise InvalidPosition(setting, text, f"expected one of {STARTS}")
    return _at(moment, text, setting)


def parse_stop(text: str, setting: str = "stop_at") -> Position:
    """Raises InvalidPosition, which names `setting`."""
    if text == END:
        return Position(END)
    moment = text.removeprefix(f"{TIMESTAMP}:")
    if not moment[:1].isdigit():
        raise InvalidPosition(setting, text, f"expected one of {STOPS}")
    return _at(moment, text, setting)


def _at(moment: str, text: str, setting: str) -> Position:
    try:
        return Position(TIMESTAMP, parse_timestamp_ms(moment))
    except ValueError as error:
        raise InvalidPosition(setting, text, f"{error}; {_MOMENTS}") from None


def parse_timestamp_ms(text: str) -> int:
    """Milliseconds since 1970-01-01 UTC, parts of one cut off; raises ValueError with the reason."""
    if re.fullmatch(r"[0-9]+", text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"{text} is no number of milliseconds")
        return int(text)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no point in time") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say which time zone it is in")
    since_epoch = (moment - _EPOCH) // dt.timedelta(milliseconds=1)
    if since_epoch < 0:
        raise ValueError(f"{text!r} is before 1970")
    return since_epoch
