"""The session's feed of audio: what was seen, what was taken, and whether the log must be read to catch up.

Records come in two ways that meet here: live, from the source, and from the log (a re-read of Kafka). The
feed is *live* while every record seen has been taken; otherwise it is *behind*, live records only move the
mark of what has been seen, and the log is read from the timeline's next record until the two meet. Either
way records are taken in the order of the log, each once, so that whoever reads the same log again comes to
the same timeline.

A missing sequence is waited for: until `reorder_wait_seconds` of audio have come behind the hole, or as long
has passed without that. Time alone decides only after the log was read to its end, for the source may lag.
Then the hole becomes a gap, as long as media_offset_ms says.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import Any

from pipeline.elements import (
    AFTER_END_OF_SESSION,
    LATE_CHUNK,
    LOST_OFFSETS,
    MISSING_SEQUENCE,
    SEQUENCE_RESTARTED,
    SEQUENCE_REUSED,
    UNDECODABLE,
    AudioChunk,
    LogEntry,
)
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.judging import FormatJudge
from pipeline.engine.limits import SessionLimits
from pipeline.engine.resequencer import Held, Resequencer, Verdict
from pipeline.engine.timeline import Position, Span, Timeline
from pipeline.errors import ChunkRejected

_SAME_MOMENT_MS = 10  # chunks that follow one another this closely leave nothing out
_REMEMBERED_REPORTS = 256
_LONGEST_CHUNK_MS = 30_000  # a hole that is longer by its numbers is not believed


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk or a gap that was put on the timeline; a gap has no payload."""

    span: Span
    payload: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Taken:
    """What taking one record led to: `placed` in the timeline's order, `rejected` by offset, and what there
    is to count (names of `commands.Observe`)."""

    placed: list[Placed] = field(default_factory=list)
    rejected: list[tuple[int, ChunkRejected]] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)


