"""What was heard of a partition: up to where, and since when without a break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.hearing import Hearing, hear


def test_a_partition_is_known_up_to_its_newest_record() -> None:
    old = hear(None, 100.0, 30.0)
    assert old == Hearing(70.0, 100.0, 100.0)
    assert not old.is_current(100.0)
    assert hear(old, 101.0, 0.5).is_current(102.4)
    assert not hear(old, 101.0, 0.5).is_current(102.6)


def test_an_older_record_takes_nothing_back() -> None:
    assert hear(hear(None, 10.0, 0.0), 10.1, 5.0).known_at == 10.0


def test_what_comes_after_a_break_is_not_everybody_s_at_once() -> None:
    source = hear(hear(None, 0.0, 0.0), 11.0, 0.0)
    assert not source.has_settled(13.9)
    assert source.has_settled(14.0)


@given(st.lists(st.floats(0.0, 2.0), min_size=1), st.floats(2.01, 60.0))
def test_only_a_break_begins_anew(steps: list[float], away_seconds: float) -> None:
    now, source = 0.0, hear(None, 0.0, 0.0)
    for step in steps:
        now += step
        source = hear(source, now, 0.1)
    assert source.since == 0.0
    now += away_seconds
    assert hear(source, now, 0.1).since == now
