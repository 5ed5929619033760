"""Life of a session, as its engine sees it: the table is the machine.

| state | stream | feed of audio |
|---|---|---|
| IDLE | none | live; nothing to send |
| WAITING | none | behind: waits for a slot, or for the backoff after a failure |
| OPENING | opening | live |
| STREAMING | open | live |
| BEHIND | opening or open | audio was left in the log, for want of room; it is read as there is room |
| RECOVERING | none, opening or open | a stream was lost, or the worker: the log is read from the cursor |
| DRAINING | ending | last results are awaited: a pause, or the end of the session |
| ROTATING | ending | the same, to make room for a successor |
| ENDED, REJECTED | none | over; late chunks are still recognised |

Audio that comes while a stream ends is left in the log, so DRAINING leads by way of IDLE to WAITING.
"""

from __future__ import annotations

from enum import Enum

from pipeline.errors import IllegalEvent


class SessionState(Enum):
    """See the module."""

    IDLE = "idle"
    WAITING = "waiting"
    OPENING = "opening"
    STREAMING = "streaming"
    BEHIND = "behind"
    RECOVERING = "recovering"
    DRAINING = "draining"
    ROTATING = "rotating"
    ENDED = "ended"
    REJECTED = "rejected"

    @property
    def finished(self) -> bool:
        """Whether the session takes no more audio."""
        return self in (SessionState.ENDED, SessionState.REJECTED)


class SessionEvent(Enum):
    """What moves a session from state to state."""

    AUDIO_LEFT = "audio left"  # the log holds audio that could not be taken
    SLOT = "slot"  # one stream may be opened
    OPEN = "open"  # a stream is opened for live audio
    OPENED = "opened"
    CAUGHT_UP = "caught up"  # everything seen was sent to an open stream
    NOTHING_LEFT = "nothing left"  # everything seen is covered, without a stream
    END = "end"
    ROTATE = "rotate"
    CLOSED = "closed"  # by the service, all being said
    LOST = "lost"
    REFUSE = "refuse"  # for good
    DONE = "done"


_S, _E = SessionState, SessionEvent
_STREAMED = (_S.OPENING, _S.STREAMING, _S.BEHIND, _S.RECOVERING, _S.DRAINING, _S.ROTATING)
_NEXT: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.IDLE, _E.AUDIO_LEFT): _S.WAITING,
    (_S.IDLE, _E.OPEN): _S.OPENING,
    (_S.IDLE, _E.DONE): _S.ENDED,
    (_S.WAITING, _E.SLOT): _S.RECOVERING,
    (_S.WAITING, _E.NOTHING_LEFT): _S.IDLE,
    (_S.OPENING, _E.OPENED): _S.STREAMING,
    (_S.OPENING, _E.AUDIO_LEFT): _S.BEHIND,
    (_S.STREAMING, _E.AUDIO_LEFT): _S.BEHIND,
    (_S.BEHIND, _E.CAUGHT_UP): _S.STREAMING,
    (_S.RECOVERING, _E.CAUGHT_UP): _S.STREAMING,
    (_S.RECOVERING, _E.NOTHING_LEFT): _S.IDLE,
    (_S.OPENING, _E.END): _S.DRAINING,
    (_S.STREAMING, _E.END): _S.DRAINING,
    (_S.BEHIND, _E.END): _S.DRAINING,
    (_S.RECOVERING, _E.END): _S.DRAINING,
    (_S.STREAMING, _E.ROTATE): _S.ROTATING,
    (_S.BEHIND, _E.ROTATE): _S.ROTATING,
    (_S.RECOVERING, _E.ROTATE): _S.ROTATING,
    (_S.DRAINING, _E.CLOSED): _S.IDLE,
    (_S.ROTATING, _E.CLOSED): _S.RECOVERING,
    **{(state, _E.LOST): _S.WAITING for state in _STREAMED},
    **{(state, _E.REFUSE): _S.REJECTED for state in _STREAMED},
}


def next_state(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after `event`; raises IllegalEvent where the table has no entry."""
    try:
        return _NEXT[state, event]
    except KeyError:
        raise IllegalEvent(state.value, event.value) from None
