"""Bounds of the waits between retries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.backoff import full_jitter


@given(st.integers(1, 500))
def test_a_wait_lies_between_zero_and_the_doubling_bound_never_above_twenty_seconds(failures: int) -> None:
    bound = min(20.0, 0.25 * 2 ** min(failures - 1, 60))
    assert all(0.0 <= full_jitter(failures) <= bound for _ in range(20))


def test_waits_are_spread_over_the_whole_range() -> None:
    waits = [full_jitter(20) for _ in range(400)]
    assert min(waits) < 5.0
    assert max(waits) > 15.0
    assert len(set(waits)) > 300
