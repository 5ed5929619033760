"""The publisher over a scripted producer: what is in flight, what an error becomes, when the producer is
replaced.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import errors as kafka_errors
from kafka.future import Future

from connectors.kafka import publisher as publisher_module
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import (
    BrokerUnreachable,
    DeliveryFailed,
    NotAuthorized,
    RecordTooLarge,
    UnknownTopic,
)
from connectors.kafka.publisher import Delivery, Publisher

SECRET = b"PATIENT-WORDS"


class ScriptedFuture(Future):
    """A delivery that the test acknowledges or fails."""

    def get(self, timeout: float) -> Any:
        if not self.is_done:
            raise kafka_errors.KafkaTimeoutError(f"after {timeout} s")
        if self.failed():
            raise self.exception
        return self.value


@dataclass
class ScriptedProducer:
    refuse: Exception | None = None
    futures: list[ScriptedFuture] = field(default_factory=list)
    closed: bool = False

    def send(self, _topic: str, **_: Any) -> ScriptedFuture:
        if self.refuse is not None:
            raise self.refuse
        self.futures.append(ScriptedFuture())
        return self.futures[-1]

    def close(self, timeout: float) -> None:  # noqa: ARG002
        self.closed = True


class AnsweringProducer(ScriptedProducer):
    """Refuses the value b"1" and acknowledges anything else at once."""

    def send(self, topic: str, **record: Any) -> ScriptedFuture:
        future = super().send(topic, **record)
        if record["value"] == b"1":
            future.failure(kafka_errors.MessageSizeTooLargeError())
        else:
            future.success(None)
        return future


class ScriptedPublisher(Publisher):
    """A publisher whose producers are scripted ones; `opened` keeps them in order."""

    def __init__(self, *producers: ScriptedProducer, max_in_flight_bytes: int = 10_000, timeout: float = 0.2):
        properties = {"delivery.timeout.ms": str(round(timeout * 1000))}
        super().__init__(ClientConfig.build("localhost:9092", properties=properties), max_in_flight_bytes)
        self.opened: list[ScriptedProducer] = []
        self._scripted = list(producers) or [ScriptedProducer(), ScriptedProducer()]

    def _open(self) -> ScriptedProducer:
        self.opened.append(self._scripted.pop(0))
        return self.opened[-1]


def test_acknowledged_records_leave_room() -> None:
    publisher = ScriptedPublisher()
    delivery = publisher.send("t", b"k", SECRET, [("h", b"1")])
    assert publisher.in_flight_bytes > len(SECRET)
    publisher.opened[0].futures[0].success(None)
    publisher.wait([delivery])
    assert publisher.in_flight_bytes == 0


def test_send_blocks_until_there_is_room() -> None:
    publisher = ScriptedPublisher(max_in_flight_bytes=1_000, timeout=10)
    publisher.send("t", b"k", bytes(800), [])
    first = publisher.opened[0].futures[0]
    threading.Timer(0.1, lambda: first.success(None)).start()
    publisher.send("t", b"k", bytes(800), [])
    assert first.is_done


def test_send_gives_up_when_nothing_is_acknowledged() -> None:
    publisher = ScriptedPublisher(max_in_flight_bytes=1_000)
    publisher.send("t", b"k", bytes(800), [])
    with pytest.raises(DeliveryFailed, match="too long") as caught:
        publisher.send("t", b"k", bytes(800), [])
    assert caught.value.retryable


def test_a_record_larger_than_the_bound_passes_alone() -> None:
    publisher = ScriptedPublisher(max_in_flight_bytes=1_000)
    publisher.send("t", b"k", bytes(5_000), [])
    assert publisher.in_flight_bytes > 5_000


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (kafka_errors.KafkaTimeoutError(SECRET), DeliveryFailed),
        (kafka_errors.NotEnoughReplicasError(), DeliveryFailed),
        (kafka_errors.TopicAuthorizationFailedError({"t"}), NotAuthorized),
    ],
)
def test_a_failed_delivery_is_raised_and_its_producer_replaced(
    error: Exception, expected: type[Exception]
) -> None:
    publisher = ScriptedPublisher()
    failed = publisher.send("t", b"k", SECRET, [])
    publisher.opened[0].futures[0].failure(error)
    with pytest.raises(expected) as caught:
        publisher.wait([failed])
    assert "PATIENT" not in str(caught.value)
    assert publisher.opened[0].closed
    publisher.send("t", b"k", b"v", [])
    assert len(publisher.opened) == 2
    assert publisher.in_flight_bytes < 200


def test_an_old_producers_failure_leaves_the_new_one_alone() -> None:
    publisher = ScriptedPublisher(ScriptedProducer(), ScriptedProducer(), AnsweringProducer())
    first, second = (publisher.send("t", b"k", b"v", []) for _ in range(2))
    for future in publisher.opened[0].futures:
        future.failure(kafka_errors.KafkaTimeoutError("gone"))
    with pytest.raises(DeliveryFailed):
        publisher.wait([first])
    publisher.send("t", b"k", b"v", [])
    publisher.wait([second])
    assert not publisher.opened[1].closed


def test_a_record_that_send_refuses_takes_no_room() -> None:
    publisher = ScriptedPublisher(ScriptedProducer(refuse=kafka_errors.MessageSizeTooLargeError("too large")))
    with pytest.raises(RecordTooLarge):
        publisher.send("t", b"k", bytes(5_000), [])
    assert publisher.in_flight_bytes == 0


def test_what_is_never_acknowledged_is_a_failed_delivery() -> None:
    publisher = ScriptedPublisher()
    delivery = publisher.send("t", b"k", b"v", [])
    with pytest.raises(DeliveryFailed, match="KafkaTimeoutError"):
        publisher.wait([delivery])


def test_collect_counts_failures_without_waiting() -> None:
    publisher = ScriptedPublisher()
    deliveries = [publisher.send("t", b"k", b"v", []) for _ in range(3)]
    acknowledged, failed, _ = publisher.opened[0].futures
    acknowledged.success(None)
    failed.failure(kafka_errors.KafkaTimeoutError("gone"))
    assert publisher.collect(deliveries) == (1, [deliveries[2]])
    assert publisher.opened[0].closed


# What can never be delivered


def scripted_bundle(
    *errors: Exception | None, then: list[ScriptedProducer] | None = None
) -> tuple[ScriptedPublisher, list[Delivery]]:
    """A record for each error (None: acknowledged), sent by a first producer; `then` are those after it."""
    publisher = ScriptedPublisher(ScriptedProducer(), *(then or []))
    sent = [publisher.send("t", b"k", b"%d" % number, []) for number in range(len(errors))]
    for future, error in zip(publisher.opened[0].futures, errors, strict=True):
        _ = future.success(None) if error is None else future.failure(error)
    return publisher, sent


def test_a_culprit_is_told_from_what_failed_with_it() -> None:
    too_large = kafka_errors.MessageSizeTooLargeError()
    second, third = AnsweringProducer(), AnsweringProducer()
    publisher, sent = scripted_bundle(None, too_large, too_large, then=[second, third])
    [(record, error)] = publisher.undelivered(sent)
    assert record[2] == b"1"
    assert isinstance(error, RecordTooLarge)
    assert (len(second.futures), len(third.futures)) == (1, 1)  # the culprit cost its producer, again
    assert second.closed
    assert third.closed


def test_somebody_else_s_culprit_fails_no_bundle() -> None:
    publisher, sent = scripted_bundle(
        kafka_errors.MessageSizeTooLargeError(), None, then=[AnsweringProducer()]
    )
    publisher.wait(sent)
    assert publisher.in_flight_bytes == 0


def test_a_producer_that_another_bundle_gave_up_fails_no_bundle() -> None:
    """Else a bundle of two sinks, with an undeliverable record for the first, would fail for ever."""
    publisher, [culprit, innocent] = scripted_bundle(
        kafka_errors.MessageSizeTooLargeError(), None, then=[AnsweringProducer(), AnsweringProducer()]
    )
    bystander = publisher.send("t", b"k", b"2", [])
    publisher.undelivered([culprit, innocent])
    publisher.opened[0].futures[-1].failure(kafka_errors.KafkaError("forcefully closed"))
    publisher.wait([bystander])
    assert len(publisher.opened[2].futures) == 1


def test_a_culprit_fails_its_bundle() -> None:
    error = kafka_errors.MessageSizeTooLargeError()
    publisher, sent = scripted_bundle(None, error, then=[AnsweringProducer()])
    with pytest.raises(RecordTooLarge):
        publisher.wait(sent)


def test_an_acknowledged_record_is_not_kept() -> None:
    _, sent = scripted_bundle(None, kafka_errors.KafkaTimeoutError("gone"))
    assert [delivery.record[2] for delivery in sent] == [None, b"1"]


def test_a_broker_that_is_gone_is_no_dead_letter() -> None:
    publisher, sent = scripted_bundle(None, kafka_errors.KafkaTimeoutError("gone"))
    with pytest.raises(DeliveryFailed):
        publisher.undelivered(sent)


def test_a_topic_that_does_not_exist_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(publisher_module, "topic_exists", lambda _, topic: bool(asked.append(topic)))
    timeout = kafka_errors.KafkaTimeoutError("Failed to update metadata")
    publisher = ScriptedPublisher(ScriptedProducer(refuse=timeout))
    for _ in range(3):
        with pytest.raises(UnknownTopic, match="no topic 'nowhere'"):
            publisher.send("nowhere", b"k", SECRET, [])
    assert asked == ["nowhere"]
    assert publisher.in_flight_bytes == 0


@pytest.mark.parametrize("answer", [True, BrokerUnreachable("h:1", "gone")])
def test_a_timeout_of_a_topic_that_may_exist_is_a_failed_delivery(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    def exists(*_: object) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return True

    monkeypatch.setattr(publisher_module, "topic_exists", exists)
    publisher = ScriptedPublisher(ScriptedProducer(refuse=kafka_errors.KafkaTimeoutError("no metadata")))
    with pytest.raises(DeliveryFailed):
        publisher.send("t", b"k", b"v", [])


def test_a_failed_producer_writes_nothing_more() -> None:
    """Its own `close` would leave the sender running, with records that are sent again by another one."""
    calls: list[str] = []

    class Sender:
        def force_close(self) -> None:
            calls.append("force_close")

    class Stubborn(ScriptedProducer):
        _sender = Sender()

        def close(self, timeout: float) -> None:
            calls.append("close")
            raise kafka_errors.KafkaTimeoutError(f"after {timeout} s")

    publisher = ScriptedPublisher(Stubborn(), ScriptedProducer())
    failed = publisher.send("t", b"k", b"v", [])
    publisher.opened[0].futures[0].failure(kafka_errors.NotEnoughReplicasError())
    with pytest.raises(DeliveryFailed):
        publisher.wait([failed])
    assert calls == ["force_close", "close"]
