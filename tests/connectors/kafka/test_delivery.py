"""Both ways to deliver, over scripted producers: what is sent in which order, and what an error becomes.

Real transactions are in tests/integration/test_transactions.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors as kafka_errors

from connectors.kafka import delivery
from connectors.kafka.client import ClientConfig
from connectors.kafka.compacted import Table
from connectors.kafka.delivery import ExactlyOnce, Message, check_partitions
from connectors.kafka.errors import (
    DeliveryFailed,
    KafkaConnectorError,
    NotAuthorized,
    PartitionsChanged,
    ProducerFenced,
    RecordTooLarge,
)

SECRET = b"PATIENT-WORDS"
MESSAGES = [Message("finals", 1, b"s", SECRET, (("ce_id", b"s/0"),)), Message("ends", None, b"s", SECRET)]
MARKERS = [Message("progress", 1, b"s", b"marker")]


class Future:
    """A record's acknowledgement, or the error that came instead."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def get(self, timeout: float) -> None:
        assert timeout == 0, "it must have been waited for"
        if self._error is not None:
            raise self._error


class ScriptedProducer:
    """Notes its calls; `fails` names the one that raises `error`."""

    def __init__(self, fails: str = "", error: Exception | None = None, partitions: int = 2) -> None:
        self.calls: list[Any] = []
        self.partitions = partitions
        self._fails = fails
        self._error = error

    def _note(self, name: str, *details: Any) -> None:
        self.calls.append((name, *details) if details else name)
        if name == self._fails and self._error is not None:
            raise self._error

    def init_transactions(self) -> None:
        self._note("init")

    def begin_transaction(self) -> None:
        self._note("begin")

    def commit_transaction(self) -> None:
        self._note("commit")

    def send(self, topic: str, **record: Any) -> Future:
        self._note("send", topic, record["partition"])
        return Future(self._error if self._fails == "acknowledgement" else None)

    def flush(self, timeout: float) -> None:
        assert timeout < 30
        self._note("flush")

    def partitions_for(self, _topic: str) -> set[int]:
        return set(range(self.partitions))

    def close(self, timeout: float) -> None:
        self._note("close", timeout)


def exactly_once(monkeypatch: pytest.MonkeyPatch, producer: ScriptedProducer) -> ExactlyOnce:
    config = ClientConfig.build("127.0.0.1:1")
    monkeypatch.setattr(ClientConfig, "producer", lambda _self, **_arguments: producer)
    monkeypatch.setattr(
        delivery, "read_table", lambda *_, **__: producer.calls.append("read") or Table({}, {})
    )
    return ExactlyOnce(
        config, topic="finals", markers_topic="progress", partition=1, count=2, transactional_id="sink-1"
    )


def test_whoever_wrote_before_is_fenced_before_the_markers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = ScriptedProducer()
    exactly_once(monkeypatch, producer).open()
    assert producer.calls == ["init", "read"]


def test_outputs_and_markers_go_into_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = ScriptedProducer()
    way = exactly_once(monkeypatch, producer)
    way.open()
    way.write(MESSAGES, MARKERS)
    assert producer.calls[2:] == [
        "begin",
        ("send", "finals", 1),
        ("send", "ends", None),
        ("send", "progress", 1),
        "flush",
        "commit",
    ]
    way.close()
    way.close()
    assert [call[0] for call in producer.calls].count("close") == 1


def test_a_producer_that_is_in_an_error_state_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call after the one that was fenced gets an error of no kind."""
    producer = ScriptedProducer("send", kafka_errors.KafkaError("we are in an error state"))
    producer._transaction_manager = SimpleNamespace(last_error=kafka_errors.ProducerFencedError())
    way = exactly_once(monkeypatch, producer)
    way.open()
    with pytest.raises(ProducerFenced):
        way.write(MESSAGES, MARKERS)


@pytest.mark.parametrize("moment", ["begin", "send", "flush", "acknowledgement", "commit"])
@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (kafka_errors.ProducerFencedError(), ProducerFenced),
        (kafka_errors.InvalidProducerEpochError(), ProducerFenced),
        (kafka_errors.KafkaError(kafka_errors.ProducerFencedError()), ProducerFenced),
        (kafka_errors.KafkaTimeoutError("x"), DeliveryFailed),
        (TimeoutError(), DeliveryFailed),
        (kafka_errors.MessageSizeTooLargeError("x"), RecordTooLarge),
        (kafka_errors.TransactionalIdAuthorizationFailedError(), NotAuthorized),
        (AssertionError("a bug of the library"), DeliveryFailed),
    ],
)
def test_whatever_fails_is_one_of_our_errors(
    monkeypatch: pytest.MonkeyPatch, moment: str, error: Exception, ours: type[KafkaConnectorError]
) -> None:
    way = exactly_once(monkeypatch, ScriptedProducer(moment, error))
    way.open()
    with pytest.raises(ours) as failed:
        way.write(MESSAGES, MARKERS)
    assert SECRET.decode() not in str(failed.value)


def test_another_number_of_partitions_is_noticed_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer = ScriptedProducer()
    way = exactly_once(monkeypatch, producer)
    way.open()
    producer.partitions = 3
    with pytest.raises(PartitionsChanged, match="has 3 partitions"):
        way.write(MESSAGES, MARKERS)
    assert "begin" not in producer.calls


def test_partitions_that_the_client_does_not_know_yet_are_no_change() -> None:
    check_partitions(lambda _topic: None, "finals", 2)


def test_messages_do_not_show_what_they_hold() -> None:
    assert SECRET.decode() not in repr(MESSAGES)
