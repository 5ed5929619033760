"""The connector's parts against a real Kafka: preflight, publisher, log re-reader, offsets, loss, restart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from kafka import KafkaProducer, TopicPartition

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import (
    BrokerUnreachable,
    KafkaConnectorError,
    LostOffsets,
    RecordTooLarge,
    UnknownTopic,
)
from connectors.kafka.probing.access import check_connection
from connectors.kafka.publisher import Publisher, shared_publisher
from connectors.kafka.reading.feed import Batch
from connectors.kafka.reading.offsets import GroupOffsets, list_partitions
from connectors.kafka.reading.positions import COMMITTED, EARLIEST, LATEST
from connectors.kafka.reading.shared_consumer import SharedConsumer
from connectors.kafka.sink import UNDELIVERABLE, UndeliverableRecord, WriteToKafka
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import free_port
from tests.integration.conftest import MakeTopic

pytestmark = pytest.mark.integration


@pytest.fixture
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


@pytest.fixture
def publisher(config: ClientConfig) -> Iterator[Publisher]:
    publisher = Publisher(config)
    yield publisher
    publisher.close()


@pytest.fixture
def log(config: ClientConfig) -> Iterator[AudioLog]:
    log = AudioLog(config)
    yield log
    log.close()


def publish(publisher: Publisher, topic: str, keys: list[bytes], count: int, size: int = 100) -> None:
    """`count` records in one partition, keys in turn, values that tell their number."""
    values = (b"%08d" % number + bytes(size - 8) for number in range(count))
    sent = [publisher.send(topic, keys[i % len(keys)], value, []) for i, value in enumerate(values)]
    publisher.wait(sent)


def delete_before(config: ClientConfig, topic: str, offset: int) -> None:
    """What retention does, at once (Kafka's DeleteRecords)."""
    admin = config.admin()
    admin.delete_records({TopicPartition(topic, 0): offset})
    admin.close()


class TestCheckConnection:
    def test_topics_and_their_partitions(self, config: ClientConfig, topic: MakeTopic) -> None:
        one, three = topic(1), topic(3)
        assert check_connection(config, {"--input-topic": one, "--output-topic": three}) == {one: 1, three: 3}

    def test_an_unknown_topic_names_its_option(self, config: ClientConfig, topic: MakeTopic) -> None:
        with pytest.raises(UnknownTopic, match=r"'no-such-topic' \(--output-topic\)"):
            check_connection(config, {"--input-topic": topic(1), "--output-topic": "no-such-topic"})

    def test_no_broker(self) -> None:
        config = ClientConfig.build(f"127.0.0.1:{free_port()}")
        assert_fails_within(10, BrokerUnreachable, lambda: check_connection(config, {"--input-topic": "a"}))


def assert_fails_within(
    seconds: float, expected: type[KafkaConnectorError], call: Callable[[], object]
) -> KafkaConnectorError:
    began = time.monotonic()
    with pytest.raises(expected) as caught:
        call()
    assert time.monotonic() - began < seconds
    return caught.value


class TestPublisher:
    def test_records_arrive_with_headers(self, publisher: Publisher, topic: MakeTopic, log: AudioLog) -> None:
        name = topic(1)
        headers = [("ce_id", b"s/0"), ("traceparent", b"00-1-2-01"), ("ce_id", b"twice")]
        publisher.wait([publisher.send(name, b"s", b"final", headers)])
        [record] = log.read(name, 0, b"s", 0, 1).result(10).records
        assert record.headers == tuple(headers)
        assert record.value == b"final"
        assert abs(record.timestamp_ms / 1000 - time.time()) < 60
        assert publisher.in_flight_bytes == 0

    def test_what_is_in_flight_is_bounded(self, config: ClientConfig, topic: MakeTopic) -> None:
        publisher = Publisher(config, max_in_flight_bytes=100_000)
        name, highest, sent = topic(1), 0, []
        for _ in range(200):
            sent.append(publisher.send(name, b"k", bytes(10_000), []))
            highest = max(highest, publisher.in_flight_bytes)
        publisher.wait(sent)
        publisher.close()
        assert 0 < highest <= 100_000

    def test_too_large_for_the_producer_and_for_the_topic(
        self, publisher: Publisher, topic: MakeTopic
    ) -> None:
        with pytest.raises(RecordTooLarge, match=r"max\.request\.size"):
            publisher.send(topic(1), b"k", bytes(2_000_000), [])
        small = topic(1, **{"max.message.bytes": "1000"})
        refused = publisher.send(small, b"k", os.urandom(5000), [])
        with pytest.raises(RecordTooLarge, match=r"5\d{3} bytes"):
            publisher.wait([refused])
        publisher.wait([publisher.send(small, b"k", b"fits", [])])

    def test_large_records_pass_where_both_sides_allow_them(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        properties = {"max.request.size": "6000000"}
        config = ClientConfig.build(kafka_broker.bootstrap_servers, properties=properties)
        name, value = topic(1, **{"max.message.bytes": "6000000"}), os.urandom(5_000_000)
        publisher, log = Publisher(config), AudioLog(config)
        publisher.wait([publisher.send(name, b"k", value, [])])
        [record] = log.read(name, 0, b"k", 0, 1, max_bytes=1000).result(20).records
        assert record.value == value
        shared = SharedConsumer(config.consumer)
        batch = read_some(shared, name, 0)
        assert [len(item.value or b"") for item in batch.records] == [len(value)]
        assert batch.records[0].value == value
        for part in (publisher, log, shared):
            part.close()

    def test_a_broker_that_is_killed_and_restarted_loses_and_doubles_nothing(self, tmp_path: Path) -> None:
        with KafkaBroker(tmp_path / "kafka") as broker:
            broker.create_topics({"out": 1})
            config = ClientConfig.build(broker.bootstrap_servers)
            publisher, shared = Publisher(config), SharedConsumer(config.consumer)
            sent = [publisher.send("out", b"k", b"%d" % number, []) for number in range(500)]
            publisher.wait(sent)
            first = follow(shared, "out", 0, 500)
            broker.kill()
            sent = [publisher.send("out", b"k", b"%d" % number, []) for number in range(500, 1000)]
            broker.restart()
            publisher.wait(sent)
            second = follow(shared, "out", 500, 1000)  # the same consumer finds the broker again
            assert first + second == list(range(1000))
            publisher.close()
            shared.close()


def follow(shared: SharedConsumer, topic: str, offset: int, end: int) -> list[int]:
    """The numbers in the values from offset to end, within 30 s."""
    numbers: list[int] = []
    deadline = time.monotonic() + 30
    while offset < end and time.monotonic() < deadline:
        batch = shared.read(topic, 0, offset, max_records=100, min_interval_seconds=0, idle_seconds=1)
        numbers += [int(record.value or b"-1") for record in batch.records]
        offset = batch.next_offset
    return numbers


class TestAudioLog:
    def test_many_keys_of_one_partition_at_once(
        self, publisher: Publisher, topic: MakeTopic, log: AudioLog
    ) -> None:
        name, keys = topic(1), [b"session-%d" % number for number in range(20)]
        publish(publisher, name, keys, 2000)
        pending = [log.read(name, 0, key, start, 1900) for start in (0, 700) for key in keys]
        for start, key, future in zip([0] * 20 + [700] * 20, keys * 2, pending, strict=True):
            piece = future.result(30)
            assert (piece.next_offset, piece.complete, piece.lost) == (1900, True, None)
            expected = [offset for offset in range(start, 1900) if keys[offset % 20] == key]
            assert [record.offset for record in piece.records] == expected
            assert [int((record.value or b"")[:8]) for record in piece.records] == expected

    def test_a_slice_is_bounded_and_tells_where_to_go_on(
        self, publisher: Publisher, topic: MakeTopic, log: AudioLog
    ) -> None:
        name = topic(1)
        publish(publisher, name, [b"a", b"b"], 100, size=1000)
        offsets, start, slices = [], 0, 0
        while start < 100:
            piece = log.read(name, 0, b"a", start, 100, max_bytes=10_000).result(10)
            assert sum(len(record.value or b"") for record in piece.records) <= 10_000
            offsets += [record.offset for record in piece.records]
            start, slices = piece.next_offset, slices + 1
        assert offsets == list(range(0, 100, 2))
        assert slices == 5

    def test_what_retention_took_is_told(
        self, config: ClientConfig, publisher: Publisher, topic: MakeTopic, log: AudioLog
    ) -> None:
        name = topic(1)
        publish(publisher, name, [b"a"], 100)
        delete_before(config, name, 60)
        partly, wholly = log.read(name, 0, b"a", 40, 80), log.read(name, 0, b"a", 10, 20)
        piece = partly.result(10)
        assert piece.lost == (40, 60)
        assert [record.offset for record in piece.records] == list(range(60, 80))
        piece = wholly.result(10)
        assert (piece.records, piece.lost, piece.next_offset, piece.complete) == ((), (10, 20), 20, True)

    def test_a_range_that_ends_in_transaction_markers_does_not_hang(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, log: AudioLog
    ) -> None:
        name = topic(1)
        producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=name)
        producer.init_transactions()
        for value, finish in ((b"kept", "commit"), (b"aborted", "abort"), (b"kept too", "commit")):
            producer.begin_transaction()
            producer.send(name, value, b"a")
            producer.flush()  # an abort drops what was not sent
            getattr(producer, f"{finish}_transaction")()
        producer.close()
        end = 6  # three records, three markers; the last is written after the commit is answered
        config, deadline = ClientConfig.build(kafka_broker.bootstrap_servers), time.monotonic() + 10
        while list_partitions(config, [name], EARLIEST) != [(TopicPartition(name, 0), 0, end)]:
            assert time.monotonic() < deadline
        piece = log.read(name, 0, b"a", 0, end).result(10)
        assert [record.value for record in piece.records] == [b"kept", b"kept too"]
        assert (piece.next_offset, piece.complete) == (6, True)

    def test_a_range_beyond_the_end_is_incomplete(
        self, publisher: Publisher, topic: MakeTopic, log: AudioLog
    ) -> None:
        name = topic(1)
        publish(publisher, name, [b"a"], 10)
        piece = log.read(name, 0, b"a", 5, 1000).result(10)
        assert (len(piece.records), piece.next_offset, piece.complete) == (5, 10, False)

    def test_an_unreachable_broker_is_a_retryable_error(self) -> None:
        properties = {"request.timeout.ms": "1000"}
        log = AudioLog(ClientConfig.build(f"127.0.0.1:{free_port()}", properties=properties))
        future = log.read("t", 0, b"a", 0, 10)
        error = future.exception(timeout=60)
        log.close()
        assert isinstance(error, BrokerUnreachable)
        assert error.retryable


class TestOffsets:
    def test_start_positions(self, config: ClientConfig, publisher: Publisher, topic: MakeTopic) -> None:
        name = topic(1)
        publish(publisher, name, [b"a"], 30)
        delete_before(config, name, 10)
        place = TopicPartition(name, 0)
        assert list_partitions(config, [name], EARLIEST) == [(place, 10, 30)]
        assert list_partitions(config, [name], LATEST) == [(place, 30, 30)]
        assert list_partitions(config, [name], COMMITTED, name) == [(place, 10, 30)]
        committer = GroupOffsets(config, name)
        committer.note(name, 0, 12)
        committer.note(name, 0, 17)
        committer.close()
        assert list_partitions(config, [name], COMMITTED, name) == [(place, 17, 30)]

    def test_an_unknown_topic(self, config: ClientConfig) -> None:
        with pytest.raises(UnknownTopic, match="no-such-topic"):
            list_partitions(config, ["no-such-topic"], EARLIEST)


def read_some(shared: SharedConsumer, name: str, offset: int) -> Batch:
    """The first batch with records; the first read of a partition waits briefly only."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = shared.read(name, 0, offset, max_records=100, min_interval_seconds=0, idle_seconds=1)
        if batch.records:
            return batch
    raise AssertionError("no records")


def test_the_shared_consumer_reports_what_retention_took(
    config: ClientConfig, publisher: Publisher, topic: MakeTopic
) -> None:
    name = topic(1)
    publish(publisher, name, [b"a"], 30)
    delete_before(config, name, 10)
    shared = SharedConsumer(config.consumer)
    with pytest.raises(LostOffsets) as caught:
        read_some(shared, name, 3)
    assert (caught.value.first_offset, caught.value.end_offset) == (3, 10)
    assert [record.offset for record in read_some(shared, name, 10).records] == list(range(10, 30))
    shared.close()


@pytest.mark.parametrize("await_acks", [True, False])
def test_the_sink_routes_by_the_elements_topic(
    config: ClientConfig, topic: MakeTopic, log: AudioLog, await_acks: bool
) -> None:
    finals, partials = topic(1), topic(1)
    headers = [("ce_id", b"s/0")]
    with beam.Pipeline("DirectRunner") as pipeline:
        records = pipeline | beam.Create(
            [(finals, b"s", b"final", headers), (partials, b"s", b"partial", headers)]
        )
        _ = records | WriteToKafka(config, await_acks=await_acks)
    shared_publisher(config).close()  # what was not awaited is sent
    for name, value in ((finals, b"final"), (partials, b"partial")):
        [record] = log.read(name, 0, b"s", 0, 1).result(10).records
        assert (record.value, record.headers) == (value, tuple(headers))


def test_what_can_never_be_written_comes_back_and_the_rest_is_written(
    kafka_broker: KafkaBroker, topic: MakeTopic, log: AudioLog
) -> None:
    properties = {"max.block.ms": "1000", "compression.type": "gzip"}
    config = ClientConfig.build(kafka_broker.bootstrap_servers, properties=properties)
    good, small, letters = topic(1), topic(1, **{"max.message.bytes": "1000"}), topic(1)
    headers, noise = [("ce_id", b"s/0")], os.urandom(5_000)
    records = [
        (good, b"s", b"1", headers),
        (small, b"s", b"2", headers),
        (small, b"s", noise, headers),  # refused by the broker, with the batch that it is in
        ("no-such-topic", b"s", b"3", headers),
        (good, b"s", os.urandom(2_000_000), headers),  # refused by the producer
        (small, b"s", b"4", headers),
        (good, b"s", bytes(100_000), headers),  # gzip makes it small
    ]
    with beam.Pipeline("DirectRunner") as pipeline:
        bundle = pipeline | beam.Create([records]) | beam.FlatMap(lambda bundle: bundle)
        written = bundle | WriteToKafka(config, on_undeliverable="dead-letter")
        returned = written[UNDELIVERABLE] | beam.Map(as_letter)
        _ = returned | "PublishLetters" >> WriteToKafka(config, letters)
    for name, expected in ((good, [b"1", bytes(100_000)]), (small, [b"2", b"4"])):
        assert [record.value for record in log.read(name, 0, b"s", 0, 10).result(10).records] == expected
    found = log.read(letters, 0, b"s", 0, 10).result(10).records
    assert {dict(record.headers)["reason"]: record.value for record in found} == {
        b"RecordTooLarge: %s" % small.encode(): noise[:10],
        b"RecordTooLarge: %s" % good.encode(): records[4][2][:10],
        b"UnknownTopic: no-such-topic": b"3",
    }
    assert all(dict(record.headers)["ce_id"] == b"s/0" for record in found)
    shared_publisher(config).close()


def as_letter(letter: UndeliverableRecord) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
    assert letter.topic in letter.reason
    reason = f"{letter.error_class}: {letter.topic}".encode()
    return letter.key, (letter.value or b"")[:10], [*letter.headers, ("reason", reason)]
