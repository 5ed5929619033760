"""The shared consumer over a scripted one: who gets what, when, and what happens when it fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import ConsumerRecord

from connectors.kafka.errors import BrokerUnreachable, LostOffsets, ReadFailed, ReadStuck
from connectors.kafka.reading.shared_consumer import SharedConsumer


def fetched(partition: int, offset: int, value: bytes = b"v") -> Any:
    return ConsumerRecord("t", partition, -1, offset, 1000, 0, b"k", value, [], None, 1, len(value), -1)


@dataclass
class ScriptedConsumer:
    """A log in memory with the interface of kafka-python's consumer, which fails when two threads are
    inside.
    """

    logs: dict[int, list[int]]
    value: bytes = b"v"
    log_start: int = 0
    failures: deque[Exception] = field(default_factory=deque)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    paused: set[TopicPartition] = field(default_factory=set)
    polls: int = 0
    closed: bool = False
    inside: threading.Lock = field(default_factory=threading.Lock)

    def assign(self, places: list[TopicPartition]) -> None:
        with self._alone():
            self.positions = {place: self.positions.get(place, 0) for place in places}

    def seek(self, place: TopicPartition, offset: int) -> None:
        with self._alone():
            self.positions[place] = offset

    def pause(self, place: TopicPartition) -> None:
        self.paused.add(place)

    def resume(self, place: TopicPartition) -> None:
        self.paused.discard(place)

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Any]]:
        with self._alone():
            self.polls += 1
            deadline = time.monotonic() + timeout_ms / 1000
            while True:
                if self.failures:
                    raise self.failures.popleft()
                found = self._take(max_records)
                if found or time.monotonic() >= deadline:
                    return found
                time.sleep(0.002)

    def position(self, place: TopicPartition, timeout_ms: int) -> int:  # noqa: ARG002
        return self.positions[place]

    def highwater(self, place: TopicPartition) -> int:
        return max(self.logs.get(place.partition, []), default=-1) + 1

    def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self.log_start)

    def close(self) -> None:
        self.closed = True

    def _take(self, max_records: int) -> dict[TopicPartition, list[Any]]:
        found: dict[TopicPartition, list[Any]] = {}
        for place, position in self.positions.items():
            if position < self.log_start:
                raise kafka_errors.OffsetOutOfRangeError({place: position})
            offsets = [offset for offset in self.logs.get(place.partition, []) if offset >= position]
            if offsets and place not in self.paused:
                found[place] = [
                    fetched(place.partition, offset, self.value) for offset in offsets[:max_records]
                ]
                self.positions[place] = offsets[:max_records][-1] + 1
        return found

    def _alone(self) -> threading.Lock:
        assert not self.inside.locked(), "two threads use the consumer"
        return self.inside


def read(shared: SharedConsumer, partition: int, offset: int, **limits: Any) -> tuple[list[int], int]:
    wanted = {"max_records": 100, "min_interval_seconds": 0.0, "idle_seconds": 0.05} | limits
    batch = shared.read("t", partition, offset, **wanted)
    assert all(record.partition == partition for record in batch.records)
    return [record.offset for record in batch.records], batch.next_offset


def test_records_come_in_order_and_the_next_read_goes_on() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(10))}))
    assert read(shared, 0, 3, max_records=4) == ([3, 4, 5, 6], 7)
    assert read(shared, 0, 7) == ([7, 8, 9], 10)
    assert read(shared, 0, 10) == ([], 10)


def test_a_batch_holds_so_many_bytes_and_at_least_one_record() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(10))}, value=bytes(99)))  # and the key
    assert read(shared, 0, 0, max_bytes=300) == ([0, 1, 2], 3)
    assert read(shared, 0, 3, max_bytes=299) == ([3, 4], 5)
    assert read(shared, 0, 5, max_bytes=1) == ([5], 6)
    assert read(shared, 0, 6, max_bytes=10_000) == ([6, 7, 8, 9], 10)


def test_a_full_batch_by_bytes_does_not_wait_for_the_interval() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(50))}, value=bytes(99)))
    began, offset = time.monotonic(), 0
    while offset < 50:
        limits = {"min_interval_seconds": 10, "idle_seconds": 30}
        _, offset = read(shared, 0, offset, max_bytes=1000, **limits)
    assert time.monotonic() - began < 5


def test_a_batch_tells_the_end_of_the_log_and_the_process_its_lag() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(10)), 1: list(range(4))}))
    limits = {"min_interval_seconds": 0.0, "idle_seconds": 1.0}
    batch = shared.read("t", 0, 0, max_records=3, **limits)
    assert (batch.next_offset, batch.log_end) == (3, 10)
    assert shared.lag_records() == 7
    assert read(shared, 1, 1, max_records=1) == ([1], 2)
    assert shared.lag_records() == 9
    assert shared.lags() == {("t", 0): 7, ("t", 1): 2}


def test_a_partition_that_nobody_reads_any_more_has_no_lag_to_show() -> None:
    later = 0.0
    shared = SharedConsumer(lambda: ScriptedConsumer({0: [0, 1]}), lambda: time.monotonic() + later)
    read(shared, 0, 0, max_records=1)
    assert shared.lags() == {("t", 0): 1}
    later = 61.0
    assert shared.lags() == {}


def test_a_partition_that_is_released_is_fetched_no_more() -> None:
    consumer = ScriptedConsumer({0: [0, 1], 1: []})
    shared = SharedConsumer(lambda: consumer)
    read(shared, 1, 0)
    assert read(shared, 0, 0, max_records=1) == ([0], 1)
    shared.release("t", 0)
    shared.release("t", 0)
    assert list(consumer.positions) == [TopicPartition("t", 1)]
    began = time.monotonic()
    assert read(shared, 1, 0, idle_seconds=0.3) == ([], 0)
    assert time.monotonic() - began >= 0.3


def test_holes_in_the_log_are_passed() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: [1, 5, 9]}))
    assert read(shared, 0, 0, max_records=2) == ([1, 5], 6)
    assert read(shared, 0, 6) == ([9], 10)


def test_an_offset_elsewhere_moves_the_reader() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(10))}))
    assert read(shared, 0, 5, max_records=2) == ([5, 6], 7)
    assert read(shared, 0, 2, max_records=2) == ([2, 3], 4)
    assert read(shared, 0, 4, max_records=2) == ([4, 5], 6)


def test_an_idle_partition_returns_as_soon_as_another_one_has_data() -> None:
    consumer = ScriptedConsumer({0: []})
    shared = SharedConsumer(lambda: consumer)
    read(shared, 0, 0)
    read(shared, 1, 0)
    threading.Timer(0.05, lambda: consumer.logs.update({1: [0]})).start()
    began = time.monotonic()
    assert read(shared, 0, 0, idle_seconds=5) == ([], 0)
    assert time.monotonic() - began < 4
    assert read(shared, 1, 0, idle_seconds=5) == ([0], 1)


def test_the_first_read_of_an_empty_partition_does_not_hold_up_the_others() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: []}))
    began = time.monotonic()
    assert read(shared, 0, 0, idle_seconds=5) == ([], 0)
    assert time.monotonic() - began < 4
    assert read(shared, 0, 0, idle_seconds=0.3) == ([], 0)
    assert time.monotonic() - began >= 0.3


def test_a_busy_partition_returns_at_most_once_per_interval_and_collects_meanwhile() -> None:
    consumer = ScriptedConsumer({0: [0]})
    shared = SharedConsumer(lambda: consumer)
    limits = {"min_interval_seconds": 2, "idle_seconds": 5}
    began = time.monotonic()
    assert read(shared, 0, 0, **limits) == ([0], 1)
    assert time.monotonic() - began < 1.5  # the first record after a pause is not held back
    consumer.logs[0] = [0, 1]
    threading.Timer(0.1, lambda: consumer.logs.update({0: [0, 1, 2]})).start()
    assert read(shared, 0, 1, **limits) == ([1, 2], 3)
    assert time.monotonic() - began >= 2


def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({0: list(range(100))}))
    began = time.monotonic()
    offset = 0
    while offset < 100:
        _, offset = read(shared, 0, offset, max_records=10, min_interval_seconds=10, idle_seconds=30)
    assert time.monotonic() - began < 5


def test_many_threads_share_one_consumer() -> None:
    consumer = ScriptedConsumer({partition: [] for partition in range(4)})
    shared = SharedConsumer(lambda: consumer)
    got: dict[int, list[int]] = {partition: [] for partition in range(4)}
    errors: list[Exception] = []

    def follow(partition: int) -> None:
        offset, deadline = 0, time.monotonic() + 10
        try:
            while len(got[partition]) < 30 and time.monotonic() < deadline:
                offsets, offset = read(shared, partition, offset, min_interval_seconds=0.01, idle_seconds=0.3)
                got[partition] += offsets
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=follow, args=(partition,)) for partition in range(4)]
    for thread in threads:
        thread.start()
    for number in range(30):
        for partition in range(4):
            consumer.logs[partition] = list(range(number + 1))
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert not errors
    assert got == {partition: list(range(30)) for partition in range(4)}


def test_a_reader_that_waits_gives_way_to_a_new_partition() -> None:
    shared = SharedConsumer(lambda: ScriptedConsumer({1: [0]}))
    waiting = threading.Thread(target=read, args=(shared, 0, 0), kwargs={"idle_seconds": 2})
    waiting.start()
    time.sleep(0.05)
    began = time.monotonic()
    assert read(shared, 1, 0, idle_seconds=5) == ([0], 1)
    assert time.monotonic() - began < 4
    waiting.join()


def test_a_reader_whose_partition_is_taken_over_returns_nothing() -> None:
    consumer = ScriptedConsumer({0: []})
    shared = SharedConsumer(lambda: consumer)
    results: list[tuple[list[int], int]] = []
    stale = threading.Thread(target=lambda: results.append(read(shared, 0, 0, idle_seconds=2)))
    stale.start()
    time.sleep(0.05)
    read(shared, 0, 7)
    consumer.logs[0] = [7]
    stale.join(timeout=5)
    assert results == [([], 0)]


def test_lost_offsets_are_told_to_their_partition_only() -> None:
    consumer = ScriptedConsumer({0: [20], 1: [20]}, log_start=20)
    shared = SharedConsumer(lambda: consumer)
    with pytest.raises(LostOffsets) as caught:
        read(shared, 0, 5, idle_seconds=1)
    assert (caught.value.first_offset, caught.value.end_offset) == (5, 20)
    assert read(shared, 1, 20) == ([20], 21)
    assert read(shared, 0, 20) == ([20], 21)


def test_an_offset_beyond_the_end_is_no_loss() -> None:
    consumer = ScriptedConsumer({0: []}, failures=deque([_out_of_range(99)]))
    with pytest.raises(ReadFailed, match="created anew"):
        read(SharedConsumer(lambda: consumer), 0, 99, idle_seconds=1)


def _out_of_range(offset: int) -> Exception:
    return kafka_errors.OffsetOutOfRangeError({TopicPartition("t", 0): offset})


def test_a_failed_consumer_is_replaced() -> None:
    opened: list[ScriptedConsumer] = []

    def open_consumer() -> ScriptedConsumer:
        failures = deque([RuntimeError("PATIENT-WORDS")] if not opened else [])
        opened.append(ScriptedConsumer({0: [0]}, failures=failures))
        return opened[-1]

    shared = SharedConsumer(open_consumer)
    with pytest.raises(ReadFailed, match="RuntimeError") as caught:
        read(shared, 0, 0)
    assert caught.value.retryable
    assert "PATIENT-WORDS" not in str(caught.value)
    assert opened[0].closed
    assert read(shared, 0, 0) == ([0], 1)


def test_after_a_poll_that_stuck_another_consumer_goes_on_for_every_partition() -> None:
    opened: list[ScriptedConsumer] = []

    def open_consumer() -> ScriptedConsumer:
        opened.append(ScriptedConsumer({0: [0, 1, 2], 1: [5, 6]}))
        return opened[-1]

    shared = SharedConsumer(open_consumer)
    assert read(shared, 0, 0, max_records=1) == ([0], 1)
    assert read(shared, 1, 5, max_records=1) == ([5], 6)
    opened[0].logs = {0: [0, 1, 2, 3], 1: [5, 6, 7]}
    opened[0].failures.append(ReadStuck("t", 0, 30.0))
    assert read(shared, 0, 1, idle_seconds=1, min_interval_seconds=0.05) == ([1, 2], 3)
    assert read(shared, 1, 6, idle_seconds=1) == ([6], 7)
    assert len(opened) == 2
    assert set(opened[1].positions) == {TopicPartition("t", 0), TopicPartition("t", 1)}


def test_what_a_stuck_poll_had_and_did_not_hand_over_is_fetched_again() -> None:
    opened: list[ScriptedConsumer] = []

    def open_consumer() -> ScriptedConsumer:
        opened.append(ScriptedConsumer({0: [0, 1]}))
        return opened[-1]

    shared = SharedConsumer(open_consumer)
    read(shared, 0, 0, max_records=2)
    opened[0].positions[TopicPartition("t", 0)] = 4  # as if it had taken 2 and 3, and then stuck
    opened[0].failures.append(ReadStuck("t", 0, 30.0))
    threading.Timer(0.1, lambda: opened[-1].logs.update({0: [0, 1, 2, 3]})).start()
    assert read(shared, 0, 2, idle_seconds=5) == ([2, 3], 4)
    assert len(opened) == 2


def test_a_consumer_that_cannot_be_replaced_fails_its_readers() -> None:
    stuck = ScriptedConsumer({0: [0]}, failures=deque([ReadStuck("t", 0, 30.0)]))
    answers = deque([stuck])

    def open_consumer() -> ScriptedConsumer:
        if not answers:
            raise BrokerUnreachable("h:1", "refused")
        return answers.popleft()

    with pytest.raises(ReadFailed, match="BrokerUnreachable") as caught:
        read(SharedConsumer(open_consumer), 0, 0)
    assert caught.value.retryable


def test_an_idle_read_polls_seldom() -> None:
    consumer = ScriptedConsumer({0: []})
    read(SharedConsumer(lambda: consumer), 0, 0, idle_seconds=1.0)
    assert consumer.polls < 12
