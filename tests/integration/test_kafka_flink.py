"""Our source and sink on a real Flink and a real Kafka: complete, in order, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apache_beam.runners.runner import PipelineState
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.offsets import list_partitions
from connectors.kafka.reading.positions import COMMITTED
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from tests.integration import kafka_probe
from tests.integration.conftest import MakeTopic

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTITIONS = 4
SESSIONS = 8


class Output:
    """A plain consumer of the output topic, read on demand."""

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self._consumer = KafkaConsumer(
            topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", group_id=None
        )
        self.records: list[Any] = []

    def by_key(self) -> dict[bytes, list[int]]:
        """The values, which are numbers, by key."""
        numbers: dict[bytes, list[int]] = defaultdict(list)
        for record in self.records:
            numbers[record.key].append(int(record.value))
        return numbers

    def until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            for records in self._consumer.poll(timeout_ms=200).values():
                self.records.extend(records)
        return True

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, linger_ms=5)
    yield producer
    producer.close()


def send(producer: KafkaProducer, topic: str, numbers: range) -> None:
    """Each number once per session."""
    for number in numbers:
        for session in range(SESSIONS):
            producer.send(
                topic, b"%d" % number, b"session-%d" % session, headers=[("traceparent", b"00-1-2-01")]
            )
    producer.flush()


def without_repeats(numbers: list[int]) -> list[int]:
    """The numbers at their first occurrence."""
    return list(dict.fromkeys(numbers))


def test_a_bounded_replay_copies_every_record_once_with_headers_and_ends(
    flink: FlinkJobServer, kafka_broker: KafkaBroker, topic: MakeTopic, producer: KafkaProducer
) -> None:
    source, target = topic(PARTITIONS), topic(PARTITIONS)
    send(producer, source, range(200))
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    # By default Flink keeps finished sources alive, for the sake of later checkpoints.
    options = [*flink.pipeline_options(), "--shutdown_sources_after_idle_ms=500"]
    job = kafka_probe.run(options, config, source, target, stop_at="end")
    job.wait_until_finish(60_000)
    assert job.state == PipelineState.DONE
    output = Output(kafka_broker, target)
    assert output.until(lambda: len(output.records) >= 200 * SESSIONS, 20)
    output.close()
    assert output.by_key() == {b"session-%d" % session: list(range(200)) for session in range(SESSIONS)}
    assert all(dict(record.headers)["traceparent"] == b"00-1-2-01" for record in output.records)


def test_nothing_is_missing_and_all_is_in_order_when_the_worker_is_killed(
    flink: FlinkJobServer, kafka_broker: KafkaBroker, topic: MakeTopic, producer: KafkaProducer
) -> None:
    source, target = topic(PARTITIONS), topic(PARTITIONS)
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    job = kafka_probe.run(flink.pipeline_options(), config, source, target, group_id="probe")
    output = Output(kafka_broker, target)
    stop = threading.Event()
    sent = [0]

    def play() -> None:
        while not stop.is_set():
            send(producer, source, range(sent[0], sent[0] + 1))
            sent[0] += 1
            stop.wait(0.05)

    player = threading.Thread(target=play)
    player.start()
    try:
        assert output.until(lambda: len(output.records) > 60 * SESSIONS, 60)
        # Offsets are committed after a checkpoint; without one the restore would be a start from nothing.
        assert output.until(lambda: has_checkpoint(config, source), 30)
        worker = int(dict(output.records[-1].headers)["pid"])
        os.kill(worker, signal.SIGKILL)
        later = len(output.records) + 100 * SESSIONS
        assert output.until(lambda: len(output.records) > later, 60)
        stop.set()
        player.join()
        everything = list(range(sent[0]))
        complete = lambda: all(  # noqa: E731
            len(set(numbers)) == len(everything) for numbers in output.by_key().values()
        )
        assert output.until(complete, 60)
        assert output.until(lambda: committed_lag(config, source) == 0, 20)
    finally:
        stop.set()
        player.join()
        job.cancel()
    output.close()
    assert len(output.by_key()) == SESSIONS
    for numbers in output.by_key().values():
        assert without_repeats(numbers) == everything
    workers = {int(dict(record.headers)["pid"]) for record in output.records}
    assert len(workers) == 2
    after = [record for record in output.records if int(dict(record.headers)["pid"]) != worker]
    for session in {record.key for record in after}:
        assert next(int(r.value) for r in after if r.key == session) > 0, "started from nothing"


def has_checkpoint(config: ClientConfig, topic: str) -> bool:
    """Whether the group has an offset in every partition that has records."""
    return all(
        committed > 0 for _, committed, end in list_partitions(config, [topic], COMMITTED, "probe") if end
    )


def committed_lag(config: ClientConfig, topic: str) -> int:
    """Records behind the group's offsets."""
    positions = list_partitions(config, [topic], COMMITTED, "probe")
    return sum(end - committed for _, committed, end in positions)


def test_the_first_record_after_a_pause_is_copied_at_once(
    flink: FlinkJobServer, kafka_broker: KafkaBroker, topic: MakeTopic, producer: KafkaProducer
) -> None:
    source, target = topic(PARTITIONS), topic(1)
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    job = kafka_probe.run(flink.pipeline_options(), config, source, target)
    consumer = KafkaConsumer(bootstrap_servers=kafka_broker.bootstrap_servers, group_id=None)
    consumer.assign([TopicPartition(target, 0)])
    consumer.seek_to_beginning()
    try:
        latencies = []
        for number in range(-5, 12):
            sent_at = time.monotonic()
            producer.send(source, b"%d" % number, b"session-%d" % number).get(timeout=10)
            deadline = sent_at + 30
            while not consumer.poll(timeout_ms=1000):
                assert time.monotonic() < deadline
            if number >= 0:  # the job and its worker are started
                latencies.append(time.monotonic() - sent_at)
            time.sleep(0.7)
    finally:
        job.cancel()
        consumer.close()
    latencies.sort()
    print("seconds from send to copy:", [round(latency, 3) for latency in latencies])
    assert latencies[len(latencies) // 2] < 0.6
