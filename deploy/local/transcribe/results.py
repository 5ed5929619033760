"""Segments of a recogniser as the service's events: result ids, transcript text, event-stream bytes.

What the service says only in finals is added here, whatever the recogniser: confidence (on words, never on
punctuation) and, if the stream asked for them, speaker labels with `speaker-change` items and PHI entities
(developer guide of Transcribe Medical: streaming, speaker partitioning, PHI identification).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from connectors.transcribe.events import encode_transcript_event
from connectors.transcribe.model import (
    ITEM_PRONUNCIATION,
    ITEM_PUNCTUATION,
    ITEM_SPEAKER_CHANGE,
    MedicalAlternative,
    MedicalItem,
    MedicalResult,
)
from deploy.local.transcribe.phi import find_phi
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.speakers import label_speakers

EMPTY_TRANSCRIPT_EVENT = encode_transcript_event()
"""The service's sign of life."""


def encode_error_body(message: str) -> bytes:
    """The JSON of an error before a stream."""
    return json.dumps({"Message": message}, separators=(",", ":")).encode()


def to_result(
    segment: Segment,
    result_id: str,
    channel_id: str | None,
    *,
    show_speaker_label: bool = False,
    identify_phi: bool = False,
) -> MedicalResult:
    """The segment as the service writes it: one alternative, an item for each word."""
    words = segment.words
    final = not segment.is_partial
    labelled = label_speakers(words, segment.index) if final and show_speaker_label else ()
    alternative = MedicalAlternative(
        transcript=join_words(words),
        items=tuple(_labelled_items(labelled) if labelled else (_to_item(word, final) for word in words)),
        entities=find_phi(words) if final and identify_phi else (),
    )
    return MedicalResult(
        result_id=result_id,
        start_time=segment.start_seconds,
        end_time=segment.end_seconds,
        is_partial=segment.is_partial,
        alternatives=(alternative,),
        channel_id=channel_id,
    )


def _labelled_items(words: Sequence[Word]) -> Iterator[MedicalItem]:
    """The items of a final with their speakers; where one takes over from another, an item says so."""
    speaking = next((word.speaker for word in words if word.speaker is not None), None)
    for word in words:
        if word.speaker is not None and word.speaker != speaking:
            speaking = word.speaker
            yield MedicalItem(word.start_seconds, word.start_seconds, ITEM_SPEAKER_CHANGE, "")
        yield replace(_to_item(word, is_final=True), speaker=word.speaker)


def _to_item(word: Word, is_final: bool) -> MedicalItem:
    return MedicalItem(
        start_time=word.start_seconds,
        end_time=word.end_seconds,
        type=ITEM_PUNCTUATION if word.is_punctuation else ITEM_PRONUNCIATION,
        content=word.content,
        confidence=word.confidence if is_final and not word.is_punctuation else None,
    )


def join_words(words: Sequence[Word]) -> str:
    """The transcript of the items: words by one space, punctuation at the word before it."""
    parts: list[str] = []
    for word in words:
        if parts and not word.is_punctuation:
            parts.append(" ")
        parts.append(word.content)
    return "".join(parts)
