"""Many records onto a topic by one thread, as fast as the broker takes them, bounded in flight.

Lighter than `publisher.Publisher`, which finds the record that is at fault and is shared by threads: here the
first failure ends everything. Records arrive in the order of sending, each once (an idempotent producer).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from kafka import errors as kafka_errors
from kafka.serializer import Serializer

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import DeliveryFailed, KafkaConnectorError, RecordTooLarge
from connectors.kafka.publisher import abandon

_MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024
_RECORD_OVERHEAD_BYTES = 100
_GRACE_SECONDS = 2.0
"""How much longer than the producer's own delivery timeout an acknowledgement is waited for."""


class _Null(bytes):
    """Stands for null on its way through `KafkaProducer.send`."""


_NULL = _Null()


class _NullsBack(Serializer):  # type: ignore[misc]  # kafka-python is untyped
    """Lets a record of neither key nor value through: kafka-python (3.0.12) refuses it, its encoder does not.

    Serializers run between the two.
    """

    def serialize(self, _topic: str, _headers: object, data: bytes) -> bytes | None:
        return None if data is _NULL else data


class BulkSender:
    """`send` records, then `flush` and `close`. Not thread-safe."""

    def __init__(self, config: ClientConfig, max_in_flight_bytes: int = _MAX_IN_FLIGHT_BYTES) -> None:
        """Connects. Raises KafkaConnectorError."""
        self._config = config
        self._max_in_flight_bytes = max_in_flight_bytes
        self._timeout_seconds = config.delivery_timeout_seconds + _GRACE_SECONDS
        self._producer = config.producer(value_serializer=_NullsBack())
        self._waiting: deque[tuple[Any, str, int]] = deque()
        self.in_flight_bytes = 0

    def prepare(self, topic: str) -> None:
        """Fetch what is to be known of the topic, so that the first record is not held up by it."""
        self._producer.partitions_for(topic)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Send one record; blocks while too much is in flight. `partition` None: by the key; `timestamp_ms`
        None: now.

        Raises the first failure of this record or of one before it: RecordTooLarge, DeliveryFailed,
        NotAuthorized, BrokerUnreachable.
        """
        size = _RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        for name, content in headers:
            size += len(name) + len(content)
        try:
            future = self._producer.send(
                topic,
                _NULL if value is None else value,
                key,
                list(headers),
                partition,
                timestamp_ms,
            )
        except Exception as error:
            raise self._mapped(error, topic, size) from None
        waiting = self._waiting
        waiting.append((future, topic, size))
        self.in_flight_bytes += size
        while waiting and (waiting[0][0].is_done or self.in_flight_bytes > self._max_in_flight_bytes):
            self._settle(time.monotonic() + self._timeout_seconds)

    def flush(self) -> None:
        """Return when all is acknowledged; raises as `send` does."""
        deadline = time.monotonic() + self._timeout_seconds
        while self._waiting:
            self._settle(deadline)

    def close(self) -> None:
        """Give up what is not acknowledged."""
        abandon(self._producer)

    def _settle(self, deadline: float) -> None:
        future, topic, size = self._waiting.popleft()
        self.in_flight_bytes -= size
        if future.is_done and future.exception is None:
            return
        try:
            future.get(timeout=max(0.0, deadline - time.monotonic()))
        except Exception as error:
            raise self._mapped(error, topic, size) from None

    def _mapped(self, error: Exception, topic: str, size: int) -> KafkaConnectorError:
        if isinstance(error, KafkaConnectorError):
            return error
        if isinstance(error, kafka_errors.MessageSizeTooLargeError | kafka_errors.RecordListTooLargeError):
            return RecordTooLarge(topic, size)
        if isinstance(error, kafka_errors.AuthorizationError):
            return self._config.map_error(error)
        return DeliveryFailed(topic, type(error).__name__, "Nothing is sent after it")
