"""Write outputs together with the markers that say what has been written: at least once, or exactly once.

Both ways write to one partition of the markers' topic, and belong to whoever owns that partition.

`ExactlyOnce`: one transaction for outputs and markers. `open` fences whoever wrote under the same
transactional.id before, so what is read afterwards is all there will be of it.

`AtLeastOnce`: the markers are written when the outputs are acknowledged. Nobody is fenced, so `is_current`
tells whether anyone else has written markers since; then they must be read again.

After a failed `write` its outcome is open: `open` again, and the markers tell.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.compacted import Table, read_table
from connectors.kafka.errors import (
    DeliveryFailed,
    KafkaConnectorError,
    PartitionsChanged,
    ProducerFenced,
    RecordTooLarge,
)
from connectors.kafka.publisher import Publisher, abandon, shared_publisher

PROGRESS_TOPIC = "--progress-topic"
_TRANSACTION_TIMEOUT_MS = 15_000
"""A dead worker's transaction holds up `read_committed` readers for so long, unless its successor ends it."""
_TRANSACTION_RETRY_MS = 5
"""kafka-python waits so long between the steps of a transaction; with its default each takes 100 ms."""
_ATTEMPT_SECONDS = 6.0
"""A transaction that takes longer is given up. kafka-python (3.0.12) has no limit for a commit, and was seen
to wait for a coordinator that had long been back, until its records expired; a new producer finds it.
"""


@dataclass(frozen=True, slots=True)
class Message:
    """One record to write; `partition` None: by the key. Neither key, value nor headers are in `repr`."""

    topic: str
    partition: int | None
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Sequence[tuple[str, bytes]] = field(default=(), repr=False)


_FENCED = (kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError)


class Delivery(Protocol):
    """How messages and markers are written. One thread at a time; `close` may come from any."""

    def open(self) -> Table:
        """Take the partition over, also once more, and return its markers. Raises KafkaConnectorError."""
        ...

    def is_current(self) -> bool:
        """Whether the markers are still those of `open` and `write`."""
        ...

    def write(self, messages: Sequence[Message], markers: Sequence[Message]) -> None:
        """Write all of it; returns when Kafka has it. After a KafkaConnectorError it may or may not."""
        ...

    def close(self) -> None:
        """Give up; what is under way is lost or comes through, as Kafka decides."""
        ...


class ExactlyOnce:
    """`partition`: of `markers_topic`, and of `topic`, which must go on having `count` partitions."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        topic: str,
        markers_topic: str,
        partition: int,
        count: int,
        transactional_id: str,
    ) -> None:
        self._config = config
        self._topic = topic
        self._markers_topic = markers_topic
        self._partition = partition
        self._count = count
        self._transactional_id = transactional_id
        self._producer: Any = None

    def open(self) -> Table:
        """See `Delivery`. Whoever has this transactional.id is fenced before the markers are read."""
        self.close()
        self._producer = self._config.producer(
            transactional_id=self._transactional_id,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=_TRANSACTION_RETRY_MS,
            linger_ms=0,
        )
        with self._mapped_errors():
            self._producer.init_transactions()
            check_partitions(self._producer.partitions_for, self._topic, self._count)
        return read_table(self._config, self._markers_topic, [self._partition], setting=PROGRESS_TOPIC)

    def is_current(self) -> bool:
        """Always: others are fenced, or this one is, and then fails."""
        return True

    def write(self, messages: Sequence[Message], markers: Sequence[Message]) -> None:
        """See `Delivery`. Gives up after some seconds, with DeliveryFailed."""
        with self._mapped_errors():
            check_partitions(self._producer.partitions_for, self._topic, self._count)
            self._producer.begin_transaction()
            sent = [self._send(message) for message in (*messages, *markers)]
            self._producer.flush(timeout=_ATTEMPT_SECONDS)
            for future in sent:
                # kafka-python commits a transaction whose records expired unsent, without them.
                future.get(timeout=0)
            self._commit()

    def _commit(self) -> None:
        committed: Future[None] = Future()
        producer = self._producer

        def commit() -> None:
            try:
                committed.set_result(producer.commit_transaction())
            except Exception as error:
                committed.set_exception(error)

        # A thread, since nothing else bounds the wait; one that waits for ever holds a closed producer.
        threading.Thread(target=commit, name="commit-transaction", daemon=True).start()
        committed.result(timeout=_ATTEMPT_SECONDS)

    def close(self) -> None:
        """See `Delivery`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            abandon(producer)

    def _send(self, message: Message) -> Any:
        return self._producer.send(
            message.topic,
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            partition=message.partition,
        )

    @contextlib.contextmanager
    def _mapped_errors(self) -> Any:
        try:
            yield
        except KafkaConnectorError:
            raise
        except Exception as error:
            raise self._mapped(error) from None

    def _mapped(self, error: Exception) -> KafkaConnectorError:
        if any(isinstance(cause, _FENCED) for cause in self._causes(error)):
            return ProducerFenced(self._transactional_id)
        if isinstance(error, kafka_errors.MessageSizeTooLargeError | kafka_errors.RecordListTooLargeError):
            return RecordTooLarge(self._topic, None)
        if isinstance(error, kafka_errors.AuthorizationError):
            return self._config.map_error(error)
        return DeliveryFailed(self._topic, type(error).__name__)

    def _causes(self, error: Exception) -> list[object]:
        """The error, what it wraps, and why the producer is in an error state: who calls it after a fencing
        hears only that it is in one.
        """
        manager = getattr(self._producer, "_transaction_manager", None)
        return [error, *error.args, getattr(manager, "last_error", None)]


