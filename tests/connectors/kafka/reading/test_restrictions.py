"""The trackers as Beam uses them: who may split, what is left, what is done, how much there is to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.reading.discovery import KnownTopics
from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange
from connectors.kafka.reading.restrictions import (
    DiscoveryRestrictions,
    DiscoveryTracker,
    Listed,
    PartitionRestrictions,
    PartitionTracker,
    Reached,
)

LIVE = PartitionRange(10, UNBOUNDED, 15)


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999, 1.0])
def test_a_runner_cannot_split_a_partition(fraction: float) -> None:
    tracker = PartitionTracker(LIVE)
    assert tracker.try_split(fraction) is None
    assert tracker.try_claim(Reached(13))
    assert tracker.try_split(fraction) is None


def test_the_readers_own_checkpoint_goes_on_behind_the_last_claim() -> None:
    tracker = PartitionTracker(LIVE)
    assert tracker.try_claim(Reached(13, 20))
    assert tracker.try_split(0) == (PartitionRange(10, 13, 20), PartitionRange(13, UNBOUNDED, 20))
    assert tracker.try_split(0) is None
    assert tracker.check_done()


def test_a_checkpoint_without_a_claim_leaves_everything() -> None:
    tracker = PartitionTracker(LIVE)
    split = tracker.try_split(0)
    assert split is not None
    assert split[1].start == 10
    assert not tracker.try_claim(Reached(12))
    assert tracker.check_done()


def test_a_replay_is_done_at_its_end_and_not_before() -> None:
    tracker = PartitionTracker(PartitionRange(10, 15, 15))
    assert tracker.try_claim(Reached(14))
    with pytest.raises(ValueError, match="14 to 14"):
        tracker.check_done()
    assert tracker.try_claim(Reached(15))
    assert tracker.check_done()
    assert tracker.try_split(0) is None


def test_a_claim_cannot_go_back() -> None:
    tracker = PartitionTracker(LIVE)
    tracker.try_claim(Reached(13))
    with pytest.raises(ValueError, match="12"):
        tracker.try_claim(Reached(12))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.booleans())
def test_bundle_after_bundle_every_offset_is_done_once(
    steps: list[tuple[int, int]], is_bounded: bool
) -> None:
    """(records read, records written meanwhile) per bundle; the residual goes through its coder."""
    restrictions = PartitionRestrictions()
    coder = restrictions.restriction_coder()
    stop = 300 if is_bounded else UNBOUNDED
    left, done_to, log_end = PartitionRange(0, stop, 0), 0, 0
    for count, written in steps:
        log_end += written
        tracker = restrictions.create_tracker(coder.decode(coder.encode(left)))
        reached = min(left.start + count, log_end, stop)
        assert tracker.try_claim(Reached(reached, log_end))
        split = tracker.try_split(0)
        if split is None:
            assert reached == stop
            return
        primary, left = split
        assert (primary.start, primary.stop) == (done_to, left.start)
        assert tracker.check_done()
        done_to = primary.stop
        assert restrictions.restriction_size(("t", 0, 0, stop, 0), left) == max(
            0, min(log_end, stop) - left.start
        )


def test_progress_counts_what_is_in_the_log() -> None:
    tracker = PartitionTracker(LIVE)
    progress = tracker.current_progress()
    assert (progress.completed_work, progress.remaining_work) == (0, 5)
    tracker.try_claim(Reached(13, 20))
    progress = tracker.current_progress()
    assert (progress.completed_work, progress.remaining_work) == (3, 7)
    tracker.try_claim(Reached(20, 20))
    assert tracker.current_progress().fraction_completed == 1.0


def test_only_a_replay_is_bounded_and_only_that_is_drained_to_its_end() -> None:
    restrictions = PartitionRestrictions()
    live = restrictions.initial_restriction(("t", 0, 5, UNBOUNDED, 7))
    replay = restrictions.initial_restriction(("t", 0, 5, 9, 12))
    assert (live.backlog_records, replay.backlog_records) == (2, 4)
    assert not restrictions.create_tracker(live).is_bounded()
    assert restrictions.create_tracker(replay).is_bounded()
    assert restrictions.truncate(("t", 0, 5, UNBOUNDED, 7), live) is None
    assert restrictions.truncate(("t", 0, 5, 9, 12), replay) == replay


def test_an_end_before_the_start_is_an_empty_range() -> None:
    empty = PartitionRestrictions().initial_restriction(("t", 0, 9, 5, 9))
    assert (empty.start, empty.stop) == (9, 9)
    assert PartitionTracker(empty).check_done()


class TestDiscovery:
    def test_what_was_found_is_left_for_the_next_listing(self) -> None:
        restrictions = DiscoveryRestrictions()
        coder = restrictions.restriction_coder()
        tracker = restrictions.create_tracker(restrictions.initial_restriction(b""))
        known = tracker.current_restriction().with_found({"a": 2})
        assert tracker.try_claim(Listed(known, last=False))
        split = tracker.try_split(0)
        assert split is not None
        assert coder.decode(coder.encode(split[1])) == known
        assert tracker.check_done()

    def test_after_the_last_listing_nothing_is_left(self) -> None:
        tracker = DiscoveryTracker(KnownTopics())
        assert tracker.try_claim(Listed(KnownTopics().with_found({"a": 2}), last=True))
        assert tracker.try_split(0) is None
        assert tracker.check_done()

    def test_a_discovery_that_goes_on_must_be_deferred(self) -> None:
        tracker = DiscoveryTracker(KnownTopics())
        tracker.try_claim(Listed(KnownTopics().with_found({}), last=False))
        with pytest.raises(ValueError, match="deferred"):
            tracker.check_done()

    @pytest.mark.parametrize("fraction", [0.001, 0.5, 1.0])
    def test_a_runner_cannot_split_it(self, fraction: float) -> None:
        assert DiscoveryTracker(KnownTopics()).try_split(fraction) is None

    def test_a_runners_checkpoint_before_the_listing_comes_first(self) -> None:
        tracker = DiscoveryTracker(KnownTopics())
        assert tracker.try_split(0) == (KnownTopics(), KnownTopics())
        assert not tracker.try_claim(Listed(KnownTopics().with_found({"a": 1}), last=False))

    def test_it_is_no_backlog_and_ends_with_a_drain(self) -> None:
        restrictions = DiscoveryRestrictions()
        assert restrictions.restriction_size(b"", KnownTopics()) == 0
        assert restrictions.truncate(b"", KnownTopics()) is None
