"""Records of the output topics as values again: the way back from `outputs`. Pure.

Each function takes a record as a serde decodes it, or as one of the JSON lines that `medstream consume` and
`medstream transcribe` print: their moments are integers, microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.kafka.records import CREATE_TIME, KafkaRecord
from connectors.transcribe.model import MedicalAlternative, MedicalEntity, MedicalItem
from pipeline.elements import (
    DeadLetter,
    FinalTranscript,
    Gap,
    PartialTranscript,
    SessionSettings,
    SessionSummary,
    SourceRange,
)
from pipeline.errors import ChunkRejected

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The end of a session: how it went, and when it was over, in milliseconds since 1970."""

    summary: SessionSummary
    ended_at_ms: int

    @property
    def session_id(self) -> str:
        return self.summary.session_id


def final_of(record: Mapping[str, Any]) -> FinalTranscript:
    """The final in a record of `final_transcript`."""
    started_at = record.get("started_at")
    return FinalTranscript(
        session_id=record["session_id"],
        result_id=record["result_id"],
        segment_index=record["segment_index"],
        channel_id=record.get("channel_id"),
        start_time=record["start_time"],
        end_time=record["end_time"],
        alternatives=tuple(_alternative(reading) for reading in record["alternatives"]),
        settings=SessionSettings(
            record["language_code"],
            record["specialty"],
            record["type"],
            content_identification_type=record.get("content_identification_type"),
        ),
        sample_rate_hertz=record["sample_rate_hertz"],
        source=SourceRange(**record["source"]),
        stream_id=record["stream_id"],
        request_id=record.get("request_id"),
        started_at_ms=None if started_at is None else _milliseconds(started_at),
        phi_masked=record.get("phi_masked", False),
    )


def partial_of(record: Mapping[str, Any]) -> PartialTranscript:
    """The partial in a record of `partial_transcript`."""
    heard = MedicalAlternative(record["transcript"], tuple(MedicalItem(**item) for item in record["items"]))
    return PartialTranscript(
        session_id=record["session_id"],
        result_id=record["result_id"],
        channel_id=record.get("channel_id"),
        start_time=record["start_time"],
        end_time=record["end_time"],
        alternatives=(heard,),
        stream_id=record["stream_id"],
        superseded=record["superseded"],
    )


def session_ended_of(record: Mapping[str, Any]) -> SessionEnded:
    """The end in a record of `session_ended`."""
    summary = SessionSummary(
        session_id=record["session_id"],
        reason=record["reason"],
        segments=record["segments"],
        chunks=record["chunks"],
        audio_seconds=record["audio_seconds"],
        gaps=tuple(Gap(**gap) for gap in record.get("gaps", ())),
        streams=record["streams"],
        retries=record.get("retries", 0),
        source=SourceRange(**record["source"]),
    )
    return SessionEnded(summary, _milliseconds(record["ended_at"]))


def dead_letter_of(record: Mapping[str, Any]) -> DeadLetter:
    """The dead letter in a record of `dead_letter`, with the original record's bytes as they came."""
    original = KafkaRecord(
        record["topic"],
        record["partition"],
        record["offset"],
        record["timestamp_ms"],
        CREATE_TIME,
        record.get("key"),
        record.get("value"),
        tuple((header["key"], header["value"]) for header in record.get("headers", ())),
    )
    return DeadLetter(
        original,
        record["stage"],
        ChunkRejected(record["error_class"], record["message"]),
        record.get("session_id"),
        _milliseconds(record["failed_at"]),
    )


def _alternative(record: Mapping[str, Any]) -> MedicalAlternative:
    return MedicalAlternative(
        record["transcript"],
        tuple(MedicalItem(**item) for item in record["items"]),
        tuple(MedicalEntity(**entity) for entity in record.get("entities", ())),
    )


def _milliseconds(moment: datetime | int) -> int:
    if isinstance(moment, datetime):
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    return moment // 1000