class AudioFeed:
    """Starts behind, at the cursor, with the whole log before it: that is what a restored session needs.

    `open_live` starts it live instead, for a session whose first chunk is at hand.
    """

    def __init__(self, cursor: SessionCursor, limits: SessionLimits) -> None:
        self.timeline = Timeline(cursor.resume, cursor.ahead_offsets)
        self.reading = False
        self.chunks = cursor.chunks
        self._format = cursor.format
        self._limits = limits
        self._order = Resequencer(cursor.resume.epoch, cursor.fingerprints, cursor.holes)
        self._judge = FormatJudge(cursor.format)
        self._end: Span | None = None  # of the chunk that marked the end
        self._bad_records = False  # since the last chunk on the timeline
        self._lost = False  # retention took records since then
        self._seen_offset = cursor.resume.offset
        self._to_end_of_log = True
        self.checked_at = -inf  # when the log was last read to its end (monotonic seconds)
        self._read_id, self._asked_to_end = 0, False
        self.asked_at = -inf  # when the last read was asked for
        self._reported: OrderedDict[int, None] = (
            OrderedDict()
        )  # those behind records that were held meanwhile
        self._reported_offset = max(cursor.resume.offset, cursor.reported_offset)

    def open_live(self) -> None:
        self._to_end_of_log = False

    @property
    def behind(self) -> bool:
        """Whether the log holds records that were seen, or may be there, and are not taken."""
        return self._to_end_of_log or self.timeline.next.offset < self._seen_offset

    @property
    def seeks_end(self) -> bool:
        """Whether the log has to be read to its end, wherever that is."""
        return self._to_end_of_log

    @property
    def end_marked(self) -> bool:
        """Whether the chunk that ends the session is on the timeline, and with it all before."""
        return self._end is not None

    # Records

    def see(self, offset: int) -> None:
        """The source has delivered the record at `offset`."""
        self._seen_offset = max(self._seen_offset, offset + 1)

    def is_new(self, entry: LogEntry) -> bool:
        """False for a record that was taken from the log, or is covered by finals since before a restart."""
        return entry.offset >= self.timeline.next.offset

    def is_duplicate(self, chunk: AudioChunk) -> bool:
        """Whether the chunk was taken before, written once more."""
        return self._order.judge(chunk, self.timeline.next) is Verdict.DUPLICATE

    def is_reported(self, offset: int) -> bool:
        """Whether a bad chunk at `offset` was reported before; it is read again after a rewind."""
        return offset < self._reported_offset or offset in self._reported

    def note_reported(self, offset: int) -> None:
        """The chunk at `offset` has its dead letter."""
        self._reported[offset] = None
        while len(self._reported) > _REMEMBERED_REPORTS:
            self._reported.popitem(last=False)

    def take(self, entry: LogEntry, now: float) -> Taken:
        """Take the next record of the log, a new one."""
        taken = Taken()
        self.timeline.skip(entry.offset)
        if entry.chunk is None:
            self._bad_records = True
        elif entry.offset not in self.timeline.ahead:
            self._take_chunk(entry.offset, entry.chunk, now, taken)
        return taken

    def _take_chunk(self, offset: int, chunk: AudioChunk, now: float, taken: Taken) -> None:
        verdict = self._order.judge(chunk, self.timeline.next)
        if verdict is Verdict.DUPLICATE:
            taken.observed.append("duplicate_chunks")
            return
        rejection = self._why_not(chunk, verdict)
        if rejection is not None:
            taken.rejected.append((offset, rejection))
            if verdict is Verdict.LATE:
                taken.observed.append("late_chunks")
            elif rejection.error_class != AFTER_END_OF_SESSION:
                self._bad_records = True
        elif verdict is Verdict.NEXT:
            self._place(offset, chunk, taken)
            self._release(taken)
        elif verdict is Verdict.RESTART:
            self._restart(offset, chunk, taken)
        else:
            self._hold(offset, chunk, now, taken)

    def _why_not(self, chunk: AudioChunk, verdict: Verdict) -> ChunkRejected | None:
        if self._end is not None:
            return after_end(chunk)
        if verdict is Verdict.LATE:
            return self._late(chunk)
        if verdict is Verdict.REUSED or (
            verdict is Verdict.RESTART and not self._limits.accept_sequence_restart
        ):
            return self._reused(chunk)
        return self._judge.check(chunk)

    def _late(self, chunk: AudioChunk) -> ChunkRejected:
        return ChunkRejected(
            LATE_CHUNK,
            f"sequence {chunk.sequence} came when {self.timeline.next.sequence} was due: later than "
            f"reorder_wait_seconds ({self._limits.reorder_wait_seconds:g}) allows",
        )

    def _reused(self, chunk: AudioChunk) -> ChunkRejected:
        return ChunkRejected(
            SEQUENCE_REUSED,
            f"sequence {chunk.sequence} came once more, with other audio, when {self.timeline.next.sequence} "
            "was due; a producer that starts again must use a new session_id",
        )

    # The timeline

    def _place(self, offset: int, chunk: AudioChunk, taken: Taken) -> None:
        start_ms, samples = chunk.media_offset_ms, chunk.samples
        if start_ms is None:
            start_ms = self.timeline.next.media_offset_ms
        end_ms = None if start_ms is None else start_ms + samples * 1000 // self._format.sample_rate_hertz
        span = self.timeline.append(
            offset,
            chunk.sequence,
            samples,
            media_offset_ms=start_ms,
            media_end_ms=end_ms,
            last=chunk.end_of_session,
            ended_at_ms=chunk.written_at_ms if chunk.captured_at_ms is None else chunk.ended_at_ms,
        )
        self._order.remember(chunk, span.epoch)
        self._bad_records = self._lost = False
        self.chunks += bool(samples)
        if chunk.end_of_session:
            self._end = span
        taken.placed.append(Placed(span, chunk.payload))

    def _release(self, taken: Taken) -> None:
        """Place the held chunks that follow."""
        while self._end is None and (held := self._order.release(self.timeline.next.sequence)) is not None:
            taken.observed.append("reordered_chunks")
            self._place(held.offset, held.chunk, taken)
        if self._end is not None:
            taken.rejected += [(held.offset, after_end(held.chunk)) for held in self._order.release_all()]

    def _hold(self, offset: int, chunk: AudioChunk, now: float, taken: Taken) -> None:
        self._order.hold(offset, chunk, now)
        while (first := self._order.first) is not None and (
            self._is_explained(first.chunk) or self._order.held_samples >= self._wait_samples
        ):
            self._give_up(first, taken)

    def _is_explained(self, chunk: AudioChunk) -> bool:
        """Whether it is known that nothing will come before `chunk`."""
        return self._lost or self._follows(chunk)

    def _follows(self, chunk: AudioChunk) -> bool:
        """Whether the producer left out numbers, and no audio."""
        due_ms = self.timeline.next.media_offset_ms
        return (
            due_ms is not None
            and chunk.media_offset_ms is not None
            and abs(chunk.media_offset_ms - due_ms) <= _SAME_MOMENT_MS
        )

    @property
    def _wait_samples(self) -> int:
        return round(self._limits.reorder_wait_seconds * self._format.sample_rate_hertz)

    def _give_up(self, first: Held, taken: Taken) -> None:
        """Let what is missing before the first held chunk be a gap, and go on behind it."""
        here = self.timeline.next
        self._order.give_up(here.epoch, here.sequence, first.chunk.sequence)
        if self._follows(first.chunk):
            self.timeline.expect(sequence=first.chunk.sequence)
        else:
            reason = LOST_OFFSETS if self._lost else UNDECODABLE if self._bad_records else MISSING_SEQUENCE
            samples = self._missing_samples(first.chunk)
            span = self.timeline.append_gap(first.offset, first.chunk.sequence, samples, reason)
            taken.placed.append(Placed(span))
        self._release(taken)

    def _missing_samples(self, chunk: AudioChunk) -> int:
        here = self.timeline.next
        if here.media_offset_ms is None or chunk.media_offset_ms is None:
            return 0
        missing_ms = chunk.media_offset_ms - here.media_offset_ms
        if not 0 < missing_ms <= (chunk.sequence - here.sequence) * _LONGEST_CHUNK_MS:
            return 0
        return round(missing_ms * self._format.sample_rate_hertz / 1000)

    def _restart(self, offset: int, chunk: AudioChunk, taken: Taken) -> None:
        """The producer has begun again: what it had not sent by then will not come."""
        while self._end is None and (first := self._order.first) is not None:
            self._give_up(first, taken)
        if self._end is not None:
            taken.rejected.append((offset, after_end(chunk)))
            return
        span = self.timeline.append_gap(offset, chunk.sequence, 0, SEQUENCE_RESTARTED)
        self.timeline.expect(epoch=span.epoch + 1)
        taken.observed.append("sequence_restarts")
        taken.placed.append(Placed(span))
        self._place(offset, chunk, taken)

    # Holes that time gives up

    @property
    def hole_since(self) -> float | None:
        """Since when (monotonic seconds) a missing chunk is waited for; None: none is."""
        return self._order.waits_since

    def hole_is_due(self, now: float) -> bool:
        """Whether a hole has waited long enough to be given up, if the log does not fill it."""
        since = self._order.waits_since
        return since is not None and now - since >= self._limits.reorder_wait_seconds

    def check_log(self) -> None:
        """Read the log to its end, whatever the source has delivered."""
        self._to_end_of_log = True

    # The log

    def note_lost(self) -> None:
        """Retention removed records before the next one."""
        self._lost = True

    def next_read(self, now: float) -> tuple[int, int, int | None] | None:
        """`(read_id, start_offset, end_offset)` of the read that brings the feed nearer to live.

        None when it is live. `end_offset` None means: to the end of the partition.
        """
        if not self.behind:
            return None
        self._read_id += 1
        self.reading, self.asked_at, self._asked_to_end = True, now, self._to_end_of_log
        return self._read_id, self.timeline.next.offset, None if self._to_end_of_log else self._seen_offset

    def awaits(self, read_id: int) -> bool:
        return self.reading and read_id == self._read_id

    def finish_read(self, next_offset: int, *, complete: bool) -> Taken:
        """The read got as far as `next_offset`; `complete`: that is all there was in its range.

        What it says of the log's end is true for the moment it was asked for, however late the answer comes.
        """
        taken = Taken()
        self.reading = False
        self.timeline.skip(next_offset - 1)
        # What was read counts as seen: after a rewind nobody else asks for it again.
        self._seen_offset = max(self._seen_offset, next_offset)
        if complete and self._asked_to_end:
            self._to_end_of_log = False
            self.checked_at = self.asked_at
            while self.hole_is_due(self.asked_at) and (first := self._order.first) is not None:
                self._give_up(first, taken)
        return taken

    def abandon_read(self) -> None:
        """Whatever a read in flight brings will be ignored."""
        self.reading = False

    def rewind(self) -> None:
        """Fall behind to the first record that finals do not cover."""
        held = self.held_offsets
        self._reported_offset = max(self._reported_offset, min([self.timeline.next.offset, *held]))
        self._order.release_all()
        self.chunks -= self.timeline.rewind(held)
        if self._end is not None and self._end.offset >= self.timeline.next.offset:
            self._end = None  # it is read again
        self.reading = False
        self._bad_records = self._lost = False
        self._judge = FormatJudge(self._format)

    # Finals

    def cover(self, sample: int) -> list[Span]:
        """Finals speak for everything before `sample`; returns the gaps that are covered by that."""
        return self.timeline.cover(sample, self.held_offsets)

    @property
    def resume(self) -> Position:
        """Where to read again if everything uncovered had to be sent once more."""
        return self.timeline.resume(self.held_offsets)

    def memory(self) -> dict[str, Any]:
        """What a cursor at `resume` has to remember of the records before, as fields of SessionCursor."""
        resume = self.resume
        before = resume.epoch, resume.sequence
        return {
            "resume": resume,
            "chunks": self.chunks - self.timeline.uncovered_chunks,
            "ahead_offsets": tuple(sorted(self.timeline.ahead)),
            "reported_offset": max(
                self._reported_offset, min([self.timeline.next.offset, *self.held_offsets])
            ),
            "fingerprints": self._order.fingerprints(*before),
            "holes": self._order.holes(*before),
        }

    @property
    def held_offsets(self) -> list[int]:
        """Offsets of the records that wait for others before them."""
        return self._order.held_offsets

    @property
    def held_seconds(self) -> float:
        """Audio that waits for other audio before it."""
        return self._format.seconds(self._order.held_samples)

    @property
    def lost_unseen(self) -> bool:
        """Whether retention took records behind which nothing has come yet."""
        return self._lost

    @property
    def seen_offset(self) -> int:
        """One more than the last offset seen live."""
        return self._seen_offset


def after_end(chunk: AudioChunk) -> ChunkRejected:
    """The rejection of a chunk that its producer sent behind the end of its session."""
    return ChunkRejected(AFTER_END_OF_SESSION, f"chunk {chunk.sequence} came after the end of its session")
