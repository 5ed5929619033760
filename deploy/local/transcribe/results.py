"""Segments of a recogniser as the service's events: result ids, transcript text, event-stream bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from connectors.transcribe.eventstream import encode_headers, frame
from connectors.transcribe.model import (
    ITEM_PRONUNCIATION,
    ITEM_PUNCTUATION,
    MedicalAlternative,
    MedicalItem,
    MedicalResult,
    MedicalTranscriptEvent,
)
from deploy.local.transcribe.recognisers import Segment, Word

_TRANSCRIPT_EVENT_HEADERS = encode_headers(
    {":event-type": "TranscriptEvent", ":content-type": "application/json", ":message-type": "event"}
)


def encode_transcript_event(results: Sequence[MedicalResult]) -> bytes:
    """A `TranscriptEvent` message; without results it is the service's sign of life."""
    return frame(_TRANSCRIPT_EVENT_HEADERS, MedicalTranscriptEvent(tuple(results)).to_payload())


EMPTY_TRANSCRIPT_EVENT = encode_transcript_event(())


def encode_exception(code: str, message: str) -> bytes:
    """The exception message with exactly the three headers the real service was recorded to send."""
    headers = {":exception-type": code, ":content-type": "application/json", ":message-type": "exception"}
    return frame(encode_headers(headers), encode_error_body(message))


def encode_error_body(message: str) -> bytes:
    """The JSON of an error, before or within a stream."""
    return json.dumps({"Message": message}, separators=(",", ":")).encode()


def to_result(segment: Segment, result_id: str, channel_id: str | None) -> MedicalResult:
    """The segment as the service writes it: one alternative, an item for each word."""
    items = tuple(_to_item(word) for word in segment.words)
    alternative = MedicalAlternative(join_words(segment.words), items)
    return MedicalResult(
        result_id=result_id,
        start_time=segment.start_seconds,
        end_time=segment.end_seconds,
        is_partial=segment.is_partial,
        alternatives=(alternative,),
        channel_id=channel_id,
    )


def _to_item(word: Word) -> MedicalItem:
    return MedicalItem(
        start_time=word.start_seconds,
        end_time=word.end_seconds,
        type=ITEM_PUNCTUATION if word.is_punctuation else ITEM_PRONUNCIATION,
        content=word.content,
        confidence=word.confidence,
    )


def join_words(words: Sequence[Word]) -> str:
    """The transcript of the items: words by one space, punctuation at the word before it."""
    parts: list[str] = []
    for word in words:
        if parts and not word.is_punctuation:
            parts.append(" ")
        parts.append(word.content)
    return "".join(parts)
