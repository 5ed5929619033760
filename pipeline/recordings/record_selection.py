"""Which records of a topic or a recording are meant: sessions by name, offsets, a stretch of time. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from connectors.kafka.reading.positions import parse_timestamp_ms
from pipeline.errors import SettingsError

SessionFilter = Callable[[bytes | None], bool]
"""Whether a record of this key is meant."""

_OFFSETS = re.compile(r"(\d+):(\d+)-(\d*)")
_CLOCK = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d+)?)")


def session_patterns(values: Iterable[str] | None) -> tuple[str, ...]:
    """The names in `--sessions a,b --sessions 'c-*'`."""
    return tuple(name.strip() for value in values or () for name in value.split(",") if name.strip())


def session_filter(patterns: tuple[str, ...]) -> SessionFilter:
    """Keys that match one of the names; `*`, `?` and `[…]` as in a shell. Without names everything does."""
    if not patterns:
        return lambda _key: True
    verdicts: dict[bytes | None, bool] = {}

    def matches(key: bytes | None) -> bool:
        if key not in verdicts:
            name = session_name(key)
            verdicts[key] = any(fnmatchcase(name, pattern) for pattern in patterns)
        return verdicts[key]

    return matches


def session_name(key: bytes | None) -> str:
    """The session of a record's key, as people see it; bytes that are no UTF-8 are escaped."""
    return (key or b"").decode("utf-8", "backslashreplace")


def parse_offsets(values: Iterable[str] | None) -> dict[int, tuple[int, int | None]]:
    """`PARTITION:FIRST-LAST`, or `PARTITION:FIRST-`, as partition -> first offset, the one behind the last.

    Raises SettingsError.
    """
    found: dict[int, tuple[int, int | None]] = {}
    for text in (part.strip() for value in values or () for part in value.split(",")):
        match = _OFFSETS.fullmatch(text)
        if match is None:
            problem = (
                f"{text!r} is no range of offsets; expected PARTITION:FIRST-LAST, such as 0:100-199 or 0:100-"
            )
            raise SettingsError("--offsets", problem)
        partition, first = int(match[1]), int(match[2])
        stop = int(match[3]) + 1 if match[3] else None
        if stop is not None and stop <= first:
            raise SettingsError("--offsets", f"{text!r} ends before it begins")
        if partition in found:
            raise SettingsError("--offsets", f"partition {partition} is named twice")
        found[partition] = (first, stop)
    return found


def parse_moment(text: str | None, setting: str, first_ms: int) -> int | None:
    """A place in a recording as milliseconds since 1970; `first_ms` is where it begins.

    `90`, `1:30` and `0:01:30` count from its beginning, in seconds; ISO 8601 with an offset from UTC is
    absolute. Raises SettingsError.
    """
    if text is None:
        return None
    match = _CLOCK.fullmatch(text)
    if match is not None:
        parts = [float(part) for part in match.groups() if part is not None]
        seconds = 0.0
        for part in parts:
            seconds = seconds * 60 + part
        return first_ms + round(seconds * 1000)
    try:
        return parse_timestamp_ms(text)
    except ValueError as error:
        expected = (
            "expected seconds (90), minutes (1:30) or ISO 8601 with an offset from UTC (2026-03-01T08:00:00Z)"
        )
        raise SettingsError(setting, f"{error}; {expected}") from None
