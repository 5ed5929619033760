"""The session's feed of audio: what was seen, what was taken, and whether the log must be read to catch up.

Records come in two ways that meet here: live, from the source, and from the log (a re-read of Kafka). The
feed is *live* while every record seen has been taken; otherwise it is *behind*, live records only move the
mark of what has been seen, and the log is read from the timeline's next record until the two meet. A record
is taken once: one that lies before the timeline's next offset has been taken already.

A chunk that a producer's retry wrote twice is passed over. One whose sequence is old and whose audio is new
(a producer that started again, a chunk that came late) is rejected, so that no audio disappears in silence.
"""

from __future__ import annotations

from collections import OrderedDict
from zlib import crc32

from pipeline.cursor import SessionCursor, SessionStatus
from pipeline.elements import (
    AFTER_END_OF_SESSION,
    SEQUENCE_REUSED,
    SESSION_REFUSED,
    AudioChunk,
    LogEntry,
)
from pipeline.errors import ChunkRejected
from pipeline.judging import FormatJudge
from pipeline.resequencer import Verdict, judge_sequence
from pipeline.timeline import ChunkSpan, Timeline

_REMEMBERED_CHUNKS = 256  # a producer's retry repeats a chunk within seconds


class AudioFeed:
    """Starts behind, at the cursor, with the whole log before it: that is what a restored session needs.

    `open_live` starts it live instead, for a session whose first chunk is at hand.
    """

    def __init__(self, cursor: SessionCursor) -> None:
        self.timeline = Timeline(cursor.resume)
        self.behind = True
        self.reading = False
        self.end_marked = False
        self._end_offset = 0  # of the chunk that marked the end
        self.chunks = cursor.chunks
        self._format = cursor.format
        self._seen_offset = cursor.resume.offset
        self._to_end_of_log = True
        self._read_id = 0
        self._judge = FormatJudge(cursor.format)
        self._fingerprints: OrderedDict[int, int] = OrderedDict()  # of the last chunks taken, by sequence
        self._reported_offset = cursor.resume.offset

    def open_live(self) -> None:
        self.behind = self._to_end_of_log = False

    # Live records

    def see(self, entry: LogEntry, status: SessionStatus) -> ChunkRejected | None:
        """Note a live record; returns why it belongs into the dead-letter topic, if it does."""
        self._seen_offset = max(self._seen_offset, entry.offset + 1)
        rejection = entry.rejection or self._reject(entry, status)
        duplicate = entry.chunk is not None and self._is_duplicate(entry.chunk)
        if not self.behind and (rejection is not None or duplicate):
            self.timeline.skip(entry.offset)
        return rejection

    def _reject(self, entry: LogEntry, status: SessionStatus) -> ChunkRejected | None:
        if entry.chunk is None or not self.is_new(entry) or self._is_duplicate(entry.chunk):
            return None
        if status is SessionStatus.REFUSED:
            return ChunkRejected(
                SESSION_REFUSED, "the service refused this session; see its first dead letter"
            )
        if status is SessionStatus.ENDED:
            return after_end(entry.chunk)
        if self.behind:
            return None  # judged in its turn, when it is read from the log
        return self.judge(entry.chunk)

    def is_new(self, entry: LogEntry) -> bool:
        """False for a record that was taken from the log, or is covered by finals since before a restart."""
        return entry.offset >= self.timeline.next.offset

    # The log

    def next_read(self) -> tuple[int, int, int | None] | None:
        """`(read_id, start_offset, end_offset)` of the read that brings the feed nearer to live.

        None when it is live, which it becomes here once nothing is left to read. `end_offset` None means: to
        the end of the partition.
        """
        start = self.timeline.next.offset
        if not self._to_end_of_log and start >= self._seen_offset:
            self.behind = False
            return None
        self._read_id += 1
        self.reading = True
        return self._read_id, start, None if self._to_end_of_log else self._seen_offset

    def awaits(self, read_id: int) -> bool:
        return self.reading and read_id == self._read_id

    def finish_read(self, next_offset: int, *, complete: bool) -> None:
        """The read got as far as `next_offset`; `complete`: that is all there was in its range."""
        self.reading = False
        self.timeline.skip(next_offset - 1)
        # What was read counts as seen: after a rewind nobody else asks for it again.
        self._seen_offset = max(self._seen_offset, next_offset)
        if complete:
            self._to_end_of_log = False

    def abandon_read(self) -> None:
        """Whatever a read in flight brings will be ignored."""
        self.reading = False

    # Either way

    def judge(self, chunk: AudioChunk) -> ChunkRejected | None:
        """Why `chunk`, the next of the session, must not be taken; None when it may be."""
        if self._is_duplicate(chunk):
            return None  # `place` passes over it
        if self.end_marked:
            return after_end(chunk)
        return self._reject_reused_sequence(chunk) or self._judge.check(chunk)

    def is_reported(self, offset: int) -> bool:
        """Whether a bad chunk at `offset` was reported before; it is read again after a rewind."""
        return offset < self._reported_offset

    def place(self, offset: int, chunk: AudioChunk) -> ChunkSpan | None:
        """Put the chunk on the timeline; None when its sequence says it is a duplicate."""
        if self._is_duplicate(chunk):
            self.timeline.skip(offset)
            return None
        self._remember(chunk)
        self.chunks += bool(chunk.samples)
        if chunk.end_of_session:
            self.end_marked, self._end_offset = True, offset
        return self.timeline.append(offset, chunk.sequence, chunk.samples)

    def _is_duplicate(self, chunk: AudioChunk) -> bool:
        """Whether the chunk is one that was taken, written once more: same sequence and same audio."""
        return self._fingerprints.get(chunk.sequence) == crc32(chunk.payload) and self._is_old(chunk)

    def _is_old(self, chunk: AudioChunk) -> bool:
        return judge_sequence(self.timeline.next.sequence, chunk.sequence) is Verdict.DUPLICATE

    def _reject_reused_sequence(self, chunk: AudioChunk) -> ChunkRejected | None:
        if not self._is_old(chunk):
            return None
        return ChunkRejected(
            SEQUENCE_REUSED,
            f"sequence {chunk.sequence} came after {self.timeline.next.sequence - 1} and repeats no recent "
            "chunk; a producer that starts again must use a new session_id",
        )

    def _remember(self, chunk: AudioChunk) -> None:
        self._fingerprints[chunk.sequence] = crc32(chunk.payload)
        while len(self._fingerprints) > _REMEMBERED_CHUNKS:
            self._fingerprints.popitem(last=False)

    def rewind(self) -> None:
        """Fall behind to the first record that finals do not cover."""
        self._reported_offset = max(self._reported_offset, self.timeline.next.offset)
        self.chunks -= self.timeline.rewind()
        # An end mark that lies before what is read again was taken, and nobody will repeat it.
        self.end_marked = self.end_marked and self._end_offset < self.timeline.next.offset
        self.behind, self.reading = True, False
        self._judge = FormatJudge(self._format)

    @property
    def covered_chunks(self) -> int:
        return self.chunks - self.timeline.uncovered_chunks

    @property
    def seen_offset(self) -> int:
        """One more than the last offset seen live."""
        return self._seen_offset


def after_end(chunk: AudioChunk) -> ChunkRejected:
    """The rejection of a chunk that its producer sent behind the end of its session."""
    return ChunkRejected(AFTER_END_OF_SESSION, f"chunk {chunk.sequence} came after the end of its session")
