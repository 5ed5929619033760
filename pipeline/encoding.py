"""The engine's outputs as Kafka records: key, Avro value, headers."""

from __future__ import annotations

import time
from collections.abc import Mapping

from connectors.kafka.records import KafkaRecord
from pipeline.elements import DeadLetter, FinalTranscript, PartialTranscript, SessionSummary
from pipeline.errors import ChunkRejected
from pipeline.outputs import (
    DEAD_LETTER_TYPE,
    FINAL_TYPE,
    PARTIAL_TYPE,
    SESSION_ENDED_TYPE,
    Headers,
    TopicPartition,
    cloud_event_headers,
    dead_letter_record,
    final_record,
    partial_record,
    session_ended_record,
)
from pipeline.settings import Topics
from schemas.serdes import SerdeSettings

OutputRecord = tuple[bytes, bytes, Headers]


_ANY_TOPICS = Topics(audio="", finals="", dead_letters="", partials="", sessions="")


class OutputEncoder:
    """Encodes the outputs of sessions; holds one serde per schema.

    `topics` name the subjects of a registry, so they are needed where `serdes` has one. A registry is first
    asked when the first record of a kind is encoded; its errors (schemas.errors.RegistryError) come from
    there.
    """

    def __init__(self, topics: Topics | None = None, serdes: SerdeSettings | None = None) -> None:
        serdes = serdes or SerdeSettings()
        if topics is None and serdes.registry is not None:
            raise ValueError("a registry's subjects are named after topics, and there are none")
        topics = topics or _ANY_TOPICS
        self._final = serdes.writer("final_transcript", topics.finals)
        self._partial = serdes.writer("partial_transcript", topics.partials or "")
        self._ended = serdes.writer("session_ended", topics.sessions or "")
        self._dead_letter = serdes.writer("dead_letter", topics.dead_letters)

    def final(self, final: FinalTranscript, passed: Mapping[str, bytes]) -> OutputRecord:
        """`passed`: trace headers of the audio, by name."""
        headers = cloud_event_headers(final.id, FINAL_TYPE, final.source.position, passed)
        return final.session_id.encode(), self._final.encode(final_record(final)), headers

    def partial(self, partial: PartialTranscript, position: TopicPartition) -> OutputRecord:
        event_id = f"{partial.session_id}/{partial.result_id}/{partial.end_time}"
        if partial.superseded:  # it repeats the times of what it withdraws
            event_id += "/superseded"
        headers = cloud_event_headers(event_id, PARTIAL_TYPE, position, {})
        return partial.session_id.encode(), self._partial.encode(partial_record(partial)), headers

    def session_ended(self, summary: SessionSummary, passed: Mapping[str, bytes]) -> OutputRecord:
        event_id = f"{summary.session_id}/ended"
        headers = cloud_event_headers(event_id, SESSION_ENDED_TYPE, summary.source.position, passed)
        value = self._ended.encode(session_ended_record(summary, ended_at_ms=_now_ms()))
        return summary.session_id.encode(), value, headers

    def dead_letter(
        self, record: KafkaRecord, stage: str, rejection: ChunkRejected, session_id: str | None
    ) -> OutputRecord:
        letter = DeadLetter(record, stage, rejection, session_id, failed_at_ms=_now_ms())
        event_id = f"{record.topic}/{record.partition}/{record.offset}"
        headers = cloud_event_headers(event_id, DEAD_LETTER_TYPE, (record.topic, record.partition), {})
        return record.key or b"", self._dead_letter.encode(dead_letter_record(letter)), headers


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
