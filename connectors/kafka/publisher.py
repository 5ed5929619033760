"""One idempotent Kafka producer per worker process, with a bound on what is in flight.

kafka-python's `send` has no back-pressure: it buffers without limit while a broker is away. Here `send`
blocks while more than `max_in_flight_bytes` are unacknowledged, and gives up after the delivery timeout. A
producer that failed fatally is replaced, so that the runner's retry of the bundle finds a working one.

A record that can never be delivered fails what is in flight with it: kafka-python's idempotent producer takes
any refused batch for its end. `undelivered` finds the culprit by sending what failed once more, one by one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import DeliveryFailed, KafkaConnectorError, RecordTooLarge, UnknownTopic
from connectors.kafka.probing.access import topic_exists

MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024
_RECORD_OVERHEAD_BYTES = 100
_GRACE_SECONDS = 2.0
"""How much longer than the producer's own delivery timeout an acknowledgement is waited for."""

Headers = Sequence[tuple[str, bytes]]
UNDELIVERABLE = (RecordTooLarge, UnknownTopic)
"""What no retry mends, and what says nothing about other records."""
_ABANDON_SECONDS = 1.0
_UNKNOWN_TOPIC_SECONDS = 30.0
"""How long a topic that does not exist is remembered: each attempt blocks for max.block.ms."""


Record = tuple[str, bytes | None, bytes | None, Headers]
"""topic, key, value, headers"""


class Generation:
    """One producer of the publisher's row; `abandoned` when it was replaced, and its records with it."""

    __slots__ = ("abandoned", "client")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.abandoned = False


class Delivery:
    """The acknowledgement of one record, to be waited for. It keeps the record until it is acknowledged."""

    __slots__ = ("_future", "producer", "record", "size_bytes", "topic")

    def __init__(self, record: Record, future: Any, size_bytes: int, producer: Generation) -> None:
        self.topic = record[0]
        self.record = record
        future.add_callback(self._forget)
        self.size_bytes = size_bytes
        self.producer = producer
        self._future = future

    @property
    def done(self) -> bool:
        """Whether it is acknowledged or has failed."""
        return bool(self._future.is_done)

    @property
    def offset(self) -> int:
        """Of the record, which must be acknowledged."""
        return int(self._future.get(timeout=0).offset)

    def _forget(self, _: Any) -> None:
        self.record = (self.topic, None, None, ())

    def outcome(self, timeout_seconds: float) -> Exception | None:
        """kafka-python's error, or None when the record is acknowledged."""
        try:
            self._future.get(timeout=timeout_seconds)
        except Exception as error:
            return error
        return None


def _send_and_wait(producer: Any, record: Record, timeout_seconds: float) -> Exception | None:
    topic, key, value, headers = record
    try:
        producer.send(topic, key=key, value=value, headers=list(headers)).get(timeout=timeout_seconds)
    except Exception as error:
        return error
    return None


def abandon(producer: Any) -> None:
    """End a KafkaProducer without sending what it still has, for that is sent again by another one.

    Its own `close` waits for what is pending and, when that takes too long, raises before it has stopped the
    sender (3.0.12), which would go on and write old records behind newer ones.
    """
    sender = getattr(producer, "_sender", None)
    if sender is not None:
        sender.force_close()
    with contextlib.suppress(Exception):
        producer.close(timeout=_ABANDON_SECONDS)


