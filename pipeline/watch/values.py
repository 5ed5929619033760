"""What a board holds of each session, and the events it tells. Pure.

Seconds are on the session's own timeline, `_ms` are milliseconds since 1970, unless a name says otherwise.
Text is kept out of every `repr`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.elements import FinalTranscript, Gap, PartialTranscript
from pipeline.export.speech import is_word
from pipeline.output.output_values import SessionEnded

REFUSALS = frozenset({"REJECTED", "RETRIES_EXHAUSTED"})
"""End reasons of sessions that were given up."""
MAX_RESULTS_REMEMBERED = 64
MAX_STREAMS_REMEMBERED = 16


class State(StrEnum):
    """Where a session is, as far as the output topics tell."""

    LIVE = "live"
    IDLE = "idle"
    """Nothing has come for a while; no end was read either."""
    DRAINING = "draining"
    """The end was read, some of the finals that it counts were not yet."""
    ENDED = "ended"
    REJECTED = "rejected"
    """Ended because it was given up."""


OVER = frozenset({State.ENDED, State.REJECTED})


@dataclass(frozen=True, slots=True)
class Seen:
    """A value from an output topic; `published_at_ms` is its record's timestamp."""

    value: FinalTranscript | PartialTranscript | SessionEnded
    published_at_ms: int

    @property
    def session_id(self) -> str:
        return self.value.session_id


@dataclass(frozen=True, slots=True)
class Latency:
    """How old something was when it arrived here, in seconds.

    `since_published`: from the record's timestamp, so Kafka and the way to us. `since_spoken`: from the
    moment at which its last word was captured, so everything; None unless the audio says when that was
    (`captured_at`). Both compare clocks of two machines, so small ones may be below 0.
    """

    since_published: float
    since_spoken: float | None = None

    @property
    def best(self) -> float:
        """The one that says most."""
        return self.since_published if self.since_spoken is None else self.since_spoken


@dataclass(frozen=True, slots=True)
class Segment:
    """A final as it is shown. `version`: the board's when it came."""

    final: FinalTranscript
    version: int
    words: int
    low_confidence: int
    confidence: float | None
    """Mean of its words; None where the service gives none."""


@dataclass(slots=True)
class WatchedSession:
    """One session. `number` counts sessions as they were first heard of; `version` grows with each change.

    An id that is used again is another life of it, with a timeline of its own.
    """

    session_id: str
    number: int
    active_at: float
    """When it was last heard of, seconds since 1970."""
    version: int = 0
    state: State = State.LIVE
    told: State | None = None
    """The state that events told of last."""
    life: int = 0
    finals: int = 0
    """Segments seen in this life, revisions not counted."""
    words: int = 0
    low_confidence: int = 0
    first_index: int | None = None
    """Lowest segment index seen in this life: above 0 when watching began later, or in a later life."""
    segments: dict[int, Segment] = field(default_factory=dict, repr=False)
    """The latest, by their index."""
    partials: OrderedDict[str, PartialTranscript] = field(default_factory=OrderedDict, repr=False)
    stream_id: str | None = None
    """Stream of the partials."""
    ended: SessionEnded | None = None
    heard_until: float = 0.0
    zero_ms: int | None = None
    """Wall clock of the timeline's beginning, by the latest final; None without `captured_at`."""
    latency: Latency | None = None
    """Of what came last and was published while we watched."""
    final_results: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_RESULTS_REMEMBERED))
    streams: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_STREAMS_REMEMBERED))

    @property
    def reason(self) -> str | None:
        """Why it ended."""
        return None if self.ended is None else self.ended.summary.reason

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Audio that could not be transcribed; known with the end."""
        return () if self.ended is None else tuple(self.ended.summary.gaps)

    @property
    def missing(self) -> int:
        """Finals that the end counts and that were not seen, of those after the first one seen."""
        if self.ended is None or self.first_index is None:
            return 0
        return max(0, self.ended.summary.segments - self.first_index - self.finals)

    @property
    def is_over(self) -> bool:
        return self.state in OVER


@dataclass(frozen=True, slots=True)
class FinalSeen:
    """A new segment, or (`revised`) other words for one that was shown."""

    session_id: str
    segment: Segment
    revised: bool
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class PartialSeen:
    """What is heard so far of a segment; it replaces what was shown of this `result_id`."""

    session_id: str
    partial: PartialTranscript
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class PartialWithdrawn:
    """Nothing will come of this segment: forget what was shown of it."""

    session_id: str
    result_id: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session's new state; `reason` once it has ended, `missing` finals that were not seen."""

    session_id: str
    state: State
    reason: str | None = None
    missing: int = 0


BoardEvent = FinalSeen | PartialSeen | PartialWithdrawn | StateChanged


def segment_of(final: FinalTranscript, version: int, low_below: float) -> Segment:
    """The final with its words counted; those with a confidence below `low_below` are low."""
    items = final.alternatives[0].items if final.alternatives else ()
    words = [item for item in items if is_word(item)]
    sure = [item.confidence for item in words if item.confidence is not None]
    low = sum(confidence < low_below for confidence in sure)
    return Segment(final, version, len(words), low, sum(sure) / len(sure) if sure else None)
