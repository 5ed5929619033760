"""Stream time to session time, against a plain count of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.stream_clock import StreamClock


def test_a_clock_counts_from_where_its_stream_begins() -> None:
    clock = StreamClock(100.0)
    assert (clock.start(1.5), clock.end(2.25)) == (101.5, 102.25)


def test_at_an_anchor_what_ends_lies_before_and_what_begins_behind() -> None:
    clock = StreamClock()
    clock.jump(5.0, 35.0)
    assert (clock.end(5.0), clock.start(5.0)) == (5.0, 35.0)
    assert (clock.end(5.2), clock.start(4.8)) == (35.2, 4.8)


@pytest.mark.parametrize("reported", [4.995, 5.0, 5.005])
def test_a_time_rounded_to_hundredths_does_not_slip_over_an_anchor(reported: float) -> None:
    clock = StreamClock()
    clock.jump(5.0, 35.0)
    assert clock.start(reported) == pytest.approx(35.0, abs=0.006)
    assert clock.end(reported) == pytest.approx(5.0, abs=0.006)


def test_the_beginning_can_be_named_later() -> None:
    clock = StreamClock()
    clock.jump(0.0, 12.0)
    assert clock.start(0.5) == 12.5


def test_only_a_session_s_first_stream_without_gaps_has_the_session_s_times() -> None:
    clock = StreamClock()
    assert clock.same
    clock.jump(5.0, 35.0)
    assert not clock.same
    assert not StreamClock(100.0).same
    assert not StreamClock(-1.0).same


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=20), st.integers(0, 49))
def test_every_moment_of_sent_audio_is_found_where_it_lies(parts: list[tuple[int, int]], within: int) -> None:
    """`parts`: tenths of seconds sent, and left out behind it."""
    clock, stream, session = StreamClock(), 0, 0
    placed = []
    for sent, left_out in parts:
        clock.jump(stream / 10, session / 10)
        placed.append((stream, session, sent))
        stream, session = stream + sent, session + sent + left_out
    for stream_start, session_start, sent in placed:
        moment = min(within, sent - 1)
        assert clock.start((stream_start + moment) / 10) == pytest.approx((session_start + moment) / 10)
        assert clock.end((stream_start + moment + 1) / 10) == pytest.approx((session_start + moment + 1) / 10)


def test_memory_is_bounded() -> None:
    clock = StreamClock()
    for number in range(5000):
        clock.jump(float(number), 2.0 * number)
    assert clock.start(4999.5) == 9998.5
    assert len(clock._stream) <= 1024
