"""The values that travel through the pipeline: audio chunks in, transcripts out.

An `AudioChunk` is one decoded record of the input topic, checked as far as it can be judged alone. The
outputs (`FinalTranscript`, `PartialTranscript`, `SessionEnded`, `DeadLetter`) know how to become a record of
their Avro schema. Audio and text are kept out of every `repr`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.kafka.records import KafkaRecord
from connectors.transcribe.model import MedicalAlternative
from pipeline.errors import ChunkRejected

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

PCM_BYTES_PER_SAMPLE = 2
SAMPLE_RATE_RANGE_HERTZ = (8000, 48000)  # MediaSampleRateHertz of the service model
SUPPORTED_CHANNELS = (1, 2)  # NumberOfChannels: mono, or two with channel identification

# Error classes of dead letters: stable names that people count, filter and retry by.
MISSING_KEY = "MISSING_KEY"
MISSING_VALUE = "MISSING_VALUE"
KEY_MISMATCH = "KEY_MISMATCH"
NOT_AVRO = "NOT_AVRO"
UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
MALFORMED_RECORD = "MALFORMED_RECORD"
UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING"
UNDECODABLE_AUDIO = "UNDECODABLE_AUDIO"
INVALID_CHUNK = "INVALID_CHUNK"
SAMPLE_RATE_MISMATCH = "SAMPLE_RATE_MISMATCH"
FORMAT_CHANGED = "FORMAT_CHANGED"
LATE_CHUNK = "LATE_CHUNK"
SEQUENCE_REUSED = "SEQUENCE_REUSED"
AFTER_END_OF_SESSION = "AFTER_END_OF_SESSION"
SESSION_REFUSED = "SESSION_REFUSED"
RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"

# Reasons of gaps, as in the schema `session_ended`.
MISSING_SEQUENCE = "MISSING_SEQUENCE"
LOST_OFFSETS = "LOST_OFFSETS"
UNDECODABLE = "UNDECODABLE"
SEQUENCE_RESTARTED = "SEQUENCE_RESTARTED"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Parameters of StartMedicalStreamTranscription that a session may choose (API reference, same names)."""

    language_code: str = "en-US"
    specialty: str = "PRIMARYCARE"
    type: str = "CONVERSATION"
    vocabulary_name: str | None = None
    show_speaker_label: bool = False
    enable_channel_identification: bool = False
    content_identification_type: str | None = None

    def overridden(self, record: Mapping[str, Any] | None) -> SessionSettings:
        """These settings with every value that `record` (the chunk's `settings`) does set."""
        chosen = {f.name: (record or {}).get(f.name) for f in fields(self)}
        return replace(self, **{name: value for name, value in chosen.items() if value is not None})


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What makes two chunks continuations of one another: interleaved PCM s16le of this rate and width."""

    sample_rate_hertz: int
    channels: int = 1

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one sample of every channel (a frame of interleaved PCM)."""
        return PCM_BYTES_PER_SAMPLE * self.channels

    def samples(self, byte_count: int) -> int:
        return byte_count // self.bytes_per_sample

    def seconds(self, samples: int) -> float:
        return samples / self.sample_rate_hertz


