"""The session's own timeline: which record of the log carries which samples.

Positions are samples per channel since the first chunk of the session. The timeline remembers a span for
every chunk and every gap that no final covers yet; that is all it takes to resume from Kafka at the right
record, and to name the records behind a result.

Chunks stand on it in the order of their sequence, which need not be that of the log: `ahead` holds the
offsets of records that finals cover although a record before them is still needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log and on the timeline.

    The record at `offset` (or the next of the session after it) is the first to be looked at; the chunk with
    `sequence` is expected next and begins at `start_sample`. `media_offset_ms`: what its producer should give
    as its media_offset_ms, when that is known. `epoch`: how often the producer's sequence has begun again.
    """

    offset: int
    sequence: int
    start_sample: int
    media_offset_ms: int | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Samples `[start_sample, end_sample)`: the audio of the record at `offset`, or a gap before that record.

    `sequence`, `media_offset_ms` and `epoch` are what was expected at its start. `gap`: why audio is missing;
    empty for a chunk. `last`: the chunk ends the session. `ended_at_ms`: when its end was spoken (Unix time).
    """

    offset: int
    sequence: int
    start_sample: int
    end_sample: int
    media_offset_ms: int | None = None
    epoch: int = 0
    gap: str = ""
    last: bool = False
    ended_at_ms: int | None = None


class Timeline:
    """Spans of the audio not yet covered, and the position of the chunk that comes next."""

    def __init__(self, start: Position, ahead: Iterable[int] = ()) -> None:
        self.next = start
        self.ahead = set(ahead)
        self._spans: deque[Span] = deque()
        self._covered_sample = 0

    def append(
        self,
        offset: int,
        sequence: int,
        samples: int,
        *,
        media_offset_ms: int | None = None,
        media_end_ms: int | None = None,
        last: bool = False,
        ended_at_ms: int | None = None,
    ) -> Span:
        """Put the chunk at `offset` behind everything so far; returns its span.

        `media_offset_ms` is what it gives, `media_end_ms` what the next one should give; `ended_at_ms`: when
        its last sample was spoken. Nothing may be missing before it (`append_gap` first).
        """
        here = self.next
        start, end = here.start_sample, here.start_sample + samples
        if media_offset_ms is None:
            media_offset_ms = here.media_offset_ms
        span = Span(offset, sequence, start, end, media_offset_ms, here.epoch, "", last, ended_at_ms)
        self._spans.append(span)
        self.next = Position(max(here.offset, offset + 1), sequence + 1, end, media_end_ms, here.epoch)
        return span

    def append_gap(self, offset: int, until_sequence: int, samples: int, reason: str) -> Span:
        """Let `samples` be missing before the chunk `until_sequence`, which is the record at `offset`."""
        here = self.next
        end = here.start_sample + samples
        span = Span(
            offset, here.sequence, here.start_sample, end, here.media_offset_ms, here.epoch, gap=reason
        )
        self._spans.append(span)
        self.next = replace(here, sequence=until_sequence, start_sample=end)
        return span

    def expect(self, **changes: object) -> None:
        """Change what is expected of the next chunk."""
        self.next = replace(self.next, **changes)  # type: ignore[arg-type]

    def skip(self, offset: int) -> None:
        """Pass over the record at `offset`: it was looked at."""
        here = self.next
        if offset >= here.offset:
            self.next = Position(
                offset + 1, here.sequence, here.start_sample, here.media_offset_ms, here.epoch
            )

    def cover(self, sample: int, held: Iterable[int] = ()) -> list[Span]:
        """Forget the spans that end at or before `sample`: a final speaks for them. Returns the gaps of them.

        The chunk that ends the session stays, so that whoever resumes meets the end again. `held`: offsets of
        records that were looked at and wait for others.
        """
        gaps: list[Span] = []
        self._covered_sample = max(sample, self._covered_sample)
        while self._spans and self._spans[0].end_sample <= sample and not self._spans[0].last:
            span = self._spans.popleft()
            if span.gap:
                gaps.append(span)
            else:
                self.ahead.add(span.offset)
        resume_offset = self._resume_offset(held)
        self.ahead = {offset for offset in self.ahead if offset > resume_offset}
        return gaps

    def close(self) -> None:
        """Forget everything, the end included: the session is over."""
        self._spans.clear()
        self.ahead.clear()

    def resume(self, held: Iterable[int] = ()) -> Position:
        """Where to read again if everything uncovered had to be sent once more."""
        offset = self._resume_offset(held)
        if not self._spans:
            return replace(self.next, offset=offset)
        first = self._spans[0]
        return Position(offset, first.sequence, first.start_sample, first.media_offset_ms, first.epoch)

    def _resume_offset(self, held: Iterable[int]) -> int:
        return (
            min((span.offset for span in self._spans), default=self.next.offset)
            if not held
            else min(self.next.offset, *held, *(span.offset for span in self._spans))
        )

    def rewind(self, held: Iterable[int] = ()) -> int:
        """Go back to `resume`: the uncovered chunks with audio, whose number is returned, will be read again
        from the log. Where no audio is uncovered nothing changes.
        """
        if not held and all(span.end_sample <= self._covered_sample for span in self._spans):
            return 0
        uncovered = self.uncovered_chunks
        self.next = self.resume(held)
        self._spans.clear()
        return uncovered

    @property
    def uncovered_chunks(self) -> int:
        """Chunks with audio that no final covers."""
        return sum(not span.gap and span.end_sample > span.start_sample for span in self._spans)

    @property
    def gaps(self) -> list[Span]:
        """The gaps that no final covers yet."""
        return [span for span in self._spans if span.gap]

    def spoken_at_ms(self, sample: int, sample_rate_hertz: int) -> int | None:
        """When the audio before `sample` was spoken (Unix time), if its chunk is still here and tells."""
        for span in self._spans:
            if span.start_sample < sample <= span.end_sample and span.ended_at_ms is not None:
                return span.ended_at_ms - (span.end_sample - sample) * 1000 // sample_rate_hertz
        return None

    def __len__(self) -> int:
        return len(self._spans)

    def offsets(self, start_sample: int, end_sample: int) -> tuple[int, int]:
        """First and last offset of the records whose samples meet `[start_sample, end_sample)`.

        A range that is not (or no longer) on the timeline answers with its nearest neighbour.
        """
        meeting = [
            span.offset
            for span in self._spans
            if span.end_sample > start_sample and span.start_sample < end_sample and not span.gap
        ]
        if meeting:
            return min(meeting), max(meeting)
        nearest = self._spans[0].offset if self._spans else max(0, self.next.offset - 1)
        return nearest, nearest
