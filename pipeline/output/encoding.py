"""The engine's outputs as Kafka records: key, Avro value, headers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from connectors.kafka.records import KafkaRecord
from pipeline.elements import DeadLetter, PartialTranscript
from pipeline.errors import ChunkRejected
from pipeline.output.outputs import (
    DEAD_LETTER_TYPE,
    FINAL_TYPE,
    PARTIAL_TYPE,
    SESSION_ENDED_TYPE,
    Headers,
    TopicPartition,
    cloud_event_headers,
    dead_letter_record,
    partial_record,
)
from pipeline.settings import Topics
from schemas.serdes import SerdeSettings

OutputRecord = tuple[bytes, bytes, Headers]


_ANY_TOPICS = Topics(audio="", finals="", dead_letters="", partials="", sessions="", masked="")


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
        self._masked = serdes.writer("final_transcript", topics.masked or "")
        self._partial = serdes.writer("partial_transcript", topics.partials or "")
        self._ended = serdes.writer("session_ended", topics.sessions or "")
        self._dead_letter = serdes.writer("dead_letter", topics.dead_letters)
        self._dead_letter_reader = serdes.reader("dead_letter")

    def final(self, record: Mapping[str, Any], passed: Mapping[str, bytes]) -> OutputRecord:
        """A record of the schema `final_transcript`, with its key and headers.

        `passed`: trace headers of the audio, by name. One that is masked is for the masked topic.
        """
        session_id, source = record["session_id"], record["source"]
        event_id = f"{session_id}/{record['segment_index']}"
        headers = cloud_event_headers(event_id, FINAL_TYPE, (source["topic"], source["partition"]), passed)
        serde = self._masked if record.get("phi_masked") else self._final
        return session_id.encode(), serde.encode(record), headers

    def session_ended(self, record: Mapping[str, Any], passed: Mapping[str, bytes]) -> OutputRecord:
        """A record of the schema `session_ended`, with its key and headers."""
        session_id, source = record["session_id"], record["source"]
        position = source["topic"], source["partition"]
        headers = cloud_event_headers(f"{session_id}/ended", SESSION_ENDED_TYPE, position, passed)
        return session_id.encode(), self._ended.encode(record), headers

    def partial(self, partial: PartialTranscript, position: TopicPartition) -> OutputRecord:
        event_id = f"{partial.session_id}/{partial.result_id}/{partial.end_time}"
        if partial.superseded:  # it repeats the times of what it withdraws
            event_id += "/superseded"
        headers = cloud_event_headers(event_id, PARTIAL_TYPE, position, {})
        return partial.session_id.encode(), self._partial.encode(partial_record(partial)), headers

    def dead_letter(
        self, record: KafkaRecord, stage: str, rejection: ChunkRejected, session_id: str | None
    ) -> OutputRecord:
        letter = DeadLetter(record, stage, rejection, session_id, failed_at_ms=now_ms())
        event_id = f"{record.topic}/{record.partition}/{record.offset}"
        headers = cloud_event_headers(event_id, DEAD_LETTER_TYPE, (record.topic, record.partition), {})
        return record.key or b"", self._dead_letter.encode(dead_letter_record(letter)), headers

    def shortened(self, letter: bytes) -> bytes:
        """A dead letter without its record's value and headers, for a topic that takes no larger one.

        Where the record lies, it still says.
        """
        record = self._dead_letter_reader.decode(letter)
        size_bytes = len(record["value"] or b"")
        note = f"{record['message']} (its value of {size_bytes} bytes, too large for this topic, is left out)"
        return self._dead_letter.encode({**record, "value": None, "headers": [], "message": note})


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
