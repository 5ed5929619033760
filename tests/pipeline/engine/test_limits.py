"""How often results are collected, by what the session's audio does."""

from __future__ import annotations

import pytest

from pipeline.engine.limits import SessionLimits

LIMITS = SessionLimits(poll_flowing_seconds=1.0, poll_paused_seconds=0.1, poll_waiting_seconds=0.5)


@pytest.mark.parametrize(
    ("quiet_seconds", "behind", "expected"),
    [(0.0, False, 1.0), (0.49, False, 1.0), (0.5, False, 0.1), (60.0, True, 0.1), (0.1, True, 0.5)],
)
def test_rarely_while_chunks_come_and_often_in_a_pause(
    quiet_seconds: float, behind: bool, expected: float
) -> None:
    assert LIMITS.poll_seconds(quiet_seconds, behind=behind) == expected


def test_whoever_wants_results_at_once_gets_them_so_in_any_state() -> None:
    """A recording that is played has no chunks that drive it."""
    limits = SessionLimits(poll_flowing_seconds=0.05, poll_paused_seconds=0.05)
    assert {limits.poll_seconds(quiet, behind=behind) for quiet in (0, 9) for behind in (True, False)} == {
        0.05
    }
