"""The commit gate against a runner that finalizes all ended bundles when a checkpoint completes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.reading.commit_gate import CommitGate, EndedBundle


def test_an_offset_is_committed_by_the_round_after_its_own() -> None:
    gate = CommitGate()
    first = gate.ended(10, 20, now=1)
    assert gate.finalized(first, now=2) is None
    second = gate.ended(20, 30, now=3)
    assert gate.finalized(second, now=4) == 20


def test_bundles_of_one_round_are_one() -> None:
    gate = CommitGate()
    bundles = [gate.ended(10 * number, 10 * number + 10, now=number) for number in range(3)]
    assert [gate.finalized(bundle, now=5 + number) for number, bundle in enumerate(bundles)] == [None] * 3
    assert gate.finalized(gate.ended(30, 30, now=9), now=10) == 30


def test_a_restored_job_commits_nothing_of_its_past() -> None:
    gate = CommitGate()
    stale = gate.ended(0, 100, now=1)
    assert gate.finalized(stale, now=2) is None
    again = gate.ended(50, 60, now=3)  # restored to 50: what came behind it is read again
    assert gate.finalized(again, now=4) is None
    assert gate.finalized(stale, now=5) is None
    assert gate.finalized(gate.ended(60, 60, now=6), now=7) == 60


def test_the_age_of_a_checkpoint_counts_from_the_last_call_of_a_finalizer() -> None:
    gate = CommitGate()
    first = gate.ended(0, 5, now=10)
    assert (gate.covered_at, gate.read_at) == (10, 10), "before any, from the first bundle"
    second = gate.ended(5, 9, now=11)
    assert (gate.covered_at, gate.read_at) == (10, 11)
    gate.finalized(first, now=20)
    assert gate.covered_at == 20
    gate.ended(0, 9, now=30)  # restored
    assert gate.covered_at == 30
    gate.finalized(second, now=40)
    assert gate.covered_at == 30, "of the past: no checkpoint of the restored job"


@given(st.lists(st.sampled_from(["bundle", "barrier", "complete", "restore"]), max_size=60), st.randoms())
def test_what_is_committed_is_in_a_complete_checkpoint(actions: list[str], random: object) -> None:
    """A source, its checkpoints and its restores; the runner finalizes in any order and, as the portable
    Flink runner does, bundles too that ended after the barrier.
    """
    gate, clock = CommitGate(), 0.0
    position = covered = committed = 0
    barrier: int | None = None
    outstanding: list[EndedBundle] = []
    for action in actions:
        clock += 0.3  # more often than finalizers are wanted
        if action == "bundle":
            ended = gate.ended(position, position + 5, clock)
            outstanding += [ended] if ended is not None else []
            position += 5
        elif action == "barrier" and barrier is None:
            barrier = position
        elif action == "complete" and barrier is not None:
            covered, barrier = barrier, None
            random.shuffle(outstanding)  # type: ignore[attr-defined]
            for bundle in outstanding:
                clock += 1
                committed = gate.finalized(bundle, clock) or committed
                assert committed <= covered
            outstanding = []
        elif action == "restore":
            position, barrier, outstanding = covered, None, []


def test_one_finalizer_in_half_a_second_speaks_for_the_bundles_before_it() -> None:
    gate = CommitGate()
    bundles = [gate.ended(number, number + 1, now=number / 10) for number in range(12)]
    assert [bundle.next_offset for bundle in bundles if bundle is not None] == [1, 6, 11]
    assert gate.finalized(bundles[10], now=2) is None
    again = gate.ended(12, 13, now=2.1)
    assert gate.finalized(again, now=3) == 11
    assert gate.ended(13, 13, now=2.2) is None
    assert gate.ended(13, 13, now=2.3, leaving=True) is not None, "nothing comes after it"
    assert gate.ended(5, 6, now=2.4) is not None, "a restored job begins"


def test_rounds_that_take_long_have_few_finalizers_too() -> None:
    gate, waiting, asked = CommitGate(), [], []
    for tick in range(700):  # a read each tenth of a second, a checkpoint each ten
        now = tick / 10
        bundle = gate.ended(tick, tick + 1, now)
        waiting += [] if bundle is None else [bundle]
        if tick % 100 == 99:
            asked.append(len(waiting))
            committed = [gate.finalized(each, now) for each in waiting]
            waiting = []
    assert asked == [10, 10, 4, 4, 4, 4, 4]
    assert max(offset for offset in committed if offset is not None) >= 570


def test_a_round_that_took_very_long_is_no_measure() -> None:
    gate = CommitGate()
    for second in (0, 1000, 2000):
        bundle = gate.ended(second, second + 1000, now=second)
        assert bundle is not None
        gate.finalized(bundle, now=second + 0.1)
    assert gate.ended(3000, 3001, now=2014.0) is None
    assert gate.ended(3001, 3002, now=2015.1) is not None


def test_nothing_is_known_of_the_first_rounds_and_they_have_few_finalizers_too() -> None:
    gate = CommitGate()
    asked = [gate.ended(tick, tick + 1, now=tick / 10) is not None for tick in range(600)]
    assert sum(asked) == 16, "120 with one in half a second: what they hold stays with the worker"


def test_a_source_that_stands_still_is_committed_to_its_end() -> None:
    gate, committed = CommitGate(), None
    bundle = gate.ended(0, 7, now=0)
    for second in range(1, 4):
        committed = gate.finalized(bundle, now=second) or committed
        bundle = gate.ended(7, 7, now=second + 0.5)
    assert committed == 7
