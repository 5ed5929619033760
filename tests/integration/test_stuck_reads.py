"""A poll of kafka-python that never returns, on a real broker: whoever reads goes on with another consumer.

What looked like it, once, on a full machine, is made here: a call that was handed over to the consumer's
thread gets lost. Everything else is the library's own. All records are synthetic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import ReadFailed
from connectors.kafka.publisher import Publisher
from connectors.kafka.reading.partition_range import PartitionRange
from connectors.kafka.reading.positions import EARLIEST, Position
from connectors.kafka.reading.shared_consumer import SharedConsumer
from connectors.kafka.recordings.topic_reader import TopicReader
from connectors.kafka.topic_follower import TopicFollower
from connectors.kafka.watched_consumer import WatchedConsumer
from deploy.local.kafka import KafkaBroker
from tests.integration.conftest import MakeTopic

pytestmark = pytest.mark.timeout(60)
RECORDS = 40


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchedConsumer, "stuck_seconds", 0.5)


@pytest.fixture
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers, properties={"request.timeout.ms": "2000"})


@pytest.fixture
def publish(config: ClientConfig) -> Iterator[Callable[[str], None]]:
    publisher = Publisher(config)

    def records(topic: str) -> None:
        publisher.wait([publisher.send(topic, b"key", bytes(10), []) for _ in range(RECORDS)])

    yield records
    publisher.close()


def lose_a_call(consumer: Any) -> threading.Event:
    """The next call that is handed over to the consumer's thread never runs; set when that has happened."""
    network, lost = consumer._net, threading.Event()
    hand_over = network.call_soon_threadsafe

    def lose(_: Any) -> None:
        network.call_soon_threadsafe = hand_over
        lost.set()

    network.call_soon_threadsafe = lose
    return lost


def test_the_job_reads_on(config: ClientConfig, topic: MakeTopic, publish: Callable[[str], None]) -> None:
    name, shared = topic(1), SharedConsumer(config.consumer)
    publish(name)
    offsets: list[int] = []
    lost = None
    deadline = time.monotonic() + 30
    while len(offsets) < 3 * RECORDS and time.monotonic() < deadline:
        start = offsets[-1] + 1 if offsets else 0
        batch = shared.read(name, 0, start, max_records=7, min_interval_seconds=0.0, idle_seconds=1.0)
        offsets += [record.offset for record in batch.records]
        if lost is None and len(offsets) >= RECORDS:
            lost = lose_a_call(shared._consumer)
            publish(name)
        elif len(offsets) == 2 * RECORDS:
            publish(name)
    shared.close()
    assert lost is not None
    assert lost.is_set()
    assert offsets == list(range(3 * RECORDS))


def test_an_application_reads_on(
    config: ClientConfig, topic: MakeTopic, publish: Callable[[str], None]
) -> None:
    name = topic(2)
    publish(name)
    with TopicFollower(config, {name: "--topic"}, Position(EARLIEST), group_id=f"g-{name}") as follower:
        seen = _read(follower, RECORDS)
        lost = lose_a_call(follower._consumer)
        publish(name)
        seen += _read(follower, RECORDS)
        follower.commit()
    assert lost.is_set()
    assert len(set(seen)) == len(seen) == 2 * RECORDS


def _read(follower: TopicFollower, count: int) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    deadline = time.monotonic() + 20
    while len(seen) < count and time.monotonic() < deadline:
        seen += [(record.partition, record.offset) for record in follower.poll()]
    return seen


def test_a_recording_goes_on(config: ClientConfig, topic: MakeTopic, publish: Callable[[str], None]) -> None:
    name = topic(1)
    publish(name)
    reader = TopicReader(config, {(name, 0): PartitionRange(0, 2 * RECORDS, 2 * RECORDS)})
    batches = iter(reader)
    offsets = [record.offset for record in next(batches)]
    lost = lose_a_call(reader._consumer)
    publish(name)
    offsets += [record.offset for batch in batches for record in batch]
    assert lost.is_set()
    assert offsets == list(range(2 * RECORDS))


def test_a_recovery_fails_retryably_and_the_next_one_succeeds(
    config: ClientConfig, topic: MakeTopic, publish: Callable[[str], None]
) -> None:
    name = topic(1)
    publish(name)
    log = AudioLog(config)
    assert len(log.read(name, 0, b"key", 0, RECORDS).result(20).records) == RECORDS
    [consumer] = log._idle_consumers
    lost = lose_a_call(consumer)
    with pytest.raises(ReadFailed) as caught:
        log.read(name, 0, b"key", 0, RECORDS).result(20)
    assert lost.is_set()
    assert caught.value.retryable
    assert len(log.read(name, 0, b"key", 0, RECORDS).result(20).records) == RECORDS
    log.close()
