"""The file of expected finals: read, and written. Pure.

Documented in README ("Test a recording"). One JSON document:

    {"note": "…",
     "sessions": {"visit-17": [{"start_time": 0.8, "end_time": 3.2, "text": "…"}, "…"], "visit-18": "…"}}

A session is a list of segments in the order of their time, each an object or only its text; or one text, if
it does not matter how it is cut into segments. Or JSON lines: a segment each, with its `session_id`, or the
lines of `medstream consume --json --show-text`. Times are seconds on the session's timeline; times and
`channel_id` that are left out are not compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pipeline.errors import PipelineError, SettingsError
from pipeline.export.lines import read_lines
from pipeline.output.transcripts import SessionTranscript, Transcripts

OPTION = "--expect"
_SEGMENT_KEYS = ("text", "start_time", "end_time", "channel_id")
_LINE_KEYS = ("session_id", *_SEGMENT_KEYS)
_DOCUMENT_KEYS = ("note", "sessions")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech. Times in seconds on the session's timeline; None: unknown."""

    text: str = field(repr=False)
    start_time: float | None = None
    end_time: float | None = None
    channel_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedSession:
    """`as_one_text`: how it is cut into segments does not matter."""

    session_id: str
    segments: tuple[Segment, ...]
    as_one_text: bool = False


Expected = dict[str, ExpectedSession]
"""Sessions by id, in the order of the file."""


def read_expected(text: str) -> Expected:
    """The sessions in the file's text. Raises SettingsError with the place in it, never with its words."""
    document = _document(text)
    if document is not None:
        return _sessions(document)
    try:
        if _is_of_consume(text):
            return expected_of(Transcripts(read_lines(text.split("\n"))))
    except PipelineError as error:
        raise SettingsError(OPTION, str(error)) from None
    return _sessions_of_lines(text)


def expected_of(sessions: Iterable[SessionTranscript]) -> Expected:
    """What was heard, as what is expected."""
    return {
        session.session_id: ExpectedSession(session.session_id, segments_of(session)) for session in sessions
    }


def segments_of(session: SessionTranscript) -> tuple[Segment, ...]:
    """The session's finals in the order of their time; those of no text left out."""
    return tuple(
        Segment(final.text, final.start_time, final.end_time, final.channel_id)
        for final in session.in_time_order
        if final.text.strip()
    )


def write_expected(expected: Expected, note: str) -> str:
    """The file's text: a line for each segment, for people to edit. Times are rounded to milliseconds."""
    sessions = ",\n".join(
        f"    {_dumps(session.session_id)}: {_block(session)}" for session in expected.values()
    )
    return f'{{\n  "note": {_dumps(note)},\n  "sessions": {{\n{sessions}\n  }}\n}}\n'


def _block(session: ExpectedSession) -> str:
    lines = [f"\n      {_dumps(_segment_record(segment))}" for segment in session.segments]
    return f"[{','.join(lines)}\n    ]" if lines else "[]"


def _segment_record(segment: Segment) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if segment.start_time is not None:
        record["start_time"] = round(segment.start_time, 3)
    if segment.end_time is not None:
        record["end_time"] = round(segment.end_time, 3)
    if segment.channel_id is not None:
        record["channel_id"] = segment.channel_id
    return {**record, "text": segment.text}


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# One document


def _document(text: str) -> dict[str, Any] | None:
    """The whole text as one document; None when it is lines."""
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except SettingsError:
        raise
    except (ValueError, RecursionError) as error:
        if _first_line_is_json(text):
            return None
        line = getattr(error, "lineno", None)
        place = "" if line is None else f" (line {line})"
        raise SettingsError(
            OPTION, f"is neither a JSON document nor JSON lines{place}; README shows the form"
        ) from None
    if not isinstance(found, dict):
        raise SettingsError(OPTION, "must be a JSON object with `sessions`, or JSON lines")
    return None if "schema" in found or "session_id" in found else found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(OPTION, f"{twice!r} is there twice in one object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON's")


def _first_line_is_json(text: str) -> bool:
    first = next((line for line in text.split("\n") if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _sessions(document: dict[str, Any]) -> Expected:
    _check_keys(document, _DOCUMENT_KEYS, "the document")
    sessions = document.get("sessions")
    if not isinstance(sessions, dict):
        raise SettingsError(
            OPTION, "has no `sessions`: an object with a list of segments for each session id"
        )
    return {session_id: _session(session_id, value) for session_id, value in sessions.items()}


def _session(session_id: str, value: object) -> ExpectedSession:
    if isinstance(value, str):
        return ExpectedSession(session_id, (Segment(value),) if value.strip() else (), as_one_text=True)
    if not isinstance(value, list):
        raise SettingsError(OPTION, f"session {session_id!r} must be a list of segments, or one text")
    segments = []
    for number, entry in enumerate(value, 1):
        place = f"session {session_id!r}, segment {number}"
        segments.append(_segment({"text": entry} if isinstance(entry, str) else entry, _SEGMENT_KEYS, place))
    return ExpectedSession(session_id, tuple(segment for segment in segments if segment.text.strip()))


# JSON lines


def _is_of_consume(text: str) -> bool:
    first = next(line for line in text.split("\n") if line.strip())
    return "schema" in json.loads(first)


def _sessions_of_lines(text: str) -> Expected:
    found: dict[str, list[Segment]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise SettingsError(OPTION, f"{place} is no JSON") from None
        segment = _segment(record, _LINE_KEYS, place)
        session_id = record.get("session_id")
        if not isinstance(session_id, str) or not session_id:
            raise SettingsError(OPTION, f"{place} has no `session_id`, a string")
        segments = found.setdefault(session_id, [])
        if segment.text.strip():
            segments.append(segment)
    return {name: ExpectedSession(name, tuple(segments)) for name, segments in found.items()}


# A segment


def _segment(record: object, keys: tuple[str, ...], place: str) -> Segment:
    if not isinstance(record, dict):
        raise SettingsError(OPTION, f"{place} must be an object with `text`")
    _check_keys(record, keys, place)
    text, channel = record.get("text"), record.get("channel_id")
    if not isinstance(text, str):
        raise SettingsError(OPTION, f"{place} has no `text`, a string")
    if channel is not None and not isinstance(channel, str):
        raise SettingsError(OPTION, f"{place}: `channel_id` must be a string, such as ch_0")
    start, end = _time(record, "start_time", place), _time(record, "end_time", place)
    if start is not None and end is not None and end < start:
        raise SettingsError(OPTION, f"{place} ends before it starts")
    return Segment(text, start, end, channel)


def _time(record: Mapping[str, Any], key: str, place: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SettingsError(OPTION, f"{place}: `{key}` must be a number of seconds from 0 on")
    return float(value)


def _check_keys(record: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in record:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise SettingsError(OPTION, f"{place} has {key[:40]!r}; {hint}")
