"""`medstream record`, `replay` and `inspect` against a real broker: what was on a topic is on it again."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from typer.testing import CliRunner

import schemas
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, RecordTooLarge
from connectors.kafka.reading.positions import EARLIEST, END, Position
from connectors.kafka.recordings.bulk_sender import BulkSender
from connectors.kafka.recordings.recording import RecordingReader, partial_path
from connectors.kafka.recordings.topic_reader import TopicReader, ranges_of
from connectors.kafka.records import KafkaRecord
from deploy.local.kafka import KafkaBroker
from pipeline.cli import app
from pipeline.errors import PipelineError
from schemas.serde import SingleObjectSerde
from tests.integration.conftest import MakeTopic, Measured

pytestmark = pytest.mark.integration
PARTITIONS = 3


@pytest.fixture
def sender(kafka_broker: KafkaBroker) -> Iterator[BulkSender]:
    sender = BulkSender(ClientConfig.build(kafka_broker.bootstrap_servers))
    yield sender
    sender.close()


Sent = tuple[bytes | None, bytes | None, int]
"""Key, value, partition."""


def publish(sender: BulkSender, topic: str, *records: Sent, first_ms: int | None = None) -> None:
    """All records; with `first_ms`, a second apart by their timestamps."""
    for number, (key, value, partition) in enumerate(records):
        timestamp_ms = None if first_ms is None else first_ms + 1000 * number
        sender.send(topic, key, value, partition=partition, timestamp_ms=timestamp_ms)
    sender.flush()


def medstream(broker: KafkaBroker, *arguments: object) -> str:
    """Runs the command in this process; standard output. Raises what it raises."""
    given = [str(argument) for argument in arguments]
    servers = [] if given[0] == "inspect" else ["--bootstrap-servers", broker.bootstrap_servers]
    result = CliRunner().invoke(app, [*given, *servers])
    if isinstance(result.exception, KafkaConnectorError | PipelineError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def read(path: Path) -> list[KafkaRecord]:
    with RecordingReader(path) as reader:
        return list(reader)


def what_it_is(record: KafkaRecord) -> tuple[object, ...]:
    return record.partition, record.key, record.value, record.headers


def chunk(session: str, sequence: int) -> bytes:
    record = {"session_id": session, "sequence": sequence, "payload": bytes(320), "sample_rate_hertz": 16000}
    return SingleObjectSerde("audio_chunk").encode(record)


def test_round_trip_keeps_everything_and_the_timing(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path, measured: Measured
) -> None:
    source, target = topic(PARTITIONS), topic(PARTITIONS)
    for number in range(60):
        headers = [("ce_id", b"%d" % number), ("empty", b""), ("ce_id", b"twice")]
        value = None if number % 20 == 9 else bytes([number]) * 200
        sender.send(source, b"session-%d" % (number % 7), value, headers, partition=number % PARTITIONS)
        time.sleep(0.015)
    publish(sender, source, (None, None, 1), (None, b"no key", 2))
    first, second = tmp_path / "first.avro", tmp_path / "second.avro"
    medstream(kafka_broker, "record", first, "--topic", source)
    medstream(kafka_broker, "replay", first, "--topic", target)
    medstream(kafka_broker, "record", second, "--topic", target)
    before, after = read(first), read(second)
    assert len(before) == 62
    assert [what_it_is(one) for one in sorted(before, key=_place)] == [
        what_it_is(one) for one in sorted(after, key=_place)
    ]
    assert [one.timestamp_ms for one in before] == sorted(one.timestamp_ms for one in before)
    errors = sorted(abs(error) for error in _timing_errors(before, after))
    measured(f"replay at speed 1: inter-arrival times p99 {errors[int(len(errors) * 0.99)]} ms off")


def _place(record: KafkaRecord) -> tuple[int, int]:
    return record.partition, record.offset


def _timing_errors(before: list[KafkaRecord], after: list[KafkaRecord]) -> list[int]:
    def steps(records: list[KafkaRecord]) -> list[int]:
        times = defaultdict(list)
        for one in sorted(records, key=_place):
            times[one.partition].append(one.timestamp_ms)
        return [later - earlier for own in times.values() for earlier, later in itertools.pairwise(own)]

    return [again - once for once, again in zip(steps(before), steps(after), strict=True)]


def test_kept_timestamps_ranges_and_sessions(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, target = topic(2), topic(2)
    moments = [1_790_000_000_000 + 1000 * number for number in range(20)]
    keys = (b"a-1", b"a-2", b"b-1")
    records = [(keys[number % 3], b"%d" % number, number % 2) for number in range(20)]
    publish(sender, source, *records, first_ms=moments[0])
    some, times, again = tmp_path / "some.avro", tmp_path / "times.avro", tmp_path / "again.avro"
    medstream(kafka_broker, "record", some, "--topic", source, "--offsets", "0:2-5,1:8-")
    assert [(one.partition, one.offset) for one in sorted(read(some), key=_place)] == [
        *((0, offset) for offset in range(2, 6)),
        (1, 8),
        (1, 9),
    ]
    until = ["--from", f"timestamp:{moments[4]}", "--until", str(moments[16]), "--sessions", "a-*"]
    medstream(kafka_broker, "record", times, "--topic", source, *until)
    assert [one.value for one in read(times)] == [b"%d" % n for n in range(4, 16) if n % 3 < 2]
    medstream(kafka_broker, "replay", times, "--topic", target, "--speed", "max", "--timestamps", "keep")
    medstream(kafka_broker, "record", again, "--topic", target)
    assert [(one.timestamp_ms, what_it_is(one)) for one in read(again)] == [
        (one.timestamp_ms, what_it_is(one)) for one in read(times)
    ]


def test_copies_are_sessions_of_their_own(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, target = topic(1), topic(4)
    publish(sender, source, *((b"visit", chunk("visit", number), 0) for number in range(5)))
    one, copies = tmp_path / "one.avro", tmp_path / "copies.avro"
    medstream(kafka_broker, "record", one, "--topic", source)
    medstream(kafka_broker, "replay", one, "--topic", target, "--speed", "max", "--fan-out", "3")
    medstream(kafka_broker, "record", copies, "--topic", target)
    found = defaultdict(list)
    for record in read(copies):
        decoded = SingleObjectSerde("audio_chunk").decode(record.value or b"")
        assert decoded["session_id"].encode() == record.key
        found[record.key].append((record.partition, decoded["sequence"]))
    assert sorted(found) == [b"visit-c1", b"visit-c2", b"visit-c3"]
    for places in found.values():
        assert [sequence for _, sequence in places] == list(range(5))
        assert len({partition for partition, _ in places}) == 1


def test_a_killed_recording_goes_on(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, path, whole = topic(2), tmp_path / "file.avro", tmp_path / "whole.avro"
    values = [bytes([number % 251]) * 50_000 for number in range(60)]
    publish(sender, source, *((b"k", value, number % 2) for number, value in enumerate(values)))
    medstream(kafka_broker, "record", whole, "--topic", source, "--codec", "deflate")
    medstream(kafka_broker, "record", path, "--topic", source)
    content = path.read_bytes()
    path.unlink()
    partial_path(path).write_bytes(content[: len(content) * 2 // 3])
    publish(sender, source, (b"k", b"later", 0))  # behind the range of the recording
    medstream(kafka_broker, "record", path, "--topic", source, "--resume")
    assert sorted(map(what_it_is, read(path))) == sorted(map(what_it_is, read(whole)))
    assert not partial_path(path).exists()


def test_partitions_of_different_times_are_read_in_order_in_bounded_memory(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender
) -> None:
    """Partition 0 ends before the others begin: what is fetched of those has to wait."""
    source, count = topic(PARTITIONS), 6000
    for partition in range(PARTITIONS):
        for number in range(count):
            at = 1_790_000_000_000 + number + (count if partition else 0)
            sender.send(source, b"k", bytes(100), partition=partition, timestamp_ms=at)
    sender.flush()
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    ranges = ranges_of(config, source, Position(EARLIEST), Position(END), {}, setting="--topic")
    reader, found, buffered = TopicReader(config, ranges, max_buffered_bytes=300_000), [], 0
    for records in reader:
        found += records
        buffered = max(buffered, sum(position for position in reader.positions.values()) - len(found))
    assert len(found) == PARTITIONS * count
    assert [one.timestamp_ms for one in found] == sorted(one.timestamp_ms for one in found)
    assert 0 < buffered < PARTITIONS * count // 2


def test_a_live_recording_is_complete_when_it_is_interrupted(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, path = topic(2), tmp_path / "live.avro"
    publish(sender, source, (b"k", b"before", 0))
    stop, header_bytes = threading.Event(), len(json.dumps(schemas.load("recorded_record"))) + 500

    def speak() -> None:
        """More and more records, until the first is in the file; then Ctrl-C."""
        while not stop.wait(0.05):
            publish(sender, source, (b"k", b"live", 1))
            partial = partial_path(path)
            if partial.exists() and partial.stat().st_size > header_bytes:
                signal.raise_signal(signal.SIGINT)
                return

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        medstream(
            kafka_broker, "record", path, "--topic", source, "--until", "interrupted", "--from", "latest"
        )
    finally:
        stop.set()
        speaker.join()
    found = read(path)
    assert found
    assert {one.value for one in found} == {b"live"}
    assert [one.offset for one in found] == list(range(found[0].offset, found[-1].offset + 1))


def test_a_record_too_large_for_the_topic_ends_the_replay(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, small, path = topic(1), topic(1, **{"max.message.bytes": "1000"}), tmp_path / "file.avro"
    publish(sender, source, (b"k", b"fits", 0), (b"k", bytes(range(256)) * 40, 0))
    medstream(kafka_broker, "record", path, "--topic", source)
    with pytest.raises(RecordTooLarge):
        medstream(kafka_broker, "replay", path, "--topic", small)


def test_what_cannot_be_done_is_said_before_anything_is(
    kafka_broker: KafkaBroker, topic: MakeTopic, sender: BulkSender, tmp_path: Path
) -> None:
    source, small, path = topic(3), topic(1), tmp_path / "file.avro"
    publish(sender, source, (b"k", b"v", 2))
    with pytest.raises(KafkaConnectorError, match=r"no topic 'none' \(--topic\)"):
        medstream(kafka_broker, "record", path, "--topic", "none")
    medstream(kafka_broker, "record", path, "--topic", source)
    with pytest.raises(PipelineError, match="--partitions key"):
        medstream(kafka_broker, "replay", path, "--topic", small)
    with pytest.raises(PipelineError, match="cannot be renamed"):
        medstream(kafka_broker, "replay", path, "--topic", small, "--rename-sessions", "x-{session}")
    told = json.loads(
        medstream(
            kafka_broker,
            "replay",
            path,
            "--dry-run",
            "--json",
            "--loop",
            "3",
            "--rename-sessions",
            "{session}",
        )
    )
    assert (told["records"], told["seconds"]) == (3, 2.0)
    config = ClientConfig.build(kafka_broker.bootstrap_servers)
    consumer = config.consumer()
    assert consumer.end_offsets([TopicPartition(small, 0)]) == {TopicPartition(small, 0): 0}
    consumer.close()
    admin = config.admin()
    admin.delete_records({TopicPartition(source, 2): 1})
    admin.close()
    with pytest.raises(KafkaConnectorError, match="--on-lost-offsets skip"):
        medstream(kafka_broker, "record", path, "--topic", source, "--overwrite", "--offsets", "2:0-0")
