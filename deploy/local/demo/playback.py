"""What the demo plays: recordings cut into audio chunks, each with the moment it is due.

A chunk is due when its last sample would have been captured, as with a live microphone: the first 100 ms
chunk of a session leaves 100 ms after the session begins. Sessions begin a little apart, so that they do
not all speak in the same instant. Pure: the caller waits and sends (player.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local.recordings import Recording

CHUNK_MS = 100
STAGGER_SECONDS = 0.13
"""Audio time between the starts of two sessions."""

_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Session:
    """One session of the demo: a recording under a session id of its own."""

    session_id: str
    recording: Recording


@dataclass(frozen=True, slots=True)
class Chunk:
    """An AudioChunk record, when it is due and how much of the session it completes.

    `due_seconds` counts from the start of playback on the wall clock, `played_seconds` is audio time.
    """

    session_id: str
    due_seconds: float
    played_seconds: float
    record: dict[str, Any] = field(repr=False)

    @property
    def is_last(self) -> bool:
        return bool(self.record["end_of_session"])


def plan_sessions(recordings: Sequence[Recording], count: int, run_id: str) -> list[Session]:
    """`count` sessions, recordings taken in turn; ids are new for every run and every round."""
    sessions = []
    for number in range(count):
        recording = recordings[number % len(recordings)]
        round_number = number // len(recordings) + 1
        suffix = f"-{round_number}" if round_number > 1 else ""
        sessions.append(Session(f"{recording.name}-{run_id}{suffix}", recording))
    return sessions


def play_order(sessions: Sequence[Session], speed: float, started_at_us: int) -> Iterator[Chunk]:
    """All chunks of all sessions by due time; `speed` 2 plays twice as fast as real time.

    `started_at_us` is the wall-clock start of playback, in microseconds since 1970; the chunks' `captured_at`
    follows from it, on the clock of the audio as played.
    """
    if speed <= 0:
        raise ValueError(f"speed must be above 0, not {speed}")
    streams = [
        _session_chunks(session, number * STAGGER_SECONDS, speed, started_at_us)
        for number, session in enumerate(sessions)
    ]
    return heapq.merge(*streams, key=lambda chunk: chunk.due_seconds)


def total_seconds(sessions: Sequence[Session], speed: float) -> float:
    """How long playback takes on the wall clock."""
    starts = enumerate(session.recording.duration_seconds for session in sessions)
    return max((number * STAGGER_SECONDS + seconds for number, seconds in starts), default=0.0) / speed


def _session_chunks(
    session: Session, start_seconds: float, speed: float, started_at_us: int
) -> Iterator[Chunk]:
    recording = session.recording
    bytes_per_second = recording.sample_rate_hertz * _BYTES_PER_SAMPLE
    chunk_bytes = recording.sample_rate_hertz * CHUNK_MS // 1000 * _BYTES_PER_SAMPLE
    for sequence, offset in enumerate(range(0, len(recording.pcm), chunk_bytes)):
        payload = recording.pcm[offset : offset + chunk_bytes]
        first_seconds = offset / bytes_per_second
        played_seconds = (offset + len(payload)) / bytes_per_second
        record: dict[str, Any] = {
            "session_id": session.session_id,
            "sequence": sequence,
            "payload": payload,
            "encoding": "PCM",
            "sample_rate_hertz": recording.sample_rate_hertz,
            "captured_at": started_at_us + round((start_seconds + first_seconds) / speed * 1_000_000),
            "media_offset_ms": sequence * CHUNK_MS,
            "end_of_session": offset + chunk_bytes >= len(recording.pcm),
            "settings": {"specialty": recording.specialty, "type": recording.type} if sequence == 0 else None,
        }
        yield Chunk(session.session_id, (start_seconds + played_seconds) / speed, played_seconds, record)
