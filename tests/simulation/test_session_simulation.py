"""The session engine through thousands of random failures: whatever breaks, the transcript is what was said.

A failing seed is printed with the command that plays it again. `MEDSTREAM_SIMULATION_SEEDS=1000:200 pytest
tests/simulation` plays 200 seeds from 1000; `make simulate SEEDS=0:100000` plays more, with progress.
"""

from __future__ import annotations

import pytest

from tests.simulation.runs import Failure, play, play_all, seeds_wanted

_SHOWN_FAILURES = 3
_ENOUGH_SEEDS = 1000  # for everything that can happen to have happened

# What engines observe (metrics) and what the world does to them, by name.
_MUST_HAPPEN = {
    *("duplicate_chunks", "reordered_chunks", "late_chunks", "gaps", "sequence_restarts"),
    *("stream_retries", "throttles", "rotations", "streams_closed_idle", "outbound_overflows"),
    *("kill", "tear", "restore_under", "move", "pause_and_move", "stall", "outage", "break_streams"),
}


@pytest.mark.timeout(1800)
def test_finals_say_exactly_what_was_recorded() -> None:
    outcome = play_all(*seeds_wanted())
    assert not outcome.failures, _report(outcome.failures)
    if outcome.seeds >= _ENOUGH_SEEDS:
        assert set(outcome.seen) >= _MUST_HAPPEN, _MUST_HAPPEN - set(outcome.seen)


def _report(failures: list[Failure]) -> str:
    shown = "\n".join(map(str, failures[:_SHOWN_FAILURES]))
    return f"{len(failures)} seeds failed: {[failure.seed for failure in failures]}\n{shown}"


def test_a_seed_is_the_same_world_whenever_it_is_played() -> None:
    for seed in range(20, 25):
        first, second = play(seed), play(seed)
        assert first.seen == second.seen
        assert first.scheduler.now == second.scheduler.now
        assert [p.finals for p in first.published.values()] == [p.finals for p in second.published.values()]
