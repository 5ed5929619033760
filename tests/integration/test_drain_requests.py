"""Requests to drain, on a real Kafka: who hears them, and what a source does then.

A whole job that is drained is in `test_job_life`.
"""

from __future__ import annotations

import time
import uuid

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from kafka import KafkaProducer, TopicPartition

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import UnknownTopic
from connectors.kafka.reading.discovery import KnownTopics
from connectors.kafka.reading.drain_requests import (
    DrainTopic,
    DrainWatch,
    LeftPartitions,
    drain_topic,
    request_drain,
)
from connectors.kafka.reading.offsets import GroupOffsets
from connectors.kafka.reading.restrictions import DiscoveryRestrictions
from connectors.kafka.source import ReadFromKafka, SourceOptions, _DiscoverPartitions
from deploy.local.kafka import KafkaBroker
from tests.integration.conftest import MakeTopic


@pytest.fixture(scope="module")
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


def wait_for_request(watch: DrainWatch, seconds: float = 20) -> str | None:
    deadline = time.monotonic() + seconds
    while watch.request_id is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return watch.request_id


def test_a_request_is_heard_by_whoever_began_before_it_and_by_nobody_later(
    config: ClientConfig, topic: MakeTopic
) -> None:
    name = topic(2)
    request_drain(config, name)
    watch = DrainWatch(config, drain_topic(config, name, setting="--progress-topic"))
    assert wait_for_request(watch, seconds=2) is None, "it was made for a job before"
    request_id = request_drain(config, name)
    assert wait_for_request(watch) == request_id
    watch.close()


def test_a_worker_that_begins_later_hears_a_request_to_its_job(
    config: ClientConfig, topic: MakeTopic
) -> None:
    name = topic(1)
    place = drain_topic(config, name, setting="--progress-topic")
    request_id = request_drain(config, name)
    watch = DrainWatch(config, place)
    assert wait_for_request(watch) == request_id
    watch.close()


def test_a_topic_that_is_missing_is_told(config: ClientConfig) -> None:
    with pytest.raises(UnknownTopic, match="--progress-topic"):
        drain_topic(config, "nowhere", setting="--progress-topic")
    with pytest.raises(UnknownTopic, match="--input-topic"):
        LeftPartitions(config, "nowhere", "group", setting="--input-topic")


def test_a_source_that_is_drained_ends_where_it_is_with_its_offsets_committed(
    config: ClientConfig, kafka_broker: KafkaBroker, topic: MakeTopic
) -> None:
    name, progress, group = topic(2), topic(1), f"drain-{uuid.uuid4().hex[:8]}"
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    for number in range(10):
        producer.send(name, b"%d" % number, b"key", partition=0)
    producer.close()
    committed = GroupOffsets(config, group)
    committed.note(name, 0, 4)
    committed.close()
    place = DrainTopic(progress, 0)
    request_id = request_drain(config, progress)
    pipeline = beam.Pipeline(FnApiRunner())
    _ = (
        pipeline
        | ReadFromKafka(config, [name], start="committed", group_id=group, drain=place)
        | beam.Map(fail)
    )
    began = time.monotonic()
    pipeline.run().wait_until_finish()
    assert time.monotonic() - began < 60
    with LeftPartitions(config, name, group, setting="--input-topic") as partitions:
        assert (partitions.left(request_id), partitions.count) == (2, 2)
        assert partitions.left("another") == 0
    consumer = config.consumer(group_id=group)
    assert [consumer.committed(TopicPartition(name, number)) for number in (0, 1)] == [4, 0]
    consumer.close()


def test_a_partition_that_was_added_just_before_is_left_too(config: ClientConfig, topic: MakeTopic) -> None:
    name, progress, group = topic(3), topic(1), f"drain-{uuid.uuid4().hex[:8]}"
    options = SourceOptions(config, (name,), group_id=group, start="committed", drain=DrainTopic(progress, 0))
    request_drain(config, progress)
    deadline = time.monotonic() + 20
    while options.drain_request is None and time.monotonic() < deadline:
        time.sleep(0.05)
    tracker = DiscoveryRestrictions().create_tracker(KnownTopics(True, ((name, 2),)))
    watermark = ManualWatermarkEstimator(None)
    found = list(_DiscoverPartitions(options).process(b"", tracker=tracker, watermark=watermark))
    assert [partition[:3] for partition in found] == [(name, 2, 0)], "which leaves it at once"
    tracker.check_done()


def fail(element: object) -> None:
    raise AssertionError("nothing is read any more")
