"""The table of a session's states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.session_state import SessionEvent, SessionState, next_state
from pipeline.errors import IllegalEvent


@pytest.mark.parametrize(
    "life",
    [
        "idle open opening opened streaming end draining closed idle done ended",
        "idle audio_left waiting slot recovering caught_up streaming audio_left behind caught_up streaming",
        "streaming lost waiting slot recovering rotate rotating closed recovering nothing_left idle",
        "opening audio_left behind rotate rotating lost waiting nothing_left idle",
        "opening refuse rejected",
        "draining refuse rejected",
        "recovering end draining lost waiting",
    ],
)
def test_a_life_goes_by_the_table(life: str) -> None:
    words = life.split()
    state = SessionState[words[0].upper()]
    for event, expected in zip(words[1::2], words[2::2], strict=True):
        state = next_state(state, SessionEvent[event.upper()])
        assert state is SessionState[expected.upper()]


@pytest.mark.parametrize("state", [SessionState.ENDED, SessionState.REJECTED])
@pytest.mark.parametrize("event", list(SessionEvent))
def test_nothing_moves_a_finished_session(state: SessionState, event: SessionEvent) -> None:
    assert state.finished
    with pytest.raises(IllegalEvent) as caught:
        next_state(state, event)
    assert (caught.value.state, caught.value.event) == (state.value, event.value)


@given(st.lists(st.sampled_from(list(SessionEvent)), max_size=30))
def test_a_stream_is_never_opened_over_another(events: list[SessionEvent]) -> None:
    """OPEN is legal in IDLE only, and IDLE is reached only by events that leave no stream."""
    state = SessionState.IDLE
    streams = 0
    for event in events:
        try:
            state = next_state(state, event)
        except IllegalEvent:
            continue
        if event is SessionEvent.OPEN:
            streams += 1
        elif event in (SessionEvent.CLOSED, SessionEvent.LOST, SessionEvent.REFUSE):
            streams = 0
        assert streams <= 1
