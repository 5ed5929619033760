"""What is in a recording, by session: counts, sizes, rates, gaps, audio. Pure.

A session is what has one key. Where its records are AudioChunks (in Avro single-object encoding, or raw),
their audio is counted too; of other records only what Kafka says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from connectors.kafka.records import KafkaRecord
from pipeline.audio.decoding import ChunkDecoder
from pipeline.elements import AudioChunk
from pipeline.errors import ChunkRejected
from pipeline.recordings.record_selection import session_name


@dataclass(slots=True)
class SessionReport:
    """One session. Times in milliseconds since 1970; `longest_pause_ms`: between two of its records."""

    session: str
    records: int = 0
    value_bytes: int = 0
    partitions: set[int] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    longest_pause_ms: int = 0
    chunks: int = 0
    audio_seconds: float = 0.0
    missing_chunks: int = 0
    """Numbers that no chunk had by the time a later one came."""
    repeated_or_late_chunks: int = 0
    complete: bool = False
    """Whether a chunk said end_of_session."""
    sample_rate_hertz: int | None = None
    channels: int | None = None
    newest_sequence: int = -1

    def add(self, record: KafkaRecord, chunk: AudioChunk | None) -> None:
        self.records += 1
        self.value_bytes += len(record.value or b"")
        self.partitions.add(record.partition)
        if record.timestamp_ms >= 0:
            if self.last_ms is not None:
                self.longest_pause_ms = max(self.longest_pause_ms, record.timestamp_ms - self.last_ms)
            self.first_ms = record.timestamp_ms if self.first_ms is None else self.first_ms
            self.last_ms = max(record.timestamp_ms, self.last_ms or 0)
        if chunk is not None:
            self._add_chunk(chunk)

    def _add_chunk(self, chunk: AudioChunk) -> None:
        self.chunks += 1
        self.complete = self.complete or chunk.end_of_session
        if chunk.sequence <= self.newest_sequence:
            self.repeated_or_late_chunks += 1
            return
        self.missing_chunks += chunk.sequence - self.newest_sequence - 1
        self.newest_sequence = chunk.sequence
        self.audio_seconds += chunk.format.seconds(chunk.samples)
        self.sample_rate_hertz, self.channels = chunk.format.sample_rate_hertz, chunk.format.channels

    @property
    def seconds(self) -> float:
        """From its first record to its last."""
        return 0.0 if self.first_ms is None or self.last_ms is None else (self.last_ms - self.first_ms) / 1000

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["newest_sequence"]
        rate = self.records / self.seconds if self.seconds else None
        return {
            **fields,
            "partitions": sorted(self.partitions),
            "audio_seconds": round(self.audio_seconds, 3),
            "seconds": round(self.seconds, 3),
            "records_per_second": None if rate is None else round(rate, 2),
        }


class RecordingReport:
    """Takes every record of a recording; `sessions` by name, in the order of their first record."""

    def __init__(self, decode: Callable[[KafkaRecord], AudioChunk] | None = None) -> None:
        self._decode = decode or ChunkDecoder().decode
        self.sessions: dict[bytes | None, SessionReport] = {}
        self.records = 0
        self.value_bytes = 0
        self.other_records = 0
        """Records that are no AudioChunk that this reader can decode."""
        self.topics: set[str] = set()
        self.partitions: dict[tuple[str, int], tuple[int, int]] = {}
        """First and last offset of each partition."""
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def add(self, record: KafkaRecord) -> None:
        self.records += 1
        self.value_bytes += len(record.value or b"")
        place = record.topic, record.partition
        first, last = self.partitions.get(place, (record.offset, record.offset))
        self.partitions[place] = min(first, record.offset), max(last, record.offset)
        if record.timestamp_ms >= 0:
            self._first_ms = (
                record.timestamp_ms if self._first_ms is None else min(self._first_ms, record.timestamp_ms)
            )
            self._last_ms = max(record.timestamp_ms, self._last_ms or 0)
        chunk = self._chunk(record)
        self.other_records += chunk is None
        if record.key not in self.sessions:
            self.sessions[record.key] = SessionReport(session_name(record.key))
        self.sessions[record.key].add(record, chunk)

    @property
    def seconds(self) -> float:
        """From the earliest record to the latest."""
        return (
            0.0
            if self._first_ms is None or self._last_ms is None
            else (self._last_ms - self._first_ms) / 1000
        )

    def to_json(self) -> dict[str, Any]:
        offsets = [
            {"topic": topic, "partition": partition, "first_offset": first, "last_offset": last}
            for (topic, partition), (first, last) in sorted(self.partitions.items())
        ]
        return {
            "records": self.records,
            "value_bytes": self.value_bytes,
            "first_ms": self._first_ms,
            "last_ms": self._last_ms,
            "seconds": round(self.seconds, 3),
            "records_that_are_no_audio": self.other_records,
            "partitions": offsets,
            "sessions": [session.to_json() for session in self.sessions.values()],
        }

    def _chunk(self, record: KafkaRecord) -> AudioChunk | None:
        try:
            return self._decode(record)
        except ChunkRejected:
            return None
