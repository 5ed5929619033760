"""The session's own timeline: which record of the log carries which samples.

Positions are samples per channel since the first chunk of the session. The timeline remembers a span for
every chunk that was handed to the service and is not yet covered by a final; that is all it takes to resume
from Kafka at the right record, and to name the records behind a result.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """One chunk on the timeline: samples `[start_sample, end_sample)` are the payload of the record at
    `offset`.
    """

    offset: int
    sequence: int
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log and on the timeline: the record at `offset` (or the next of the session after it)
    is expected to have `sequence` and to begin at `start_sample`."""

    offset: int
    sequence: int
    start_sample: int


class Timeline:
    """Spans of the audio not yet covered, and the position of the chunk that comes next."""

    def __init__(self, start: Position) -> None:
        self._spans: deque[ChunkSpan] = deque()
        self.next = start

    def append(self, offset: int, sequence: int, samples: int) -> ChunkSpan:
        """Put the chunk at `offset` behind everything so far; returns its span."""
        start = self.next.start_sample
        span = ChunkSpan(offset, sequence, start, start + samples)
        if samples:
            self._spans.append(span)
        self.next = Position(offset + 1, sequence + 1, span.end_sample)
        return span

    def skip(self, offset: int) -> None:
        """Pass over a record that carries no audio of the session (rejected, or a duplicate)."""
        if offset >= self.next.offset:
            self.next = Position(offset + 1, self.next.sequence, self.next.start_sample)

    def cover(self, sample: int) -> None:
        """Forget the spans that end at or before `sample`: a final speaks for them."""
        while self._spans and self._spans[0].end_sample <= sample:
            self._spans.popleft()

    def cover_all(self) -> None:
        """Forget every span: the service has answered all there was."""
        self._spans.clear()

    @property
    def resume(self) -> Position:
        """Where to read again if everything uncovered had to be sent once more."""
        if not self._spans:
            return self.next
        first = self._spans[0]
        return Position(first.offset, first.sequence, first.start_sample)

    def rewind(self) -> int:
        """Go back to `resume`: the uncovered chunks, whose number is returned, will be read again from the
        log.
        """
        uncovered = len(self._spans)
        self.next = self.resume
        self._spans.clear()
        return uncovered

    @property
    def uncovered_chunks(self) -> int:
        return len(self._spans)

    def offsets(self, start_sample: int, end_sample: int) -> tuple[int, int]:
        """First and last offset of the records whose samples meet `[start_sample, end_sample)`.

        A range that is not (or no longer) on the timeline answers with its nearest neighbour.
        """
        meeting = [
            s.offset for s in self._spans if s.end_sample > start_sample and s.start_sample < end_sample
        ]
        if meeting:
            return meeting[0], meeting[-1]
        nearest = self._spans[0].offset if self._spans else max(0, self.next.offset - 1)
        return nearest, nearest
