"""Dead letters as lines for people and as JSON for programs, original bytes only if asked for. Pure."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.elements import DeadLetter
from pipeline.letters.letter_selection import ReasonCount, position_of, position_text, session_of

_BYTES_PER_LINE = 16


def moment(milliseconds: int) -> str:
    """UTC, to the second; a dash where there is none."""
    if milliseconds < 0:
        return "-"
    return f"{dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def reason_lines(counts: Sequence[ReasonCount]) -> list[str]:
    """Two lines for each reason: how many and when, and the latest message."""
    lines = []
    for count in counts:
        when = f"{moment(count.first_at_ms)} to {moment(count.last_at_ms)}"
        lines.append(f"{count.reason}  {count.letters} letters, {len(count.sessions)} sessions, {when}")
        lines.append(f"    {printable(count.example)}")
    return lines


def reason_record(count: ReasonCount) -> dict[str, Any]:
    """One reason for JSON."""
    return {
        "reason": count.reason,
        "letters": count.letters,
        "sessions": sorted(count.sessions),
        "first_failed_at": moment(count.first_at_ms),
        "last_failed_at": moment(count.last_at_ms),
        "example": count.example,
    }


def letter_line(letter: DeadLetter) -> str:
    """One letter in one line."""
    session = session_of(letter) or "-"
    return printable(
        f"{position_text(position_of(letter))}  {moment(letter.failed_at_ms)}  "
        f"{letter.rejection.error_class}  {session}  {letter.rejection.reason}"
    )


def letter_record(letter: DeadLetter, *, show_value: bool) -> dict[str, Any]:
    """One letter for JSON; key, value and headers in Base64 with `show_value`, else their sizes."""
    record = letter.record
    shown: dict[str, Any] = {
        "id": position_text(position_of(letter)),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "session_id": session_of(letter),
        "stage": letter.stage,
        "reason": letter.rejection.error_class,
        "message": letter.rejection.reason,
        "record_timestamp": moment(record.timestamp_ms),
        "failed_at": moment(letter.failed_at_ms),
        "key_bytes": _size(record.key),
        "value_bytes": _size(record.value),
        "header_names": [name for name, _ in record.headers],
    }
    if show_value:
        shown["key"] = _base64(record.key)
        shown["value"] = _base64(record.value)
        shown["headers"] = [{"key": name, "value": _base64(value)} for name, value in record.headers]
    return shown


def letter_lines(letter: DeadLetter, *, show_value: bool) -> list[str]:
    """One letter at length; the original's bytes in hexadecimal with `show_value`."""
    record = letter_record(letter, show_value=False)
    names = ", ".join(record.pop("header_names")) or "none"
    lines = [f"{name + ':':18}{'-' if value is None else value}" for name, value in record.items()]
    lines.append(f"{'header_names:':18}{names}")
    lines = [printable(line) for line in lines]
    if show_value:
        lines += ["key:", *hex_lines(letter.record.key)]
        for name, value in letter.record.headers:
            lines += [printable(f"header {name}:"), *hex_lines(value)]
        lines += ["value:", *hex_lines(letter.record.value)]
    return lines


def hex_lines(data: bytes | None) -> list[str]:
    """Offset, bytes in hexadecimal, and what of them is ASCII."""
    if data is None:
        return ["  (null)"]
    return [
        f"  {start:08x}  {chunk.hex(' '):{3 * _BYTES_PER_LINE - 1}}  {_ascii(chunk)}"
        for start in range(0, len(data), _BYTES_PER_LINE)
        for chunk in (data[start : start + _BYTES_PER_LINE],)
    ] or ["  (empty)"]


def json_lines(records: Iterable[dict[str, Any]]) -> list[str]:
    """One JSON object a line."""
    return [json.dumps(record, ensure_ascii=False) for record in records]


def printable(text: str) -> str:
    """`text` without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _size(data: bytes | None) -> int | None:
    return None if data is None else len(data)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _ascii(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
