"""What a reader of Kafka keeps in memory behind itself: no audio, although kafka-python keeps its callers'
frames after each poll without a result, until the cyclic collector runs.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

from connectors.kafka.client import ClientConfig
from connectors.kafka.publisher import Publisher
from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange
from connectors.kafka.reading.restrictions import PartitionTracker
from connectors.kafka.records import KafkaRecord
from connectors.kafka.source import SourceOptions, _ReadPartition
from deploy.local.kafka import KafkaBroker
from tests.integration.conftest import MakeTopic

READS = 15
RECORDS_A_READ = 5
AFTER_A_POLL_SECONDS = 0.3


class Tracker(PartitionTracker):
    """As Beam's view of one; the residual is not asked for."""

    def defer_remainder(self) -> None:
        """The reader stops here."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_records_of_reads_that_waited_in_vain_are_not_kept(
    kafka_broker: KafkaBroker,
    topic: MakeTopic,
    no_collector: None,
) -> None:
    config, name = ClientConfig.build(kafka_broker.bootstrap_servers), topic(1)
    publisher = Publisher(config)
    source = _ReadPartition(SourceOptions(config, (name,), idle_poll_timeout_ms=1_000))
    offset, kept = 0, []
    for _ in range(READS):
        later = threading.Timer(AFTER_A_POLL_SECONDS, publish, (publisher, name))
        later.start()
        offset = read_some(source, name, offset)
        kept.append(records_alive())
    publisher.close()
    assert offset > READS * RECORDS_A_READ / 2
    assert max(kept) < 4 * RECORDS_A_READ, kept


def publish(publisher: Publisher, topic: str) -> None:
    publisher.wait([publisher.send(topic, b"key", bytes(3_200), []) for _ in range(RECORDS_A_READ)])


def read_some(source: Any, topic: str, offset: int) -> int:
    """One bundle that finds records; returns the offset behind them."""
    deadline, found = time.monotonic() + 10, 0
    while not found and time.monotonic() < deadline:
        tracker = Tracker(PartitionRange(offset, UNBOUNDED, 0))
        watermark = ManualWatermarkEstimator(None)
        for element in source.process((topic, 0, offset, UNBOUNDED, 0), None, tracker, watermark):
            found += len(element.value[1])
        offset += found
    return offset


def records_alive() -> int:
    return sum(isinstance(found, KafkaRecord) for found in gc.get_objects())
