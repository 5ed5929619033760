"""What consumers make of finals: repetitions dropped, segments put together to sessions. Pure.

Delivery is at least once: a segment may come again under its id (`session_id/segment_index`), and the later
record is the true one, also when its words differ. `SegmentLedger` tells news from repetition; `Transcripts`
keeps the latest of each segment, and gives a session as it stands, with what is missing of it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from pipeline.elements import FinalTranscript, Gap, SessionSummary
from pipeline.output.output_values import SessionEnded

MAX_SESSIONS = 10_000
"""Sessions whose segments a ledger remembers: 16 bytes for each segment, and what Python adds."""


class Novelty(Enum):
    """What a final is to a consumer that has seen those before it."""

    NEW = "new"
    REVISED = "revised"
    """Other words or times under an id that is known: they replace what was there."""
    REPEATED = "repeated"
    """The same again."""


@dataclass(frozen=True, slots=True)
class SegmentReceived:
    """A final that is news: a new segment, or (`revised`) one that replaces the segment of the same id.

    Store `final` under `final.id`, in place of what is there. `topic`, `partition`, `offset`: where it was
    read.
    """

    final: FinalTranscript
    revised: bool
    topic: str
    partition: int
    offset: int


Event = SegmentReceived | SessionEnded


class SegmentLedger:
    """Remembers of each segment what it said, as a digest, for the sessions heard of last."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, dict[int, bytes]] = OrderedDict()

    def enter(self, final: FinalTranscript) -> Novelty:
        """What the final is after those before it; it is remembered."""
        known = self._sessions.setdefault(final.session_id, {})
        self._sessions.move_to_end(final.session_id)
        if len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)
        digest = _digest(final)
        before = known.get(final.segment_index)
        known[final.segment_index] = digest
        if before is None:
            return Novelty.NEW
        return Novelty.REPEATED if before == digest else Novelty.REVISED


def _digest(final: FinalTranscript) -> bytes:
    """Of what was said and when; which stream said it is no difference."""
    words = [
        (item.content, item.type, item.start_time, item.end_time, item.confidence, item.speaker)
        for reading in final.alternatives
        for item in reading.items
    ]
    texts = [reading.transcript for reading in final.alternatives]
    said = (final.channel_id, final.start_time, final.end_time, texts, words)
    return hashlib.blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class SessionTranscript:
    """One session as far as it was read: `segments` by index, `ended` once its SessionEnded was."""

    session_id: str
    segments: tuple[FinalTranscript, ...] = field(default=(), repr=False)
    ended: SessionEnded | None = None

    @property
    def summary(self) -> SessionSummary | None:
        """How the session went; None before its SessionEnded was read."""
        return None if self.ended is None else self.ended.summary

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """Segments that must exist and are not here, as (first, last): before the last, or counted by the
        end.
        """
        expected, found = 0, []
        for final in self.segments:
            if final.segment_index > expected:
                found.append((expected, final.segment_index - 1))
            expected = final.segment_index + 1
        if self.summary is not None and self.summary.segments > expected:
            found.append((expected, self.summary.segments - 1))
        return tuple(found)

    @property
    def complete(self) -> bool:
        """Whether the session is over and all its segments are here."""
        return self.ended is not None and not self.missing

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Audio that could not be transcribed; known once the session is over."""
        return () if self.summary is None else tuple(self.summary.gaps)

    @property
    def in_time_order(self) -> tuple[FinalTranscript, ...]:
        """The segments by their start: those of two channels are numbered as they were finished."""
        return tuple(sorted(self.segments, key=lambda final: (final.start_time, final.segment_index)))

    @property
    def duration_seconds(self) -> float:
        """Length of the audio, or up to the last word while the session goes on."""
        last = max((final.end_time for final in self.segments), default=0.0)
        return last if self.summary is None else max(last, self.summary.audio_seconds)


class Transcripts:
    """Sessions in the making. It keeps what it is given until `forget`."""

    def __init__(self, events: Iterable[FinalTranscript | Event] = ()) -> None:
        self._segments: dict[str, dict[int, FinalTranscript]] = {}
        self._ended: dict[str, SessionEnded] = {}
        for event in events:
            self.add(event)

    def add(self, event: FinalTranscript | Event) -> SessionTranscript:
        """Enter a final or an end, in place of an earlier one of its id; the session as it now is."""
        if isinstance(event, SegmentReceived):
            event = event.final
        if isinstance(event, SessionEnded):
            # An id used again ends again, with a higher count; a repetition of the first end is no news.
            known = self._ended.get(event.session_id)
            if known is None or event.summary.segments >= known.summary.segments:
                self._ended[event.session_id] = event
            self._segments.setdefault(event.session_id, {})
        else:
            self._segments.setdefault(event.session_id, {})[event.segment_index] = event
        return self.session(event.session_id)

    def session(self, session_id: str) -> SessionTranscript:
        """The session as it stands; raises KeyError when nothing of it was read."""
        segments = self._segments[session_id]
        whole = SessionTranscript(session_id, tuple(segments[index] for index in sorted(segments)))
        return replace(whole, ended=self._ended.get(session_id))

    def forget(self, session_id: str) -> None:
        """Drop a session; it begins anew should more of it come."""
        self._segments.pop(session_id, None)
        self._ended.pop(session_id, None)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._segments

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[SessionTranscript]:
        """Every session, in the order in which they were first heard of."""
        return (self.session(session_id) for session_id in list(self._segments))
