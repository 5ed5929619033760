"""Masked finals on a secured cluster, exactly once: who may read the masked topic alone sees no PHI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ACLOperation, ResourceType

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, NotAuthorized
from connectors.kafka.probing.access import check_connection
from deploy.local.flink import FlinkJobServer
from deploy.local.transcribe.process import EndpointProcess
from pipeline.consuming import read_finals
from pipeline.elements import FinalTranscript
from pipeline.output.entities import words_of
from tests.integration.harness import Job, Session, Topics, running_job
from tests.integration.secured_kafka import PASSWORD, SASL_SSL, SecuredKafka, allowed

pytestmark = pytest.mark.timeout(180)

JOB_USER, READER = "masking-job", "masked-reader"
SENTENCES = (
    ("we", "saw", "Marcus", "Aurelius", "again"),
    ("he", "sleeps", "well"),
    ("call", "room", "47", "about", "him"),
)
NAMES = {"marcus", "aurelius", "47"}


@pytest.fixture(scope="module")
def topics(secured_kafka: SecuredKafka) -> tuple[Topics, str]:
    """Topics, and ACLs: the job's user has what a job needs, the reader READ on the masked topic."""
    broker = secured_kafka.broker
    topics = Topics.create(broker, partitions=1)
    masked = f"{topics.finals}.masked"
    broker.create_topics({masked: 3})  # not as many as the finals
    broker.create_topics({f"{topics.finals}.progress": 2}, {"cleanup.policy": "compact"})
    for user in (JOB_USER, READER):
        broker.set_password(user, PASSWORD)
    job, reader = f"User:{JOB_USER}", f"User:{READER}"
    broker.allow(
        allowed(ACLOperation.READ, ResourceType.TOPIC, topics.audio, job),
        allowed(ACLOperation.READ, ResourceType.GROUP, topics.audio, job),
        *(allowed(ACLOperation.WRITE, ResourceType.TOPIC, topic, job) for topic in (*topics.outputs, masked)),
        *(
            allowed(operation, ResourceType.TOPIC, f"{topics.finals}.progress", job)
            for operation in (ACLOperation.READ, ACLOperation.WRITE)
        ),
        *(
            allowed(ACLOperation.WRITE, ResourceType.TRANSACTIONAL_ID, f"{topics.finals}-{n}", job)
            for n in range(2)
        ),
        allowed(ACLOperation.READ, ResourceType.TOPIC, masked, reader),
    )
    return topics, masked


@pytest.fixture
def job(
    secured_kafka: SecuredKafka, flink: FlinkJobServer, topics: tuple[Topics, str], tmp_path: Path
) -> Iterator[Job]:
    file = tmp_path / "client.properties"
    properties = secured_kafka.password("SCRAM-SHA-512", user=JOB_USER)
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    options = [
        *("--bootstrap-servers", secured_kafka.address(SASL_SSL), "--command-config", str(file)),
        *("--masked-topic", topics[1], "--delivery", "exactly-once"),
    ]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint,
        running_job(
            secured_kafka.broker, flink, endpoint, tmp_path / "job", topics=topics[0], options=options
        ) as job,
    ):
        yield job


def test_whoever_reads_the_masked_topic_alone_sees_every_final_and_no_name(
    job: Job, secured_kafka: SecuredKafka, topics: tuple[Topics, str]
) -> None:
    session = Session("masked-1", SENTENCES)
    chunks = session.chunks()
    chunks[0]["settings"] = {"content_identification_type": "NONE"}  # cannot turn it off
    for chunk in chunks:
        job.player.send(chunk)
    job.outputs.wait_ended([session], 120)
    finals, masked = job.outputs.finals_of(session.id), read(secured_kafka, topics[1])

    assert words(finals) == [word.lower() for line in SENTENCES for word in line]
    assert [final.id for final in masked] == [f"{session.id}/{final['segment_index']}" for final in finals]
    for final, shown in zip(finals, masked, strict=True):
        [best] = shown.alternatives
        assert (final["phi_masked"], shown.phi_masked) == (False, True)
        texts = [best.transcript, *(part.content for part in (*best.items, *best.entities))]
        assert not NAMES & set(words_of(" ".join(texts)))
        items = final["alternatives"][0]["items"]
        assert [(i.start_time, i.confidence) for i in best.items] == [
            (i["start_time"], i["confidence"]) for i in items
        ]
        expected = ["[PHI]" if i["content"].lower() in NAMES else i["content"] for i in items]
        assert [i.content for i in best.items] == expected
    assert sum("[PHI]" in final.text for final in masked) == 2, "and none was masked as a whole"

    config, option = as_reader(secured_kafka), "--output-topic"
    assert check_connection(config, {option: topics[1]}, read=(option,)) == {topics[1]: 3}
    with pytest.raises(NotAuthorized, match="READ topic"):
        check_connection(config, {option: topics[0].finals}, read=(option,))
    with pytest.raises(KafkaConnectorError):
        read(secured_kafka, topics[0].finals)


def as_reader(cluster: SecuredKafka) -> ClientConfig:
    return ClientConfig.build(
        cluster.address(SASL_SSL), properties=cluster.password("SCRAM-SHA-512", user=READER)
    )


def read(cluster: SecuredKafka, topic: str) -> list[FinalTranscript]:
    return list(read_finals(as_reader(cluster), topic, until="end"))


def words(finals: list[dict[str, Any]]) -> list[str]:
    return [
        item["content"].lower()
        for final in finals
        for item in final["alternatives"][0]["items"]
        if item["type"] == "pronunciation"
    ]
