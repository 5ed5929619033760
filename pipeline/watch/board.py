"""What is known of each session while it is watched. Pure: values and `now` in, events out, bounded.

The topics have no order among themselves: an end may be read before the last final, a partial after the final
that it became. What the contract (schemas/README.md) says of identity and of partials is applied here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from pipeline.elements import FinalTranscript, PartialTranscript
from pipeline.output.output_values import SessionEnded
from pipeline.watch.values import (
    OVER,
    REFUSALS,
    BoardEvent,
    FinalSeen,
    Latency,
    PartialSeen,
    PartialWithdrawn,
    Seen,
    Segment,
    State,
    StateChanged,
    WatchedSession,
    segment_of,
)

LOW_CONFIDENCE = 0.5
IDLE_AFTER_SECONDS = 10.0
MAX_SESSIONS = 500
MAX_SEGMENTS = 32
MAX_WORDS = 240
"""Of one session; the last segment stays whatever its length."""
MAX_PARTIALS = 8
_LATENCIES = 200
_CLOCKS_MS = 2_000
"""Clocks of two workers differ by less."""
_FORGOTTEN_SECONDS = 3_600
"""Nothing is repeated when so much time has passed."""


@dataclass(frozen=True, slots=True)
class BoardLimits:
    """Bounds of a board. `idle_after_seconds`: how long nothing is heard of a session before it is idle;
    words below `low_confidence` are marked.
    """

    idle_after_seconds: float = IDLE_AFTER_SECONDS
    low_confidence: float = LOW_CONFIDENCE
    sessions: int = MAX_SESSIONS
    segments: int = MAX_SEGMENTS
    words: int = MAX_WORDS
    partials: int = MAX_PARTIALS


class Board:
    """All sessions, the most recently active ones if there are too many.

    `live_since_ms`: when watching began. What was published before is shown, but its latency would only say
    how long it lay there. `version` grows with each change; sessions and segments carry theirs.
    """

    def __init__(self, live_since_ms: int, limits: BoardLimits | None = None) -> None:
        self.limits = limits or BoardLimits()
        self.version = 0
        self.forgotten: deque[tuple[int, str]] = deque(maxlen=self.limits.sessions)
        """(version, session id) of the sessions that had to make room last."""
        self._live_since_ms = live_since_ms
        self._sessions: dict[str, WatchedSession] = {}
        self._heard_of = 0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[WatchedSession]:
        """Sessions by their first record."""
        return iter(self._sessions.values())

    def by_activity(self) -> list[WatchedSession]:
        """Sessions, the most recently active first, those that are over behind the others."""
        return sorted(
            self._sessions.values(), key=lambda found: (found.is_over, -found.active_at, found.number)
        )

    @property
    def median_latency_seconds(self) -> float | None:
        """Median over the latest finals of all sessions: since they were spoken, where that is known."""
        return median(self._latencies) if self._latencies else None

    def enter(self, seen: Seen, now: float) -> list[BoardEvent]:
        """Take in one value that arrived at `now` (seconds since 1970); what is new by it."""
        match seen.value:
            case FinalTranscript():
                return self._final(seen.value, seen.published_at_ms, now)
            case PartialTranscript():
                return self._partial(seen.value, seen.published_at_ms, now)
            case SessionEnded():
                return self._end(seen.value, seen.published_at_ms, now)

    def pass_time(self, now: float) -> list[BoardEvent]:
        """Sessions of which nothing was heard for long: idle, or over although finals are missing."""
        events: list[BoardEvent] = []
        for session in self._sessions.values():
            if (
                session.state in (State.LIVE, State.DRAINING)
                and now - session.active_at >= self.limits.idle_after_seconds
            ):
                state = State.IDLE if session.ended is None else _over(session.ended)
                events += self._set_state(session, state)
        return events

    # Finals

    def _final(self, final: FinalTranscript, published_at_ms: int, now: float) -> list[BoardEvent]:
        final = replace(final, alternatives=final.alternatives[:1])
        session = self._session(final.session_id, published_at_ms, now)
        if _begins_anew(session, final, published_at_ms):
            _begin_anew(session)
        before = session.segments.get(final.segment_index)
        if before is None and session.segments and final.segment_index < min(session.segments):
            return []  # a repetition of what is no longer kept
        if before is not None and _same(before.final, final):
            return []
        latency = self._latency(published_at_ms, _spoken_ms(final), now)
        if latency is not None:
            session.latency = latency
            self._latencies.append(latency.best)
        segment = segment_of(final, self._changed(session), self.limits.low_confidence)
        self._count(session, segment, before)
        self._keep(session, segment)
        for result_id in [name for name, found in session.partials.items() if _is_covered(found, final)]:
            del session.partials[result_id]
        session.final_results.append(final.result_id)
        _remember(session, final.stream_id)
        self._touch(session, published_at_ms, now)
        return self._with_state(session, FinalSeen(session.session_id, segment, before is not None, latency))

    def _count(self, session: WatchedSession, segment: Segment, before: Segment | None) -> None:
        final = segment.final
        if before is None:
            session.finals += 1
        session.words += segment.words - (before.words if before else 0)
        session.low_confidence += segment.low_confidence - (before.low_confidence if before else 0)
        if session.first_index is None:
            session.first_index = final.segment_index
        session.heard_until = max(session.heard_until, final.end_time)
        if final.started_at_ms is not None:
            session.zero_ms = final.started_at_ms - round(final.start_time * 1000)

    def _keep(self, session: WatchedSession, segment: Segment) -> None:
        """The latest segments, within the bounds."""
        kept = session.segments
        kept[segment.final.segment_index] = segment
        words = sum(found.words for found in kept.values())
        while len(kept) > 1 and (len(kept) > self.limits.segments or words > self.limits.words):
            words -= kept.pop(min(kept)).words

    # Partials

    def _partial(self, partial: PartialTranscript, published_at_ms: int, now: float) -> list[BoardEvent]:
        known = self._sessions.get(partial.session_id)
        if partial.superseded:
            return self._withdraw(known, partial.result_id)
        if known is not None and _is_stale(known, partial, published_at_ms):
            return []
        session = self._session(partial.session_id, published_at_ms, now)
        if session.ended is not None:
            _begin_anew(session)
        if partial.stream_id != session.stream_id:
            session.partials.clear()
            session.stream_id = partial.stream_id
            _remember(session, partial.stream_id)
        session.partials[partial.result_id] = replace(partial, alternatives=partial.alternatives[:1])
        if len(session.partials) > self.limits.partials:
            session.partials.popitem(last=False)
        session.heard_until = max(session.heard_until, partial.end_time)
        self._changed(session)
        self._touch(session, published_at_ms, now)
        spoken_ms = None if session.zero_ms is None else session.zero_ms + partial.end_time * 1000
        latency = self._latency(published_at_ms, spoken_ms, now)
        return self._with_state(session, PartialSeen(session.session_id, partial, latency))

    def _withdraw(self, session: WatchedSession | None, result_id: str) -> list[BoardEvent]:
        if session is None or session.partials.pop(result_id, None) is None:
            return []
        self._changed(session)
        return [PartialWithdrawn(session.session_id, result_id)]

    # Ends

    def _end(self, ended: SessionEnded, published_at_ms: int, now: float) -> list[BoardEvent]:
        session = self._session(ended.session_id, published_at_ms, now)
        segments = ended.summary.segments
        if session.ended is not None and segments <= session.ended.summary.segments:
            return []  # the same again
        if session.first_index is not None and segments <= session.first_index:
            return []  # the end of the life before
        session.ended = ended
        session.partials.clear()
        session.heard_until = max(session.heard_until, ended.summary.audio_seconds)
        self._changed(session)
        self._touch(session, published_at_ms, now)
        return self._set_state(session, _state_of(session))

    # Sessions

    def _session(self, session_id: str, published_at_ms: int, now: float) -> WatchedSession:
        found = self._sessions.get(session_id)
        if found is None:
            self._make_room()
            found = WatchedSession(session_id, self._heard_of, self._moment(published_at_ms, now))
            self._heard_of += 1
            self._changed(found)
            self._sessions[session_id] = found
        return found

    def _make_room(self) -> None:
        while len(self._sessions) >= self.limits.sessions:
            last = min(self._sessions.values(), key=lambda found: (found.state not in OVER, found.active_at))
            del self._sessions[last.session_id]
            self.version += 1
            self.forgotten.append((self.version, last.session_id))

    def _changed(self, session: WatchedSession) -> int:
        self.version += 1
        session.version = self.version
        return self.version

    def _touch(self, session: WatchedSession, published_at_ms: int, now: float) -> None:
        session.active_at = max(session.active_at, self._moment(published_at_ms, now))

    def _moment(self, published_at_ms: int, now: float) -> float:
        """When it happened: what comes late, because it lay in the topic, happened then."""
        return now if published_at_ms >= self._live_since_ms else min(now, published_at_ms / 1000)

    def _latency(self, published_at_ms: int, spoken_ms: float | None, now: float) -> Latency | None:
        if published_at_ms < self._live_since_ms:
            return None
        spoken = None if spoken_ms is None else now - spoken_ms / 1000
        return Latency(now - published_at_ms / 1000, spoken)

    def _with_state(self, session: WatchedSession, event: BoardEvent) -> list[BoardEvent]:
        """The event, behind the beginning that it is, or before the end that it is."""
        changed = self._set_state(session, _state_of(session))
        return [*changed, event] if session.state is State.LIVE else [event, *changed]

    def _set_state(self, session: WatchedSession, state: State) -> list[BoardEvent]:
        if session.told is state:
            return []
        session.state = session.told = state
        self._changed(session)
        return [StateChanged(session.session_id, state, session.reason, session.missing)]


def _begin_anew(session: WatchedSession) -> None:
    """Another life of the id: its timeline begins at 0, its numbers go on."""
    session.life += 1
    session.ended = None
    session.segments.clear()
    session.partials.clear()
    session.finals = session.words = session.low_confidence = 0
    session.first_index = session.zero_ms = session.latency = None
    session.heard_until = 0.0


def _begins_anew(session: WatchedSession, final: FinalTranscript, published_at_ms: int) -> bool:
    """Whether a final is of another life of the id; else it goes on, was late, or is a repetition.

    Numbers go on as long as the job remembers the session, and begin at 0 when it does not.
    """
    if session.ended is not None and final.segment_index >= session.ended.summary.segments:
        return True
    known = bool(session.segments) and final.segment_index <= max(session.segments)
    return known and published_at_ms / 1000 - session.active_at > _FORGOTTEN_SECONDS


def _is_stale(session: WatchedSession, partial: PartialTranscript, published_at_ms: int) -> bool:
    """Whether it was overtaken by its final, or by the session's end."""
    if partial.result_id in session.final_results:
        return True
    if session.ended is None or published_at_ms > session.ended.ended_at_ms + _CLOCKS_MS:
        return False
    return partial.stream_id in session.streams or published_at_ms <= session.ended.ended_at_ms


def _is_covered(partial: PartialTranscript, final: FinalTranscript) -> bool:
    """Whether the final says all that the partial said."""
    same_place = partial.channel_id == final.channel_id and partial.end_time <= final.end_time
    return same_place or partial.result_id == final.result_id


def _same(one: FinalTranscript, other: FinalTranscript) -> bool:
    """Whether both say the same at the same time; which stream said it is no difference."""
    return (one.channel_id, one.start_time, one.end_time, one.alternatives) == (
        other.channel_id,
        other.start_time,
        other.end_time,
        other.alternatives,
    )


def _state_of(session: WatchedSession) -> State:
    if session.ended is None:
        return State.LIVE
    return State.DRAINING if session.missing else _over(session.ended)


def _over(ended: SessionEnded) -> State:
    return State.REJECTED if ended.summary.reason in REFUSALS else State.ENDED


def _spoken_ms(final: FinalTranscript) -> float | None:
    """When its last word was captured, milliseconds since 1970."""
    if final.started_at_ms is None:
        return None
    return final.started_at_ms + 1000 * (final.end_time - final.start_time)


def _remember(session: WatchedSession, stream_id: str) -> None:
    if stream_id not in session.streams:
        session.streams.append(stream_id)