class Publisher:
    """Sends records and waits for their acknowledgements. Thread-safe."""

    def __init__(self, config: ClientConfig, max_in_flight_bytes: int = MAX_IN_FLIGHT_BYTES) -> None:
        self._config = config
        self._max_in_flight_bytes = max_in_flight_bytes
        self._room = threading.Condition()
        self._in_flight_bytes = 0
        self._producer: Generation | None = None
        self._unknown_topics: dict[str, float] = {}
        self._timeout_seconds = config.delivery_timeout_seconds

    @property
    def in_flight_bytes(self) -> int:
        """Bytes handed to the producer and not yet acknowledged or failed."""
        return self._in_flight_bytes

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        *,
        partition: int | None = None,
    ) -> Delivery:
        """Hand one record to the producer; blocks while too much is in flight. `partition` None: by the key.

        Raises RecordTooLarge, UnknownTopic, DeliveryFailed (no room or no topic metadata in time),
        BrokerUnreachable.
        """
        if self._unknown_topics and self._unknown_topics.get(topic, 0.0) > time.monotonic():
            raise UnknownTopic(topic, "topic of the record", self._config.bootstrap_servers)
        size = _RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        size += sum(len(name) + len(content) for name, content in headers)
        producer = self._reserve(topic, size)
        try:
            future = producer.client.send(
                topic, key=key, value=value, headers=list(headers), partition=partition
            )
        except Exception as error:
            self._release(size)
            raise self._refusal(topic, size, error) from None
        future.add_both(lambda _: self._release(size))
        return Delivery((topic, key, value, headers), future, size, producer)

    def wait(self, deliveries: Iterable[Delivery]) -> None:
        """Return when all are acknowledged. Raises the first failure: DeliveryFailed, RecordTooLarge,
        NotAuthorized.
        """
        for _, error in self.undelivered(deliveries):
            raise error

    def undelivered(self, deliveries: Iterable[Delivery]) -> list[tuple[Record, KafkaConnectorError]]:
        """Wait for all; the records that can never be delivered, with the reason (UNDELIVERABLE).

        What failed together with such a record, of whatever sink, is sent again, in its order. Raises the
        first other failure, unless it was another bundle's: that bundle is repeated.
        """
        deadline = time.monotonic() + self._timeout_seconds + _GRACE_SECONDS
        failed: list[Delivery] = []
        causes: list[KafkaConnectorError] = []
        for delivery in deliveries:
            error = delivery.outcome(max(0.0, deadline - time.monotonic()))
            if error is None:
                continue
            failed.append(delivery)
            if not delivery.producer.abandoned:
                causes.append(self._mapped(delivery.topic, delivery.size_bytes, error))
            self._replace(delivery.producer)
        if causes and not any(isinstance(cause, UNDELIVERABLE) for cause in causes):
            raise causes[0]
        return self._send_alone(failed)

    def _send_alone(self, failed: Sequence[Delivery]) -> list[tuple[Record, KafkaConnectorError]]:
        """Send again one by one, by a producer without anybody else's records; those that are refused."""
        lost: list[tuple[Record, KafkaConnectorError]] = []
        producer: Any = None
        try:
            for delivery in failed:
                producer = producer or self._open()
                error = _send_and_wait(producer, delivery.record, self._timeout_seconds + _GRACE_SECONDS)
                if error is None:
                    continue
                mapped = self._mapped(delivery.topic, delivery.size_bytes, error)
                if not isinstance(mapped, UNDELIVERABLE):
                    raise mapped
                lost.append((delivery.record, mapped))
                abandon(producer)
                producer = None
        finally:
            if producer is not None:
                abandon(producer)
        return lost

    def collect(self, deliveries: Iterable[Delivery]) -> tuple[int, list[Delivery]]:
        """Without waiting: how many of the deliveries have failed, and those still under way."""
        failed, under_way = 0, []
        for delivery in deliveries:
            if not delivery.done:
                under_way.append(delivery)
            elif delivery.outcome(0) is not None:
                failed += 1
                self._replace(delivery.producer)
        return failed, under_way

    def partitions_for(self, topic: str) -> set[int] | None:
        """The topic's partitions as the producer knows them."""
        with self._room:
            if self._producer is None:
                self._producer = Generation(self._open())
            producer = self._producer
        try:
            partitions: set[int] | None = producer.client.partitions_for(topic)
        except Exception as error:
            raise self._mapped(topic, 0, error) from None
        return partitions

    def close(self) -> None:
        """Send what is buffered, within the delivery timeout, and close; deliveries tell what was not."""
        with self._room:
            producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.client.close(timeout=self._timeout_seconds)
        except kafka_errors.KafkaError:
            abandon(producer.client)

    def _reserve(self, topic: str, size: int) -> Generation:
        """Room for `size` bytes and the producer to use. A record larger than the bound passes alone."""
        with self._room:
            room = self._room.wait_for(
                lambda: (
                    not self._in_flight_bytes or self._in_flight_bytes + size <= self._max_in_flight_bytes
                ),
                timeout=self._timeout_seconds,
            )
            if room:
                if self._producer is None:
                    self._producer = Generation(self._open())
                self._in_flight_bytes += size
                return self._producer
            stuck, waiting = self._producer, self._in_flight_bytes
        if stuck is not None:  # what it holds has waited for longer than the delivery timeout
            self._replace(stuck)
        raise DeliveryFailed(topic, f"{waiting} bytes wait for acknowledgement for too long")

    def _open(self) -> Any:
        return self._config.producer()

    def _release(self, size: int) -> None:
        with self._room:
            self._in_flight_bytes -= size
            self._room.notify_all()

    def _replace(self, failed: Generation) -> None:
        """The next send gets a new producer.

        Also when only one record was at fault: kafka-python's idempotent producer treats a batch that a
        broker refused as fatal and fails every later one with the same error (3.0.12,
        Sender._maybe_abort_batches).
        """
        with self._room:
            if self._producer is failed:
                self._producer = None
            if failed.abandoned:
                return
            failed.abandoned = True
        abandon(failed.client)

    def _refusal(self, topic: str, size: int, error: Exception) -> KafkaConnectorError:
        """Why `send` itself failed: an unknown topic ends in a timeout, like a broker that is gone."""
        if isinstance(error, kafka_errors.KafkaTimeoutError):
            with contextlib.suppress(KafkaConnectorError):
                if not topic_exists(self._config, topic):
                    self._unknown_topics[topic] = time.monotonic() + _UNKNOWN_TOPIC_SECONDS
                    return UnknownTopic(topic, "topic of the record", self._config.bootstrap_servers)
        return self._mapped(topic, size, error)

    def _mapped(self, topic: str, size: int, error: Exception) -> KafkaConnectorError:
        if isinstance(error, KafkaConnectorError):
            return error
        if isinstance(error, (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)):
            return RecordTooLarge(topic, size)
        if isinstance(error, kafka_errors.AuthorizationError):
            return self._config.map_error(error)
        return DeliveryFailed(topic, type(error).__name__)


_PUBLISHERS: dict[ClientConfig, Publisher] = {}
_PUBLISHERS_LOCK = threading.Lock()


def shared_publisher(config: ClientConfig) -> Publisher:
    """The process's publisher for this configuration."""
    with _PUBLISHERS_LOCK:
        if config not in _PUBLISHERS:
            _PUBLISHERS[config] = Publisher(config)
        return _PUBLISHERS[config]
