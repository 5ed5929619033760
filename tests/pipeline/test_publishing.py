"""The Beam shell of the publishers: keys, waiting for the bundle, failures, another number of partitions."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import DeliveryFailed, KafkaConnectorError, PartitionsChanged, ProducerFenced
from connectors.kafka.partitions import partition_for
from pipeline import publishing
from pipeline.output.partition_publisher import Published
from pipeline.output.progress import Opening, SessionStep
from pipeline.publishing import KeyByOutputPartition, PublishFn
from pipeline.settings import JobSettings, Topics
from pipeline.worker.service import ServiceSettings
from tests.pipeline.test_transforms import Cell

STEP = SessionStep("session-1", Opening("audio", "", 0, 0), 0, 0, b"c")
SETTINGS = JobSettings(
    ClientConfig.build("127.0.0.1:1"),
    Topics("audio", "finals", "letters"),
    ServiceSettings("us-east-1"),
    finals_partitions=3,
)


class ScriptedPublisher:
    """Answers every step with `answer`, or never when it is None."""

    def __init__(self, answer: Published | KafkaConnectorError | None) -> None:
        self.steps: list[SessionStep] = []
        self.closed_with: KafkaConnectorError | None = None
        self._answer = answer

    def submit(self, step: SessionStep) -> Future[Published]:
        self.steps.append(step)
        future: Future[Published] = Future()
        if isinstance(self._answer, KafkaConnectorError):
            future.set_exception(self._answer)
        elif self._answer is not None:
            future.set_result(self._answer)
        return future

    def close(self, error: KafkaConnectorError) -> None:
        self.closed_with = error


@pytest.fixture
def publishers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, ScriptedPublisher]]:
    found: dict[int, ScriptedPublisher] = {}
    monkeypatch.setattr(publishing, "publisher_for", lambda _settings, partition: found[partition])
    return found


def started(settings: JobSettings = SETTINGS) -> PublishFn:
    fn = PublishFn(settings)
    fn.start_bundle()
    return fn


def test_a_step_is_keyed_by_the_partition_that_kafka_gives_its_session() -> None:
    ((partition, step),) = KeyByOutputPartition(3).process(STEP.as_tuple())
    assert partition == partition_for(b"session-1", 3)
    assert SessionStep.from_tuple(step) == STEP


def test_a_bundle_hands_its_steps_in_and_waits_for_them(publishers: dict[int, ScriptedPublisher]) -> None:
    publishers |= {0: ScriptedPublisher(Published(1, 0, 0, 5)), 1: ScriptedPublisher(Published(0, 1, 0, 5))}
    fn = started()
    for partition in (0, 1, 0):
        fn.process((partition, STEP.as_tuple()), Cell())
    fn.finish_bundle()
    assert [len(publisher.steps) for publisher in publishers.values()] == [2, 1]


def test_a_failure_fails_the_bundle(publishers: dict[int, ScriptedPublisher]) -> None:
    publishers[0] = ScriptedPublisher(ProducerFenced("finals-0"))
    fn = started()
    fn.process((0, STEP.as_tuple()), Cell())
    with pytest.raises(ProducerFenced):
        fn.finish_bundle()
    fn.start_bundle()
    fn.finish_bundle()  # what had failed is not waited for again


def test_an_answer_that_does_not_come_is_waited_for_so_long(
    publishers: dict[int, ScriptedPublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_GRACE_SECONDS", 0.05)
    publishers[0] = ScriptedPublisher(None)
    kafka = ClientConfig.build("127.0.0.1:1", properties={"delivery.timeout.ms": "50"})
    fn = started(replace(SETTINGS, kafka=kafka))
    fn.process((0, STEP.as_tuple()), Cell())
    with pytest.raises(DeliveryFailed, match="no answer within") as failed:
        fn.finish_bundle()
    assert publishers[0].closed_with is failed.value


def test_state_of_another_number_of_partitions_is_refused(publishers: dict[int, ScriptedPublisher]) -> None:
    publishers[0] = ScriptedPublisher(Published(1, 0, 0, 5))
    cell: Any = Cell()
    started().process((0, STEP.as_tuple()), cell)
    assert cell.value == 3
    assert cell.writes == 1
    started().process((0, STEP.as_tuple()), cell)
    assert cell.writes == 1, "written once"
    with pytest.raises(PartitionsChanged, match="has 4 partitions"):
        started(replace(SETTINGS, finals_partitions=4)).process((0, STEP.as_tuple()), cell)