class AtLeastOnce:
    """See `ExactlyOnce` for the arguments; the process's shared producer writes."""

    def __init__(
        self, config: ClientConfig, *, topic: str, markers_topic: str, partition: int, count: int
    ) -> None:
        self._config = config
        self._topic = topic
        self._markers = TopicPartition(markers_topic, partition)
        self._count = count
        self._end_offset = 0  # behind the last marker that is known
        self._consumer: Any = None

    def open(self) -> Table:
        """See `Delivery`."""
        table = read_table(
            self._config, self._markers.topic, [self._markers.partition], setting=PROGRESS_TOPIC
        )
        self._end_offset = table.end_offsets[self._markers.partition]
        return table

    def is_current(self) -> bool:
        """Compares the end of the markers' partition with where this one wrote last."""
        try:
            if self._consumer is None:
                self._consumer = self._config.consumer()
            return bool(self._consumer.end_offsets([self._markers])[self._markers] == self._end_offset)
        except kafka_errors.KafkaError as error:
            raise self._config.map_error(error) from None

    def write(self, messages: Sequence[Message], markers: Sequence[Message]) -> None:
        """See `Delivery`."""
        publisher = shared_publisher(self._config)
        check_partitions(publisher.partitions_for, self._topic, self._count)
        self._send(publisher, messages)
        self._mark(publisher, markers)

    def _mark(self, publisher: Publisher, markers: Sequence[Message]) -> None:
        offsets = self._send(publisher, markers)
        self._end_offset = max([self._end_offset, *(offset + 1 for offset in offsets)])

    def close(self) -> None:
        """See `Delivery`; the shared producer stays."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                consumer.close()

    def _send(self, publisher: Publisher, messages: Sequence[Message]) -> list[int]:
        """Returns the offsets of the records, acknowledged."""
        deliveries = [
            publisher.send(m.topic, m.key, m.value, m.headers, partition=m.partition) for m in messages
        ]
        publisher.wait(deliveries)
        return [delivery.offset for delivery in deliveries]


def check_partitions(partitions_for: Callable[[str], Any], topic: str, expected: int) -> None:
    """Raise PartitionsChanged unless the topic has as many partitions as when the job was submitted.

    As kafka-python knows them: it asks anew every few minutes.
    """
    found = len(partitions_for(topic) or ())
    if found and found != expected:
        raise PartitionsChanged(topic, expected, found)
