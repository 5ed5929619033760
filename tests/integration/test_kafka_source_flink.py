"""The source on real Flink while the cluster changes under it: partitions and topics that come later, idle
ones, a killed worker, a new job that goes on from the committed offsets.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.offsets import list_partitions
from connectors.kafka.reading.positions import COMMITTED
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from tests.integration import kafka_probe
from tests.integration.conftest import MakeTopic
from tests.integration.test_kafka_flink import Output

pytestmark = pytest.mark.timeout(180)

Place = tuple[str, int]


class Numbers:
    """A thread that sends 0, 1, 2 … to each place it is told of, ten a second; keys name the place."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._servers = broker.bootstrap_servers
        self._producer = KafkaProducer(bootstrap_servers=self._servers)
        self._places: list[Place] = []
        self.sent: dict[Place, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def send_to(self, *places: Place) -> None:
        with self._lock:
            self._producer.close()
            self._producer = KafkaProducer(bootstrap_servers=self._servers)  # which knows new partitions
            self._places += places

    def stop(self) -> dict[Place, int]:
        """How many went to each place."""
        self._stop.set()
        self._thread.join()
        self._producer.close()
        return self.sent

    def _play(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                for topic, partition in self._places:
                    number = self.sent[topic, partition]
                    key = f"{topic}/{partition}".encode()
                    self._producer.send(topic, b"%d" % number, key, partition=partition)
                    self.sent[topic, partition] += 1
                self._producer.flush()


@pytest.fixture
def numbers(kafka_broker: KafkaBroker) -> Iterator[Numbers]:
    numbers = Numbers(kafka_broker)
    yield numbers
    numbers.stop()


def copied(output: Output) -> dict[Place, list[int]]:
    """The numbers that arrived, by the place they were sent to."""
    found: dict[Place, list[int]] = {}
    for key, values in output.by_key().items():
        topic, _, partition = key.decode().rpartition("/")
        found[topic, int(partition)] = values
    return found


def is_complete(output: Output, sent: dict[Place, int]) -> bool:
    found = copied(output)
    return all(set(found.get(place, [])) >= set(range(count)) for place, count in sent.items())


def test_partitions_and_topics_that_come_later_are_read_from_their_beginning_and_once(
    flink: FlinkJobServer, kafka_broker: KafkaBroker, topic: MakeTopic, numbers: Numbers
) -> None:
    """Ten partitions, one of them idle, and an idle topic; two partitions and a topic are added; then the
    worker is killed. Windows by event time show that the watermark goes on.
    """
    name = f"growing-{uuid.uuid4().hex[:8]}"
    first, idle, later = (f"{name}.{part}" for part in ("a", "b", "c"))
    target, windows = topic(1), topic(1)
    kafka_broker.create_topics({first: 10, idle: 1})
    numbers.send_to(*((first, partition) for partition in range(9)))
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    kafka_probe.run(
        flink.pipeline_options(),
        config,
        None,
        target,
        windows_topic=windows,
        topic_pattern=rf"{name}\..*",
        discovery_interval_seconds=3,  # so that records are there before they are found
        group_id=name,
    )
    output, closed = Output(kafka_broker, target), Output(kafka_broker, windows)
    assert output.until(lambda: len(copied(output)) == 9, 60)
    admin = config.admin()
    admin.create_partitions({first: 12})
    admin.close()
    kafka_broker.create_topics({later: 1})
    added = [(first, 10), (first, 11), (later, 0)]
    numbers.send_to(*added)
    assert output.until(lambda: len(copied(output)) == 12, 60)

    # Later than a checkpoint that has the new partitions: a restore must neither forget nor begin them anew.
    assert output.until(lambda: len(committed(config, name, first, later)) == 12, 60)
    before = committed(config, name, first, later)
    worker = int(dict(output.records[-1].headers)["pid"])
    os.kill(worker, signal.SIGKILL)
    killed_at = len(output.records)
    assert output.until(lambda: len(output.records) > killed_at + 12 * 30, 60)
    stopped_at = time.time()
    sent = numbers.stop()
    assert output.until(lambda: is_complete(output, sent), 60)
    assert copied(output).keys() == sent.keys()
    for record in output.records[killed_at:]:
        headers = dict(record.headers)
        if int(headers["pid"]) != worker:
            partition, offset = map(int, headers["position"].split(b"/"))
            source = record.key.decode().rpartition("/")[0]
            assert offset >= before[source, partition], "read anew from before a checkpoint"

    # All is idle now, and yet the windows of the last records close.
    assert closed.until(lambda: max(closed.by_key()[b"window"], default=0) > stopped_at - 2, 60)
    counted = sum(int(dict(record.headers)["count"]) for record in closed.records)
    assert counted >= 0.9 * sum(sent.values())


def committed(config: ClientConfig, group: str, *topics: str) -> dict[Place, int]:
    """The group's offsets, where it has one."""
    return {
        (place.topic, place.partition): offset
        for place, offset, _ in list_partitions(config, topics, COMMITTED, group)
        if offset
    }


def test_a_new_job_that_starts_from_the_committed_offsets_misses_nothing(
    flink: FlinkJobServer, kafka_broker: KafkaBroker, topic: MakeTopic, numbers: Numbers
) -> None:
    """Without a checkpoint: jobs are cancelled amid the traffic, which drops what is on its way. The stage
    behind the source is slower than the traffic, so that is a good deal.
    """
    source, target = topic(4), topic(1)
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    output = Output(kafka_broker, target)
    numbers.send_to(*((source, partition) for partition in range(4)))
    options = {"start": COMMITTED, "group_id": source}
    for _ in range(2):
        before = committed(config, source, source)
        kafka_probe.run(flink.pipeline_options(), config, source, target, delay_seconds=0.03, **options)
        assert output.until(lambda b=before: advanced(b, committed(config, source, source)), 60)
        flink.cancel_jobs()
    first_starts = committed(config, source, source)
    kafka_probe.run(flink.pipeline_options(), config, source, target, **options)
    sent = numbers.stop()
    assert output.until(lambda: is_complete(output, sent), 60)
    assert all(offset > 0 for offset in first_starts.values())
    repeated = len(output.records) - sum(sent.values())
    assert repeated < sum(sent.values()), "the jobs did not begin anew"


def advanced(before: dict[Place, int], now: dict[Place, int]) -> bool:
    return len(now) == 4 and all(offset > before.get(place, 0) for place, offset in now.items())
