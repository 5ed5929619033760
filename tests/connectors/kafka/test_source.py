"""The parts of the source that need no runner: tracker, grouping, end of a bounded replay, options."""

from __future__ import annotations

import pytest
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.client import ClientConfig
from connectors.kafka.records import KafkaRecord
from connectors.kafka.shared_consumer import Batch
from connectors.kafka.source import (
    UNBOUNDED,
    PartitionRestrictions,
    PartitionTracker,
    ReadFromKafka,
    _grouped,
    _until,
)


def record(offset: int, key: bytes | None, timestamp_ms: int = 0) -> KafkaRecord:
    return KafkaRecord("t", 0, offset, timestamp_ms, 0, key, b"v")


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999, 1.0])
def test_a_runner_cannot_split_a_partition(fraction: float) -> None:
    tracker = PartitionTracker(OffsetRange(10, UNBOUNDED))
    assert tracker.try_split(fraction) is None
    assert tracker.try_claim(12)
    assert tracker.try_split(fraction) is None


def test_the_readers_own_checkpoint_goes_on_behind_the_last_claim() -> None:
    tracker = PartitionTracker(OffsetRange(10, UNBOUNDED))
    assert tracker.try_claim(12)
    primary, residual = tracker.try_split(0)
    assert (primary.start, primary.stop) == (10, 13)
    assert (residual.start, residual.stop) == (13, UNBOUNDED)
    tracker.check_done()


def test_a_checkpoint_without_a_claim_leaves_everything() -> None:
    tracker = PartitionTracker(OffsetRange(10, UNBOUNDED))
    _, residual = tracker.try_split(0)
    assert residual.start == 10
    assert not tracker.try_claim(11)
    tracker.check_done()


def test_only_a_replay_is_bounded() -> None:
    restrictions = PartitionRestrictions()
    live = restrictions.initial_restriction(("t", 0, 5, UNBOUNDED))
    replay = restrictions.initial_restriction(("t", 0, 5, 9))
    assert not PartitionTracker(live).is_bounded()
    assert PartitionTracker(replay).is_bounded()
    assert restrictions.truncate(("t", 0, 5, UNBOUNDED), live) is None
    assert restrictions.truncate(("t", 0, 5, 9), replay) == replay


def test_an_end_before_the_start_is_an_empty_range() -> None:
    assert PartitionRestrictions().initial_restriction(("t", 0, 9, 5)).size() == 0


def test_one_element_per_key_in_order_at_the_smallest_timestamp() -> None:
    batch = [record(1, b"b", 5000), record(2, b"a", 3000), record(3, b"b", 4000), record(4, None, 1)]
    elements = list(_grouped(batch))
    assert [(e.value[0], [fields[2] for fields in e.value[1]]) for e in elements] == [
        (b"b", [1, 3]),
        (b"a", [2]),
        (b"", [4]),
    ]
    assert elements[0].timestamp == Timestamp(4)


def test_a_record_without_a_timestamp_counts_as_now() -> None:
    before = Timestamp.now()
    [element] = _grouped([record(1, b"k", -1)])
    assert element.timestamp >= before


def test_a_replay_stops_at_its_end() -> None:
    batch = Batch([record(offset, b"k") for offset in (3, 4, 5)], 8)
    assert [r.offset for r in _until(batch, 5).records] == [3, 4]
    assert _until(batch, 5).next_offset == 5
    assert _until(batch, 8) is batch


def test_committed_needs_a_group() -> None:
    with pytest.raises(ValueError, match="group_id"):
        ReadFromKafka(ClientConfig.build("localhost:9092"), ["t"], start="committed")
