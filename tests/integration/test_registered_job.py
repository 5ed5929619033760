"""A whole job with a schema registry: producers with and without it in, Confluent's consumer out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import schemas
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.registry import SchemaRegistryServer
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.harness import Job, marked_session, running_job, words_of

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def job(
    kafka_broker: KafkaBroker,
    flink: FlinkJobServer,
    schema_registry: SchemaRegistryServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Job]:
    directory = tmp_path_factory.mktemp("registered")
    options = [f"--schema-registry-url={schema_registry.url}", "--auto-register-schemas"]
    with (
        EndpointProcess(directory / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, directory / "job", options=options) as job,
    ):
        yield job


class Follower:
    """What another library reads of the job's outputs, by topic, with its own deserialiser."""

    def __init__(self, broker: KafkaBroker, client: SchemaRegistryClient, topics: list[str]) -> None:
        self.found: dict[str, list[dict[str, Any]]] = {topic: [] for topic in topics}
        self._decode = AvroDeserializer(client)
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": topics[0],
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        self._consumer.subscribe(topics)

    def poll(self) -> None:
        message = self._consumer.poll(0.2)
        if message is not None and not message.error():
            topic = message.topic()
            context = SerializationContext(topic, MessageField.VALUE, message.headers())
            self.found[topic].append(self._decode(message.value(), context))

    def close(self) -> None:
        self._consumer.close()


def test_producers_of_both_formats_are_transcribed_for_confluent_s_consumer(
    job: Job, kafka_broker: KafkaBroker, schema_registry: SchemaRegistryServer
) -> None:
    client = SchemaRegistryClient({"url": schema_registry.url})
    serialise = AvroSerializer(client, json.dumps(schemas.load("audio_chunk")))
    alone, registered = marked_session("alone", 2), marked_session("registered", 2)
    job.player.play([alone], speed=0).join()
    context = SerializationContext(job.topics.audio, MessageField.VALUE)
    for chunk in registered.chunks():
        job.player.send_raw(registered.id.encode(), serialise(chunk, context))
    job.player.send_raw(b"unknown-id", b"\x00\x00\x0f\x42\x3fnever registered")

    follower = Follower(
        kafka_broker, client, [job.topics.finals, job.topics.sessions, job.topics.dead_letters]
    )
    try:
        until = time.monotonic() + 120
        while len(follower.found[job.topics.sessions]) < 2 or not follower.found[job.topics.dead_letters]:
            assert time.monotonic() < until, {topic: len(found) for topic, found in follower.found.items()}
            assert job.process.is_running(), job.log_path.read_text()[-2000:]
            follower.poll()
    finally:
        follower.close()

    for session in (alone, registered):
        finals = [f for f in follower.found[job.topics.finals] if f["session_id"] == session.id]
        assert words_of(finals) == [word for line in session.sentences for word in line]
    (letter,) = follower.found[job.topics.dead_letters]
    assert letter["error_class"] == "UNKNOWN_SCHEMA"
    assert "id 999999" in letter["message"]
    assert set(client.get_subjects()) >= {f"{topic}-value" for topic in job.topics.outputs}


def test_a_job_whose_schemas_are_not_registered_does_not_start(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, schema_registry: SchemaRegistryServer, tmp_path: Path
) -> None:
    options = [f"--schema-registry-url={schema_registry.url}"]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as refused,
    ):
        until = time.monotonic() + 30
        while refused.process.is_running() and time.monotonic() < until:
            time.sleep(0.1)
        said = refused.log_path.read_text()
    assert "medstream schemas register" in said
    assert "Traceback" not in said
