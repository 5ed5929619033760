"""`ReadFromKafka` by itself against a real Kafka, in this process: where it starts and stops, what it keeps,
what it says of lost records. Live topics are in `test_kafka_source_flink`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from kafka import KafkaProducer, TopicPartition

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.offsets import GroupOffsets
from connectors.kafka.records import CREATE_TIME, LOG_APPEND_TIME, KafkaRecord
from connectors.kafka.source import ReadFromKafka
from deploy.local.kafka import KafkaBroker
from tests.integration.conftest import MakeTopic

BEGAN_MS = 1_772_348_400_000  # 2026-03-01T07:00:00Z; record n is n seconds later


@pytest.fixture(scope="module")
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


@pytest.fixture(scope="module")
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    yield producer
    producer.close()


@pytest.fixture(scope="module")
def numbers(kafka_broker: KafkaBroker, producer: KafkaProducer) -> str:
    """A topic of three partitions, one of them empty; records 0 to 29 in turn in the others."""
    kafka_broker.create_topics({"numbers": 3}, {"message.timestamp.type": "CreateTime"})
    for number in range(30):
        send(producer, "numbers", number, number % 2)
    producer.flush()
    return "numbers"


def send(producer: KafkaProducer, topic: str, number: int, partition: int = 0) -> None:
    timestamp_ms = BEGAN_MS + 1000 * number
    producer.send(topic, b"%d" % number, b"key", partition=partition, timestamp_ms=timestamp_ms)


class _Collect(beam.DoFn):
    """FnApiRunner runs in this process, so a list of the module's is a way out."""

    found: list[KafkaRecord] = []  # noqa: RUF012
    batches: list[int] = []  # noqa: RUF012

    def process(self, element: tuple[bytes, list[Any]]) -> None:
        self.batches.append(len(element[1]))
        self.found.extend(map(KafkaRecord.from_tuple, element[1]))


def read(config: ClientConfig, topics: list[str], **options: Any) -> tuple[list[KafkaRecord], dict[str, int]]:
    """What a bounded job reads, in the order of reading, and its counters."""
    _Collect.found.clear()
    _Collect.batches.clear()
    options = {"stop_at": "end", "idle_poll_timeout_ms": 200, "poll_timeout_ms": 10, **options}
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | ReadFromKafka(config, topics, **options) | beam.ParDo(_Collect())
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("kafka_source"))["counters"]
    return list(_Collect.found), {counter.key.metric.name: counter.committed for counter in counters}


def values(records: list[KafkaRecord]) -> list[int]:
    return sorted(int(record.value or b"-1") for record in records)


def test_everything_up_to_the_end_is_read_once_and_counted(config: ClientConfig, numbers: str) -> None:
    records, counters = read(config, [numbers])
    assert values(records) == list(range(30))
    for partition in (0, 1):
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(15))
    assert counters["records"] == 30
    assert counters["bytes"] == sum(len(b"key") + len(b"%d" % number) for number in range(30))
    assert counters["partitions_found"] == 3
    assert 0 < counters["polls"] - counters.get("empty_polls", 0) < 30


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (f"timestamp:{BEGAN_MS + 10_000}", "end", range(10, 30)),
        ("timestamp:2026-03-01T08:00:09.500+01:00", "end", range(10, 30)),
        ("earliest", f"{BEGAN_MS + 20_000}", range(20)),
        ("earliest", "2026-03-01T07:00:20.001Z", range(21)),
        ("timestamp:2026-03-01T07:00:10Z", "2026-03-01T07:00:20Z", range(10, 20)),
        ("timestamp:2026-03-01T07:00:20Z", "2026-03-01T07:00:10Z", range(0)),
        ("timestamp:2030-01-01T00:00:00Z", "end", range(0)),
        ("latest", "end", range(0)),
    ],
)
def test_from_a_moment_to_a_moment(
    config: ClientConfig, numbers: str, start: str, stop: str, expected: range
) -> None:
    assert values(read(config, [numbers], start=start, stop_at=stop)[0]) == list(expected)


