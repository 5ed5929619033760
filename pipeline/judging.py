"""Judging a chunk by its session: does it claim an audio format that its session or its neighbours
contradict?
"""

from __future__ import annotations

from pipeline.elements import FORMAT_CHANGED, SAMPLE_RATE_MISMATCH, AudioChunk, AudioFormat
from pipeline.errors import ChunkRejected

_OVERLAP_TOLERANCE_MS = 20  # producers round media_offset_ms, and timestamp whole packets


class FormatJudge:
    """Checks the chunks of one session in order against the format it was opened with.

    Besides a changed rate or channel count, it finds a declared rate that cannot be true: of two chunks that
    follow one another, the second begins (`media_offset_ms`) before the first is over at that rate.
    """

    def __init__(self, session_format: AudioFormat) -> None:
        self._format = session_format
        self._previous: AudioChunk | None = None

    def check(self, chunk: AudioChunk) -> ChunkRejected | None:
        """Why `chunk` must not be transcribed with this session, or None.

        A chunk that overlaps is compared with all the same, or of a session that lies throughout every
        second chunk would pass.
        """
        rejection = self._check_format(chunk)
        if rejection is None:
            rejection = self._check_overlap(chunk)
            self._previous = chunk
        return rejection

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

    def _check_overlap(self, chunk: AudioChunk) -> ChunkRejected | None:
        previous = self._previous
        if previous is None or chunk.sequence != previous.sequence + 1:
            return None
        if previous.media_offset_ms is None or chunk.media_offset_ms is None:
            return None
        rate = previous.format.sample_rate_hertz
        lasts_ms = 1000 * previous.samples / rate
        elapsed_ms = chunk.media_offset_ms - previous.media_offset_ms
        if lasts_ms <= elapsed_ms + max(_OVERLAP_TOLERANCE_MS, lasts_ms / 4):
            return None
        return ChunkRejected(
            SAMPLE_RATE_MISMATCH,
            f"sample_rate_hertz {rate} cannot be true: chunk {previous.sequence} of {len(previous.payload)} "
            f"bytes would last {lasts_ms:.0f} ms, but chunk {chunk.sequence} begins {elapsed_ms} ms after it "
            "(media_offset_ms)",
        )
