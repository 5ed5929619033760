"""Life of one stream of the service, as the session engine sees it: the table is the machine.

    NONE --open--> OPENING --opened--> OPEN --end--> ENDING --closed--> NONE
                      \\------------- failed, closed -----------------> NONE

`end` may come before the stream has opened (a very short session); the shell sends everything in order.
"""

from __future__ import annotations

from enum import Enum

from pipeline.errors import IllegalEvent


class StreamState(Enum):
    NONE = "none"
    OPENING = "opening"
    OPEN = "open"
    ENDING = "ending"  # the closing frame is (or will be) sent; last results are awaited


class StreamEvent(Enum):
    OPEN = "open"
    OPENED = "opened"
    END = "end"
    CLOSED = "closed"
    FAILED = "failed"


_NEXT: dict[tuple[StreamState, StreamEvent], StreamState] = {
    (StreamState.NONE, StreamEvent.OPEN): StreamState.OPENING,
    (StreamState.OPENING, StreamEvent.OPENED): StreamState.OPEN,
    (StreamState.OPENING, StreamEvent.END): StreamState.ENDING,
    (StreamState.OPENING, StreamEvent.CLOSED): StreamState.NONE,
    (StreamState.OPENING, StreamEvent.FAILED): StreamState.NONE,
    (StreamState.OPEN, StreamEvent.END): StreamState.ENDING,
    (StreamState.OPEN, StreamEvent.CLOSED): StreamState.NONE,
    (StreamState.OPEN, StreamEvent.FAILED): StreamState.NONE,
    (StreamState.ENDING, StreamEvent.OPENED): StreamState.ENDING,
    (StreamState.ENDING, StreamEvent.CLOSED): StreamState.NONE,
    (StreamState.ENDING, StreamEvent.FAILED): StreamState.NONE,
}


def next_state(state: StreamState, event: StreamEvent) -> StreamState:
    """The state after `event`; raises IllegalEvent where the table has no entry."""
    try:
        return _NEXT[state, event]
    except KeyError:
        raise IllegalEvent(state.value, event.value) from None
