"""Outputs as records of their Avro schemas, and the headers that go with them on Kafka.

A final carries the CloudEvents attributes of the Kafka binding's binary mode
(https://github.com/cloudevents/spec, kafka-protocol-binding): `ce_id` is the segment's identity, the same
however often it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.transcribe.model import MedicalAlternative
from pipeline.elements import DeadLetter, FinalTranscript, PartialTranscript, SessionSummary

Headers = list[tuple[str, bytes]]
TopicPartition = tuple[str, int]

FINAL_TYPE = "medstream.FinalTranscript"
PARTIAL_TYPE = "medstream.PartialTranscript"
SESSION_ENDED_TYPE = "medstream.SessionEnded"
DEAD_LETTER_TYPE = "medstream.DeadLetter"
PASSED_HEADERS = ("traceparent", "tracestate")  # W3C Trace Context


def final_record(final: FinalTranscript) -> dict[str, Any]:
    """A record of the schema `final_transcript`."""
    return {
        "session_id": final.session_id,
        "result_id": final.result_id,
        "segment_index": final.segment_index,
        "channel_id": final.channel_id,
        "start_time": final.start_time,
        "end_time": final.end_time,
        "started_at": _micros(final.started_at_ms),
        "alternatives": [_alternative(a) for a in final.alternatives],
        "language_code": final.settings.language_code,
        "specialty": final.settings.specialty,
        "type": final.settings.type,
        "sample_rate_hertz": final.sample_rate_hertz,
        "source": final.source.to_record(),
        "stream_id": final.stream_id,
        "request_id": final.request_id,
        "content_identification_type": final.settings.content_identification_type,
        "phi_masked": final.phi_masked,
    }


def partial_record(partial: PartialTranscript) -> dict[str, Any]:
    """A record of the schema `partial_transcript`."""
    best = partial.alternatives[0] if partial.alternatives else None
    return {
        "session_id": partial.session_id,
        "result_id": partial.result_id,
        "channel_id": partial.channel_id,
        "start_time": partial.start_time,
        "end_time": partial.end_time,
        "transcript": best.transcript if best else "",
        "items": _alternative(best)["items"] if best else [],
        "stream_id": partial.stream_id,
        "superseded": partial.superseded,
    }


def session_ended_record(summary: SessionSummary, ended_at_ms: int) -> dict[str, Any]:
    """A record of the schema `session_ended`."""
    return {
        "session_id": summary.session_id,
        "reason": summary.reason,
        "segments": summary.segments,
        "chunks": summary.chunks,
        "audio_seconds": summary.audio_seconds,
        "gaps": [
            {"start_time": g.start_time, "end_time": g.end_time, "reason": g.reason} for g in summary.gaps
        ],
        "streams": summary.streams,
        "retries": summary.retries,
        "ended_at": _micros(ended_at_ms),
        "source": summary.source.to_record(),
    }


def dead_letter_record(letter: DeadLetter) -> dict[str, Any]:
    """A record of the schema `dead_letter`; key, value and headers are the original's, byte for byte."""
    record = letter.record
    return {
        "key": record.key,
        "value": record.value,
        "headers": [{"key": key, "value": value} for key, value in record.headers],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "stage": letter.stage,
        "error_class": letter.rejection.error_class,
        "message": letter.rejection.reason,
        "session_id": letter.session_id,
        "failed_at": _micros(letter.failed_at_ms),
    }


_STAGES = {
    "MISSING_KEY": "DECODE",
    "MISSING_VALUE": "DECODE",
    "NOT_AVRO": "DECODE",
    "UNKNOWN_SCHEMA": "DECODE",
    "MALFORMED_RECORD": "DECODE",
    "UNDECODABLE_AUDIO": "DECODE",
    "SESSION_REFUSED": "TRANSCRIBE",
    "RETRIES_EXHAUSTED": "TRANSCRIBE",
}


def stage_of(error_class: str) -> str:
    """The stage of the pipeline that found the error, for the dead letter."""
    return _STAGES.get(error_class, "VALIDATE")


def cloud_event_headers(
    event_id: str, event_type: str, position: TopicPartition, passed: Mapping[str, bytes]
) -> Headers:
    """CloudEvents attributes as Kafka headers, and the trace context of the audio at `position`."""
    topic, partition = position
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_type", event_type.encode()),
        ("ce_source", f"/kafka/{topic}/{partition}".encode()),
        ("content-type", b"avro/binary"),
        *((name, value) for name, value in passed.items()),
    ]


def _alternative(alternative: MedicalAlternative) -> dict[str, Any]:
    return {
        "transcript": alternative.transcript,
        "items": [
            {
                "content": item.content,
                "type": item.type,
                "start_time": item.start_time,
                "end_time": item.end_time,
                "confidence": item.confidence,
                "speaker": item.speaker,
                "vocabulary_filter_match": item.vocabulary_filter_match,
            }
            for item in alternative.items
        ],
        "entities": [
            {
                "category": entity.category,
                "content": entity.content,
                "start_time": entity.start_time,
                "end_time": entity.end_time,
                "confidence": entity.confidence,
            }
            for entity in alternative.entities
        ],
    }


def _micros(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds * 1000
