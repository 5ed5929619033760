"""Partitions merged by time: nothing lost, order of each kept, and nobody waits for ever."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.recordings.time_merge import TimeMerge
from connectors.kafka.records import KafkaRecord


def record(partition: int, offset: int, timestamp_ms: int) -> KafkaRecord:
    return KafkaRecord("t", partition, offset, timestamp_ms, 0, b"k", b"v")


def merge(partitions: int, **options: float) -> TimeMerge:
    places = [("t", number) for number in range(partitions)]
    return TimeMerge(places, 0.0, **{"max_bytes": 10_000, **options})  # type: ignore[arg-type]


LOGS = st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4)


@given(LOGS, st.randoms(use_true_random=False))
def test_any_arrival_gives_each_partition_in_order_and_all_by_time(
    logs: list[list[int]], chance: object
) -> None:
    merged = merge(len(logs))
    arrivals = [place for place, times in enumerate(logs) for _ in times]
    chance.shuffle(arrivals)  # type: ignore[attr-defined]
    read, out = [0] * len(logs), []
    for place in range(len(logs)):
        if not logs[place]:
            merged.reached_end(("t", place), for_good=True)
    for place in arrivals:
        merged.add(record(place, read[place], logs[place][read[place]]), 0.0)
        read[place] += 1
        if read[place] == len(logs[place]):
            merged.reached_end(("t", place), for_good=True)
        out += merged.take(0.0)
    assert merged.is_done
    assert len(out) == sum(map(len, logs))
    counted = [itertools.count() for _ in logs]
    latest: list[int] = [0] * len(logs)
    times = []
    for one in out:
        assert one.offset == next(counted[one.partition])
        latest[one.partition] = max(latest[one.partition], one.timestamp_ms)
        times.append(latest[one.partition])
    assert times == sorted(times)


def test_a_partition_that_may_have_an_earlier_record_is_waited_for() -> None:
    merged = merge(2)
    merged.add(record(0, 0, 5), 0.0)
    assert merged.take(1.9) == []
    merged.add(record(1, 0, 3), 1.9)
    assert [one.timestamp_ms for one in merged.take(1.9)] == [3]


def test_but_not_for_ever_and_not_at_its_end() -> None:
    merged = merge(2)
    merged.add(record(0, 0, 5), 1.0)
    assert [one.timestamp_ms for one in merged.take(2.1)] == [5]
    merged = merge(2)
    merged.add(record(0, 0, 5), 0.0)
    merged.reached_end(("t", 1), for_good=False)
    assert len(merged.take(0.0)) == 1
    assert not merged.is_done


def test_one_that_ran_out_is_waited_for_from_then_on() -> None:
    merged = merge(2)
    merged.add(record(0, 0, 5), 0.0)
    merged.add(record(1, 0, 7), 10.0)
    assert [one.timestamp_ms for one in merged.take(10.0)] == [5]
    assert merged.take(11.9) == []
    assert [one.timestamp_ms for one in merged.take(12.0)] == [7]


def test_full_until_taken() -> None:
    merged = merge(2, max_bytes=1000)
    for number in range(4):
        merged.add(record(0, number, number), 0.0)
    assert merged.full(("t", 0))
    assert not merged.full(("t", 1))
    merged.reached_end(("t", 1), for_good=True)
    merged.take(0.0)
    assert not merged.full(("t", 0))
