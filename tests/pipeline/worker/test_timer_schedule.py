from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.timer_schedule import firing_to_set

UNIX = 1_700_000_000.0  # of a monotonic 0
moments = st.floats(0, 1e6)
waits = st.floats(-10, 600)


@given(now=moments, wait=waits, epoch=st.floats(1e9, 2e9))
def test_a_timer_that_is_not_set_fires_soon_after_the_wanted_moment(
    now: float, wait: float, epoch: float
) -> None:
    firing_at = firing_to_set(now + wait, None, now, unix_now=now + epoch)
    assert firing_at is not None
    late = firing_at - max(now, now + wait)
    assert -1e-5 <= late <= (0.25 if wait >= 0.5 else 0.05) + 1e-5


def test_sessions_that_want_to_be_called_at_moments_of_their_own_are_called_together() -> None:
    # A hundred sessions, each polled a second after its own chunk, within one second.
    firing = {
        round(found, 6)
        for n in range(100)
        if (found := firing_to_set(1 + n / 100, None, n / 100, unix_now=UNIX + n / 100)) is not None
    }
    assert len(firing) == 5


@pytest.mark.parametrize(
    ("wanted_at", "due_at", "expected"),
    [
        (11.02, 11.25, None),  # every chunk wants it a little later: it is not set for each of them
        (11.1, 11.25, None),
        (10.1, 11.25, 10.1),  # audio pauses: results are looked for sooner
        (10.1, 10.15, None),
        (300.0, 10.5, None),  # it fires too early, and is set anew then
        (11.0, 8.9, 11.0),  # a worker's that is gone
    ],
)
def test_a_timer_is_set_again_only_to_fire_earlier(
    wanted_at: float, due_at: float, expected: float | None
) -> None:
    firing_at = firing_to_set(wanted_at, due_at, 10.0, unix_now=UNIX + 10.0)
    assert firing_at == (None if expected is None else pytest.approx(expected, abs=1e-5))


@given(now=moments, wait=waits)
def test_what_was_just_set_stays(now: float, wait: float) -> None:
    firing_at = firing_to_set(now + wait, None, now, unix_now=UNIX + now)
    assert firing_to_set(now + wait, firing_at, now, unix_now=UNIX + now) is None