AudioDecoder = Callable[[bytes, str, AudioFormat], bytes]
"""From a record's payload, encoding and declared format to PCM s16le; raises ChunkRejected."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """One record of the input topic: `payload` is PCM s16le, interleaved when there are two channels.

    Whatever encoding the record had, it was decoded before (`audio_decoding`).
    """

    session_id: str
    sequence: int
    payload: bytes = field(repr=False)
    format: AudioFormat
    media_offset_ms: int | None = None
    captured_at_ms: int | None = None
    end_of_session: bool = False
    settings: Mapping[str, Any] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    written_at_ms: int | None = None

    @property
    def samples(self) -> int:
        return self.format.samples(len(self.payload))

    @property
    def ended_at_ms(self) -> int | None:
        """When its last sample was spoken: as its producer says, else when it was written to the log, which
        is a little later. Unix time; None where neither is known.
        """
        if self.captured_at_ms is None:
            return self.written_at_ms
        return self.captured_at_ms + self.samples * 1000 // self.format.sample_rate_hertz

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], decode: AudioDecoder, written_at_ms: int | None = None
    ) -> AudioChunk:
        """The chunk in a decoded `audio_chunk` record; raises ChunkRejected when it cannot be audio.

        `decode` turns the record's payload into PCM of the format that the record declares. `written_at_ms`
        is the record's timestamp, if it has one.
        """
        audio = _declared_format(record)
        captured_at = record.get("captured_at")
        chunk = cls(
            session_id=record["session_id"],
            sequence=record["sequence"],
            payload=decode(record["payload"], record.get("encoding", "PCM"), audio),
            format=audio,
            media_offset_ms=record.get("media_offset_ms"),
            captured_at_ms=None if captured_at is None else (captured_at - _EPOCH) // _MILLISECOND,
            end_of_session=record.get("end_of_session", False),
            settings=record.get("settings"),
            attributes=record.get("attributes") or {},
            written_at_ms=written_at_ms,
        )
        _check_chunk(chunk)
        return chunk


def _declared_format(record: Mapping[str, Any]) -> AudioFormat:
    audio = AudioFormat(record["sample_rate_hertz"], record.get("channels", 1))
    low, high = SAMPLE_RATE_RANGE_HERTZ
    if not low <= audio.sample_rate_hertz <= high:
        raise ChunkRejected(
            INVALID_CHUNK, f"sample_rate_hertz {audio.sample_rate_hertz} is outside {low}..{high}"
        )
    if audio.channels not in SUPPORTED_CHANNELS:
        raise ChunkRejected(INVALID_CHUNK, f"channels {audio.channels} is not 1 or 2")
    return audio


def _check_chunk(chunk: AudioChunk) -> None:
    if chunk.sequence < 0:
        raise ChunkRejected(INVALID_CHUNK, f"sequence {chunk.sequence} is negative")
    if len(chunk.payload) % chunk.format.bytes_per_sample:
        raise ChunkRejected(
            INVALID_CHUNK,
            f"payload of {len(chunk.payload)} bytes is not a whole number of "
            f"{chunk.format.bytes_per_sample}-byte PCM samples ({chunk.format.channels} channel(s))",
        )
    if not chunk.payload and not chunk.end_of_session:
        raise ChunkRejected(INVALID_CHUNK, "payload is empty and end_of_session is not set")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of a session as the engine sees it: its offset, and the chunk or why it is none."""

    offset: int
    chunk: AudioChunk | None
    rejection: ChunkRejected | None = None


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Where in the input topic the audio of a result lies; offsets inclusive."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int

    @property
    def position(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    def to_record(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "partition": self.partition,
            "first_offset": self.first_offset,
            "last_offset": self.last_offset,
        }


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """One finished segment; times in seconds on the session's own timeline."""

    session_id: str
    result_id: str
    segment_index: int
    channel_id: str | None
    start_time: float
    end_time: float
    alternatives: tuple[MedicalAlternative, ...] = field(repr=False)
    settings: SessionSettings
    sample_rate_hertz: int
    source: SourceRange
    stream_id: str
    request_id: str | None = None
    started_at_ms: int | None = None
    phi_masked: bool = False
    spoken_at_ms: int | None = None
    """When its last word was spoken, Unix time (`AudioChunk.ended_at_ms`); for metrics, not published."""

    @property
    def id(self) -> str:
        """Identity for idempotent consumers: the same segment has the same id whenever it is sent again."""
        return f"{self.session_id}/{self.segment_index}"

    @property
    def text(self) -> str:
        """What was said, in the best reading; empty if there is none."""
        return self.alternatives[0].transcript if self.alternatives else ""


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """What a segment looks like so far; each one replaces the one before it with the same result id.

    `superseded`: the stream died before this segment was final, so forget what was shown of it.
    """

    session_id: str
    result_id: str
    channel_id: str | None
    start_time: float
    end_time: float
    alternatives: tuple[MedicalAlternative, ...] = field(repr=False)
    stream_id: str
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Audio that never reached the service: seconds on the session's timeline, and why."""

    start_time: float
    end_time: float
    reason: str


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """How a session went, for its SessionEnded record."""

    session_id: str
    reason: str
    segments: int
    chunks: int
    audio_seconds: float
    gaps: Sequence[Gap]
    streams: int
    retries: int
    source: SourceRange


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An input record that cannot be used, with its original bytes, position, and the reason."""

    record: KafkaRecord
    stage: str
    rejection: ChunkRejected
    session_id: str | None
    failed_at_ms: int
