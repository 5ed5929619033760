"""The local servers themselves: they start, keep their data, come back, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from deploy.local.errors import ServerFailed
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import SCRAM_MECHANISM, KafkaBroker
from tests.integration import flink_probe


def eventually(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    try:
        for future in [producer.send(topic, value) for value in values]:
            future.get(timeout=10)
    finally:
        producer.close()


def read_all(bootstrap_servers: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    consumer.close()
    return values


@pytest.mark.integration
def test_a_broker_keeps_its_data_and_address_through_kill_and_restart(tmp_path: Path) -> None:
    values = [b"%d" % number for number in range(100)]
    with KafkaBroker(tmp_path / "kafka") as broker:
        broker.create_topics({"kept": 1})
        address = broker.bootstrap_servers
        produce(address, "kept", values)
        broker.kill()
        assert not broker.is_running()
        broker.restart()
        assert broker.bootstrap_servers == address
        assert read_all(address, "kept") == values
    with KafkaBroker(tmp_path / "kafka") as reopened:
        assert reopened.bootstrap_servers == address
        assert read_all(address, "kept") == values
    assert not reopened.is_running()


@pytest.mark.integration
def test_a_scram_listener_takes_the_right_password_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    def producer(password: str) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=broker.sasl_bootstrap_servers,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=SCRAM_MECHANISM,
            sasl_plain_username="alice",
            sasl_plain_password=password,
            bootstrap_timeout_ms=3_000,
        )

    with KafkaBroker(tmp_path / "kafka", sasl_scram={"alice": "correct horse"}) as broker:
        broker.create_topics({"guarded": 1})
        right = producer("correct horse")
        assert right.send("guarded", b"x").get(timeout=10).offset == 0
        right.close()
        with pytest.raises(KafkaError):
            producer("wrong horse")


@pytest.mark.integration
def test_a_broker_that_cannot_start_says_so_with_its_log(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path / "kafka", properties={"log.retention.ms": "soon"})
    with pytest.raises(ServerFailed) as failure:
        broker.start()
    assert str(broker.log_path) in str(failure.value)
    assert "log.retention.ms" in str(failure.value)
    assert not broker.is_running()


@pytest.mark.integration
def test_a_killed_worker_is_replaced_and_the_job_restored_with_its_state(
    flink: FlinkJobServer, tmp_path: Path
) -> None:
    output = tmp_path / "counts.txt"

    def rows() -> list[tuple[str, int, int, int]]:
        lines = output.read_text().splitlines() if output.exists() else []
        return [(key, int(number), int(count), int(pid)) for key, number, count, pid in map(str.split, lines)]

    job = flink_probe.run(flink.pipeline_options(), ["a", "b"], str(output))
    try:
        # Some checkpoints must complete first, or the restore would be a start from nothing.
        assert eventually(lambda: len(rows()) > 300, timeout_seconds=60)
        first_worker = rows()[-1][3]
        before = {key: number for key, number, _, _ in rows()}
        os.kill(first_worker, signal.SIGKILL)
        assert eventually(
            lambda: all(
                any(row[0] == key and row[3] != first_worker and row[1] > before[key] for row in rows())
                for key in before
            ),
            timeout_seconds=60,
        )
        (running,) = flink.jobs()
        assert running.state == "RUNNING"
    finally:
        job.cancel()
        cancelled = flink.cancel_jobs()
    assert [job.id for job in cancelled] == [running.id]
    assert not flink.jobs()
    end = len(rows())
    time.sleep(0.5)
    assert len(rows()) == end, "the job goes on"
    restored = [row for row in rows() if row[3] != first_worker]
    assert min(number for _, number, _, _ in restored) > 0, "started from nothing"
    assert all(count == number + 1 for _, number, count, _ in rows())
    for key in before:
        numbers = {number for row_key, number, _, _ in rows() if row_key == key}
        assert numbers == set(range(max(numbers) + 1))
