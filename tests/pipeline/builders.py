"""Small values for the tests of the pipeline: chunks, records, results and engines, all synthetic.

`SECRET_TEXT` and `SECRET_AUDIO` stand for a patient's words and voice: whatever shows them where it must not
is found by looking for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.kafka.records import CREATE_TIME, KafkaRecord
from connectors.transcribe.model import MedicalAlternative, MedicalItem, MedicalResult
from pipeline.elements import AudioChunk, AudioFormat, LogEntry, SessionSettings
from pipeline.engine.commands import Command, Observe, StreamOver
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.hearing import Hearing
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session, opening_cursor
from schemas.serde import SingleObjectSerde

RATE = 8000
FORMAT = AudioFormat(RATE)
STEREO = AudioFormat(RATE, 2)
CHUNK_SAMPLES = RATE // 10  # 100 ms
SECRET_TEXT = "SYNTHETIC-PATIENT-WORDS"
SECRET_AUDIO = b"SYNTHETIC-PATIENT-VOICE!"
LIMITS = SessionLimits()
BACKOFF_SECONDS = 2.0

_CHUNKS = SingleObjectSerde("audio_chunk")


def chunk(sequence: int, *, samples: int = CHUNK_SAMPLES, **changes: Any) -> AudioChunk:
    """100 ms of silence, unless told otherwise."""
    audio: AudioFormat = changes.pop("format", FORMAT)
    payload = changes.pop("payload", bytes(samples * audio.bytes_per_sample))
    return AudioChunk("session-1", sequence, payload, audio, **changes)


def entry(number: int, **changes: Any) -> LogEntry:
    """Chunk `number` of a session, at the offset of the same number."""
    return LogEntry(changes.pop("offset", number), chunk(number, **changes))


def entries(numbers: Iterable[int]) -> list[LogEntry]:
    return [entry(number) for number in numbers]


def chunk_record(sequence: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of the schema `audio_chunk`."""
    record: dict[str, Any] = {
        "session_id": "session-1",
        "sequence": sequence,
        "payload": bytes(2 * CHUNK_SAMPLES),
        "encoding": "PCM",
        "sample_rate_hertz": RATE,
    }
    return record | changes


def kafka_record(
    offset: int = 0,
    *,
    value: bytes | Mapping[str, Any] | None = b"",
    key: bytes | None = b"session-1",
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> KafkaRecord:
    """A record of the topic `audio`; a mapping as value is encoded as an `audio_chunk`."""
    encoded = _CHUNKS.encode(value) if isinstance(value, Mapping) else value
    return KafkaRecord("audio", 0, offset, 1_700_000_000_000, CREATE_TIME, key, encoded, tuple(headers))


def audio_record(number: int, **changes: Any) -> KafkaRecord:
    """Chunk `number` of session-1 as it lies in the topic, at the offset of the same number."""
    return kafka_record(number, value=chunk_record(number, **changes))


def word(content: str, start: float, end: float, kind: str = "pronunciation") -> MedicalItem:
    return MedicalItem(start_time=start, end_time=end, type=kind, content=content)


def result(
    result_id: str,
    *words: MedicalItem,
    partial: bool = False,
    start: float | None = None,
    end: float | None = None,
    channel_id: str | None = None,
) -> MedicalResult:
    """A segment of `words`; it spans them unless told otherwise."""
    return MedicalResult(
        result_id=result_id,
        start_time=words[0].start_time if start is None else start,
        end_time=words[-1].end_time if end is None else end,
        is_partial=partial,
        alternatives=(MedicalAlternative(" ".join(w.content for w in words), words),),
        channel_id=channel_id,
    )


def texts(results: Iterable[MedicalResult | None]) -> list[str]:
    """Every word of the results, in order."""
    return [item.content for r in results if r is not None for item in r.alternatives[0].items]


def heard_until(moment: float) -> Hearing:
    """Of a partition that had always been heard of until then."""
    return Hearing(moment, moment, -math.inf)


class UnboundedSession(Session):
    """A session whose shell has slots for everybody, and whose source is well unless told otherwise."""

    def receive_batch(self, entries: Iterable[LogEntry], now: float) -> list[Command]:
        granted = self.slot_granted(now) if self.needs_slot(now, arriving=True) else []
        return [*granted, *super().receive_batch(entries, now)]

    def handle_timer(self, now: float, *, source: Hearing | None = None) -> list[Command]:
        granted = self.slot_granted(now) if self.needs_slot(now) else []
        return [*granted, *super().handle_timer(now, source=source or heard_until(now))]


def engine(
    cursor: SessionCursor | None = None, *, limits: SessionLimits = LIMITS, now: float = 0.0
) -> Session:
    """A session engine with slots for everybody; without a cursor it opens with chunk 0 at offset 0. Every
    backoff is two seconds.
    """
    opening = cursor or opening_cursor(chunk(0), 0, 0, SessionSettings())
    return UnboundedSession(
        opening,
        session_id="session-1",
        topic="audio",
        limits=limits,
        backoff=lambda _failures: BACKOFF_SECONDS,
        now=now,
    )


def kinds(commands: Iterable[Command]) -> list[str]:
    """Names of the commands' classes, what is only counted or told left out."""
    return [type(command).__name__ for command in doings(commands)]


def doings(commands: Iterable[Command]) -> list[Command]:
    """The commands, what is only counted or told left out."""
    return [command for command in commands if not isinstance(command, Observe | StreamOver)]
