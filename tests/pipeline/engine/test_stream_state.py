"""The whole table of a stream's life: every state with every event."""

from __future__ import annotations

import itertools

import pytest

from pipeline.engine.stream_state import StreamEvent, StreamState, next_state
from pipeline.errors import IllegalEvent

NONE, OPENING, OPEN, ENDING = StreamState.NONE, StreamState.OPENING, StreamState.OPEN, StreamState.ENDING
LEGAL = {
    (NONE, StreamEvent.OPEN): OPENING,
    (OPENING, StreamEvent.OPENED): OPEN,
    (OPENING, StreamEvent.END): ENDING,  # a very short session ends before its stream has opened
    (OPENING, StreamEvent.CLOSED): NONE,
    (OPENING, StreamEvent.FAILED): NONE,
    (OPEN, StreamEvent.END): ENDING,
    (OPEN, StreamEvent.CLOSED): NONE,
    (OPEN, StreamEvent.FAILED): NONE,
    (ENDING, StreamEvent.OPENED): ENDING,
    (ENDING, StreamEvent.CLOSED): NONE,
    (ENDING, StreamEvent.FAILED): NONE,
}
PAIRS = list(itertools.product(StreamState, StreamEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda member: member.value)
def test_every_pair_of_state_and_event_goes_where_the_table_says(
    state: StreamState, event: StreamEvent
) -> None:
    if (state, event) in LEGAL:
        assert next_state(state, event) is LEGAL[state, event]
        return
    with pytest.raises(IllegalEvent) as refused:
        next_state(state, event)
    assert (refused.value.state, refused.value.event) == (state.value, event.value)
    assert not refused.value.retryable


def test_every_state_can_be_left_and_every_stream_can_come_to_an_end() -> None:
    for state in (OPENING, OPEN, ENDING):
        assert next_state(state, StreamEvent.CLOSED) is NONE
        assert next_state(state, StreamEvent.FAILED) is NONE
