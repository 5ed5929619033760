"""Judging a chunk by its session: does it claim an audio format that its session or its neighbours
contradict?
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.elements import FORMAT_CHANGED, SAMPLE_RATE_MISMATCH, AudioChunk, AudioFormat
from pipeline.errors import ChunkRejected

# Producers stamp media_offset_ms with jitter, and good audio must never be refused for that. A rate that is
# off by a half or more (8,000 declared for 16,000) shows within a second or two all the same.
_TOLERANCE_MS = 250.0
_TOLERANCE_SHARE = 0.25


class _Heard(NamedTuple):
    """What is kept of a chunk: not its audio."""

    sequence: int
    media_offset_ms: int | None
    samples: int


class FormatJudge:
    """Checks the chunks of one session in order against the format it was opened with.

    Besides a changed rate or channel count, it finds a declared rate that cannot be true: at that rate the
    chunks that follow one another would last much longer than the time between them (`media_offset_ms`).
    """

    def __init__(self, session_format: AudioFormat) -> None:
        self._format = session_format
        self._first: _Heard | None = None  # of the run of chunks that follow one another
        self._last: _Heard | None = None
        self._samples = 0  # of the run, without its last chunk

    def check(self, chunk: AudioChunk) -> ChunkRejected | None:
        """Why `chunk` must not be transcribed with this session, or None."""
        rejection = self._check_format(chunk)
        if rejection is not None:
            return rejection
        self._extend_run(chunk)
        return self._check_duration(chunk)

    def _extend_run(self, chunk: AudioChunk) -> None:
        last, heard = self._last, _Heard(chunk.sequence, chunk.media_offset_ms, chunk.samples)
        if last is not None and chunk.sequence == last.sequence + 1 and last.media_offset_ms is not None:
            self._samples += last.samples
        else:
            self._first, self._samples = heard, 0
        self._last = heard

    def _check_format(self, chunk: AudioChunk) -> ChunkRejected | None:
        rate, session_rate = chunk.format.sample_rate_hertz, self._format.sample_rate_hertz
        if rate != session_rate and chunk.payload:
            return ChunkRejected(
                SAMPLE_RATE_MISMATCH,
                f"sample_rate_hertz {rate} of chunk {chunk.sequence} contradicts the {session_rate} its "
                "session was opened with; start a new session for another rate",
            )
        if chunk.format.channels != self._format.channels and chunk.payload:
            return ChunkRejected(
                FORMAT_CHANGED,
                f"channels {chunk.format.channels} of chunk {chunk.sequence} contradicts the "
                f"{self._format.channels} its session was opened with",
            )
        return None

    def _check_duration(self, chunk: AudioChunk) -> ChunkRejected | None:
        """Whether the audio of the run before `chunk` fits into the time that has passed meanwhile."""
        first = self._first
        if first is None or first.media_offset_ms is None or chunk.media_offset_ms is None:
            return None
        rate = self._format.sample_rate_hertz
        lasts_ms = 1000 * self._samples / rate
        elapsed_ms = chunk.media_offset_ms - first.media_offset_ms
        if lasts_ms - elapsed_ms <= _TOLERANCE_MS + _TOLERANCE_SHARE * max(0, elapsed_ms):
            return None
        return ChunkRejected(
            SAMPLE_RATE_MISMATCH,
            f"sample_rate_hertz {rate} cannot be true: chunks {first.sequence} to {chunk.sequence - 1} would "
            f"last {lasts_ms:.0f} ms, but chunk {chunk.sequence} begins {elapsed_ms} ms after the first of "
            "them (media_offset_ms)",
        )