def test_a_moment_to_come_is_waited_for(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    """A partition stops at the first record that is as late; an idle one when the moment has passed."""
    name, moment_ms = topic(2), round(time.time() * 1000) + 2000

    def play() -> None:
        for number in range(30):
            producer.send(name, b"%d" % number, b"key", partition=0)
            time.sleep(0.1)

    player = threading.Thread(target=play)
    player.start()
    records, _ = read(config, [name], stop_at=str(moment_ms), discovery_interval_seconds=None)
    player.join()
    assert time.time() * 1000 > moment_ms
    assert 10 < len(records) < 30
    assert values(records) == list(range(len(records)))
    assert max(record.timestamp_ms for record in records) < moment_ms


def test_a_bundle_is_bounded_by_records_and_by_bytes(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic(1)
    for _ in range(20):
        producer.send(name, bytes(1000), b"key")
    producer.flush()
    assert len(read(config, [name], max_records_per_bundle=7)[0]) == 20
    assert max(_Collect.batches) <= 7
    assert len(read(config, [name], max_bytes_per_bundle=3500)[0]) == 20
    assert max(_Collect.batches) <= 3
    assert len(read(config, [name], max_bytes_per_bundle=1)[0]) == 20
    assert set(_Collect.batches) == {1}


def test_headers_timestamps_and_tombstones_are_kept(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    created, appended = topic(1), topic(1, **{"message.timestamp.type": "LogAppendTime"})
    headers = [("traceparent", b"00-1"), ("twice", b"1"), ("twice", b"")]
    for name in (created, appended):
        producer.send(name, None, b"gone", headers=headers, timestamp_ms=BEGAN_MS)
        producer.send(name, b"", None, timestamp_ms=BEGAN_MS)
    producer.flush()
    by_topic = {name: read(config, [name])[0] for name in (created, appended)}
    for records in by_topic.values():
        tombstone, empty = sorted(records, key=lambda record: record.offset)
        assert (tombstone.key, tombstone.value, tombstone.headers) == (b"gone", None, tuple(headers))
        assert (empty.key, empty.value, empty.headers) == (None, b"", ())
    assert {(r.timestamp_type, r.timestamp_ms) for r in by_topic[created]} == {(CREATE_TIME, BEGAN_MS)}
    assert {r.timestamp_type for r in by_topic[appended]} == {LOG_APPEND_TIME}
    assert all(record.timestamp_ms > BEGAN_MS for record in by_topic[appended])


def test_a_pattern_reads_all_topics_whose_whole_name_matches(
    config: ClientConfig, kafka_broker: KafkaBroker, producer: KafkaProducer
) -> None:
    names = ["ward.1", "ward.2", "ward.10", "other-ward.1"]
    kafka_broker.create_topics(dict.fromkeys(names, 1))
    for number, name in enumerate(names):
        send(producer, name, number)
    producer.flush()
    records, _ = read(config, [], topic_pattern=r"ward\.\d")
    assert {record.topic for record in records} == {"ward.1", "ward.2"}
    assert read(config, [], topic_pattern="no-such-.*")[0] == []


@pytest.fixture
def truncated(config: ClientConfig, producer: KafkaProducer, topic: MakeTopic) -> str:
    """Records 0 to 29, of which retention took 0 to 9; the group stands at 3."""
    name = topic(1)
    for number in range(30):
        send(producer, name, number)
    producer.flush()
    group = GroupOffsets(config, name)
    group.note(name, 0, 3)
    group.close()
    admin = config.admin()
    admin.delete_records({TopicPartition(name, 0): 10})
    admin.close()
    return name


def test_records_that_retention_took_fail_the_job_with_a_clear_error(
    config: ClientConfig, truncated: str
) -> None:
    with pytest.raises(Exception, match=rf"offsets 3 to 9 of {truncated}-0: retention .*--on-lost-offsets"):
        read(config, [truncated], start="committed", group_id=truncated)


def test_records_that_retention_took_are_skipped_and_counted_if_asked(
    config: ClientConfig, truncated: str
) -> None:
    options = {"start": "committed", "group_id": truncated, "on_lost_offsets": "skip"}
    records, counters = read(config, [truncated], **options)
    assert values(records) == list(range(10, 30))
    assert counters["lost_offsets"] == 7
