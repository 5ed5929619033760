"""Markers and transactions against a real Kafka: fencing, abandoned transactions, tombstones, topics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from kafka import KafkaConsumer, TopicPartition

from connectors.kafka.client import ClientConfig
from connectors.kafka.compacted import read_table
from connectors.kafka.delivery import AtLeastOnce, Delivery, ExactlyOnce, Message
from connectors.kafka.errors import NotCompacted, PartitionsChanged, ProducerFenced, UnknownTopic
from connectors.kafka.partitions import partition_for
from connectors.kafka.publisher import shared_publisher
from connectors.kafka.topics import ensure_compacted, topic_id
from deploy.local.kafka import KafkaBroker
from tests.integration.conftest import MakeTopic

COUNT = 2


@pytest.fixture
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


class Sink:
    """The topics of one sink, and deliveries to its partition 1, closed at the end."""

    def __init__(self, config: ClientConfig, finals: str) -> None:
        self.config = config
        self.finals = finals
        self.progress = f"{finals}.progress"
        self.deliveries: list[Delivery] = []
        ensure_compacted(config, self.progress, COUNT, setting="--progress-topic")

    def exactly_once(self) -> ExactlyOnce:
        way = ExactlyOnce(
            self.config,
            topic=self.finals,
            markers_topic=self.progress,
            partition=1,
            count=COUNT,
            transactional_id=f"{self.finals}-1",
        )
        self.deliveries.append(way)
        return way

    def at_least_once(self) -> AtLeastOnce:
        way = AtLeastOnce(
            self.config, topic=self.finals, markers_topic=self.progress, partition=1, count=COUNT
        )
        self.deliveries.append(way)
        return way

    def outputs(self, *values: bytes) -> list[Message]:
        return [Message(self.finals, 1, b"s", value, [("h", b"x")]) for value in values]

    def markers(self, **values: bytes | None) -> list[Message]:
        return [Message(self.progress, 1, key.encode(), value) for key, value in values.items()]

    def read_committed(self, seconds: float = 1.0) -> list[bytes]:
        consumer = KafkaConsumer(
            bootstrap_servers=self.config.bootstrap_servers, isolation_level="read_committed"
        )
        place = TopicPartition(self.finals, 1)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        found: Sequence[bytes] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [*found, *(r.value for rs in consumer.poll(100).values() for r in rs)]
        consumer.close()
        return list(found)


@pytest.fixture
def sink(config: ClientConfig, topic: MakeTopic) -> Iterator[Sink]:
    sink = Sink(config, topic(COUNT))
    yield sink
    for way in sink.deliveries:
        way.close()


@pytest.mark.parametrize("kind", ["exactly_once", "at_least_once"])
def test_the_next_owner_finds_the_last_markers_of_its_partition(sink: Sink, kind: str) -> None:
    first = getattr(sink, kind)()
    assert first.open().values == {1: {}}
    first.write(sink.outputs(b"1"), sink.markers(a=b"1", b=b"1"))
    first.write(sink.outputs(b"2"), sink.markers(a=b"2"))
    first.write([], sink.markers(b=None))
    second = getattr(sink, kind)()
    assert second.open().values == {1: {b"a": b"2"}}
    second.write(sink.outputs(b"3"), [])
    assert sink.read_committed() == [b"1", b"2", b"3"]


def test_a_successor_fences_the_one_before(sink: Sink) -> None:
    zombie = sink.exactly_once()
    zombie.open()
    zombie.write(sink.outputs(b"1"), sink.markers(a=b"1"))
    assert sink.exactly_once().open().values == {1: {b"a": b"1"}}
    with pytest.raises(ProducerFenced, match="--sink-id"):
        zombie.write(sink.outputs(b"late"), sink.markers(a=b"late"))
    assert sink.read_committed() == [b"1"]


def test_a_transaction_that_its_owner_left_is_neither_read_nor_waited_for(sink: Sink) -> None:
    dead = sink.exactly_once()
    dead.open()
    dead.write(sink.outputs(b"1"), sink.markers(a=b"1"))
    dead._commit = lambda: dead._producer.flush(5)  # type: ignore[method-assign]  # killed before the commit
    dead.write(sink.outputs(b"never"), sink.markers(a=b"never"))
    began = time.monotonic()
    heir = sink.exactly_once()
    assert heir.open().values == {1: {b"a": b"1"}}
    heir.write(sink.outputs(b"2"), sink.markers(a=b"2"))
    assert sink.read_committed() == [b"1", b"2"]
    assert time.monotonic() - began < 12, "it did not wait for the transaction's own timeout"


def test_markers_that_somebody_else_wrote_are_noticed(sink: Sink) -> None:
    one, other = sink.at_least_once(), sink.at_least_once()
    one.open()
    one.write(sink.outputs(b"1"), sink.markers(a=b"1"))
    assert one.is_current()
    other.open()
    other.write([], sink.markers(a=b"2"))
    assert not one.is_current()
    assert one.open().values == {1: {b"a": b"2"}}
    assert one.is_current()


def test_an_output_topic_with_more_partitions_than_before_is_refused(
    sink: Sink, config: ClientConfig
) -> None:
    admin = config.admin()
    admin.create_partitions({sink.finals: COUNT + 1})
    admin.close()
    deadline = time.monotonic() + 10
    while len(read_table(config, sink.finals, setting="x").values) == COUNT:
        assert time.monotonic() < deadline
    with pytest.raises(PartitionsChanged, match="has 3 partitions"):
        sink.exactly_once().open()


def test_keys_go_where_kafka_s_own_partitioner_sends_them(config: ClientConfig, topic: MakeTopic) -> None:
    name = topic(7)
    publisher = shared_publisher(config)
    keys = [f"session-{number}".encode() for number in range(40)]
    publisher.wait([publisher.send(name, key, key, []) for key in keys])
    found = {
        key: partition
        for partition, keys in read_table(config, name, setting="x").values.items()
        for key in keys
    }
    assert found == {key: partition_for(key, 7) for key in keys}


# Topics


def test_a_compacted_topic_is_created_once(config: ClientConfig, topic: MakeTopic) -> None:
    name = f"{topic()}.progress"
    with pytest.raises(UnknownTopic, match="--progress-topic"):
        read_table(config, name, setting="--progress-topic")
    assert ensure_compacted(config, name, 3, setting="--progress-topic") == 3
    assert ensure_compacted(config, name, 9, setting="--progress-topic") == 3, "it stays as it is"
    assert read_table(config, name, setting="x").values == {0: {}, 1: {}, 2: {}}


def test_a_topic_from_which_records_are_deleted_is_refused(config: ClientConfig, topic: MakeTopic) -> None:
    with pytest.raises(NotCompacted, match=r"cleanup\.policy=compact"):
        ensure_compacted(config, topic(), 1, setting="--progress-topic")


def test_a_topic_that_is_created_anew_has_another_id(
    config: ClientConfig, topic: MakeTopic, kafka_broker: KafkaBroker
) -> None:
    name = topic()
    before = topic_id(config, name, setting="--input-topic")
    assert before == topic_id(config, name, setting="--input-topic")
    admin = config.admin()
    admin.delete_topics([name])
    admin.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            topic_id(config, name, setting="--input-topic")
        except UnknownTopic:
            break
        assert time.monotonic() < deadline
    kafka_broker.create_topics({name: 1})
    assert topic_id(config, name, setting="--input-topic") not in ("", before)
