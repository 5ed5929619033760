"""The JSON lines of `medstream consume` and `medstream transcribe` as finals and ends again. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import schemas
from pipeline.elements import FinalTranscript
from pipeline.errors import PipelineError
from pipeline.output.output_values import SessionEnded, final_of, session_ended_of
from schemas.errors import SchemaError
from schemas.serde import SingleObjectSerde


class UnreadableLine(PipelineError):
    """A line that is no record; the message has its number and never its text."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")
        self.number = number
        self.problem = problem


def read_lines(lines: Iterable[str]) -> Iterator[FinalTranscript | SessionEnded]:
    """What the lines hold, in their order; partials are passed over. Raises UnreadableLine."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parsed(number, line)
        if record.get("masked"):
            raise UnreadableLine(number, "its words are masked; write the file with `consume --show-text`")
        match record.get("schema"):
            case "final_transcript":
                yield final_of(_checked(number, record, "final_transcript"))
            case "session_ended":
                yield session_ended_of(_checked(number, record, "session_ended"))
            case "partial_transcript":
                continue
            case other:
                raise UnreadableLine(number, f"{str(other)[:40]!r} is no record that can be exported")


def _checked(number: int, record: dict[str, Any], schema: str) -> dict[str, Any]:
    """The record as its schema has it: fields of a newer version left out, defaults put in."""
    serde, known = _serde(schema)
    try:
        return serde.decode(serde.encode({name: value for name, value in record.items() if name in known}))
    except SchemaError as error:
        raise UnreadableLine(number, str(error)) from None


@cache
def _serde(schema: str) -> tuple[SingleObjectSerde, frozenset[str]]:
    return SingleObjectSerde(schema), frozenset(field["name"] for field in schemas.load(schema)["fields"])


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON's")


def _parsed(number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UnreadableLine(number, "it is no JSON object; `medstream consume --json` writes such lines")
    return record
