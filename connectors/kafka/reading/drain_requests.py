"""Ask a running job to drain: a record on a topic that its workers follow while they read.

No runner offers a drain that ends Beam's unbounded sources everywhere (Flink's waits for their next read, for
ever), so the source does it by itself: on a request each partition's reader stays where it is, waits until
its offset is committed to the group, and ends. The commit's metadata names the request: whoever asked can
tell when a partition is left.

The request lies on partition 0 of the markers' topic, which a job has anyway, under a key that no session
has. A job follows that partition from where it ended when the job was submitted, so that it hears requests
that were made for it, also after a restart, and none that were made for a job before it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import DeliveryFailed, UnknownTopic

DRAIN_KEY = b"\xffdrain"
"""No session's: session ids are UTF-8."""

_PARTITION = 0
_POLL_MS = 500
_RETRY_SECONDS = 5.0
_ACK_SECONDS = 30
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrainTopic:
    """Where to hear requests: partition 0 of `topic`, from `from_offset` on."""

    topic: str
    from_offset: int


def drain_topic(config: ClientConfig, topic: str, *, setting: str) -> DrainTopic:
    """From now on. `setting` is where the topic's name comes from. Raises KafkaConnectorError."""
    consumer = config.consumer()
    try:
        if not consumer.partitions_for_topic(topic):
            raise UnknownTopic(topic, setting, config.bootstrap_servers)
        place = TopicPartition(topic, _PARTITION)
        return DrainTopic(topic, consumer.end_offsets([place])[place])
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        consumer.close()


def request_drain(config: ClientConfig, topic: str) -> str:
    """Ask every job that follows `topic` to drain; returns the request's id. Raises KafkaConnectorError."""
    request_id = uuid.uuid4().hex
    producer = config.producer(linger_ms=0)
    try:
        sent = producer.send(topic, key=DRAIN_KEY, value=request_id.encode(), partition=_PARTITION)
        sent.get(timeout=_ACK_SECONDS)
    except kafka_errors.KafkaTimeoutError:
        raise DeliveryFailed(topic, f"no acknowledgement within {_ACK_SECONDS} s") from None
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        producer.close(timeout=1)
    return request_id


def left_metadata(request_id: str) -> str:
    """What the offset of a partition that was left for a request is committed with."""
    return f"drained {request_id}"


class DrainWatch:
    """Follows the topic in a thread of its own; failures are logged and tried again."""

    def __init__(self, config: ClientConfig, place: DrainTopic) -> None:
        self._config = config
        self._place = place
        self._request_id: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"drain-{place.topic}", daemon=True)
        self._thread.start()

    @property
    def request_id(self) -> str | None:
        """Of the newest request; None: nobody has asked."""
        return self._request_id

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        offset = self._place.from_offset
        while not self._stop.is_set():
            consumer = None
            try:
                consumer = self._config.consumer(auto_offset_reset="earliest")
                place = TopicPartition(self._place.topic, _PARTITION)
                consumer.assign([place])
                consumer.seek(place, offset)
                while not self._stop.is_set():
                    offset = self._poll(consumer, place, offset)
            except Exception as error:
                _LOG.warning("Requests to drain cannot be heard: %s", type(error).__name__)
                self._stop.wait(_RETRY_SECONDS)
            finally:
                if consumer is not None:
                    consumer.close(timeout_ms=1000)

    def _poll(self, consumer: Any, place: TopicPartition, offset: int) -> int:
        began = time.monotonic()
        for record in consumer.poll(timeout_ms=_POLL_MS).get(place, ()):
            offset = record.offset + 1
            if record.key == DRAIN_KEY and record.value:
                self._request_id = record.value.decode("ascii", "replace")
                _LOG.warning("The job is asked to drain")
        # A broker that is away lets polls return at once.
        self._stop.wait(max(0.0, _POLL_MS / 1000 - (time.monotonic() - began)))
        return offset


_WATCHES: dict[tuple[ClientConfig, DrainTopic], DrainWatch] = {}
_WATCHES_LOCK = threading.Lock()


def drain_watch(config: ClientConfig, place: DrainTopic) -> DrainWatch:
    """The process's, begun with the first call."""
    with _WATCHES_LOCK:
        found = _WATCHES.get((config, place))
        if found is None:
            found = _WATCHES[config, place] = DrainWatch(config, place)
        return found


class LeftPartitions:
    """How many partitions of `topic` a drained job has left, as its group's offsets tell. A context manager;
    every call raises KafkaConnectorError.
    """

    def __init__(self, config: ClientConfig, topic: str, group_id: str, *, setting: str) -> None:
        """`setting` is where the topic's name comes from."""
        self._config = config
        self._consumer: Any = config.consumer(group_id=group_id)
        with self._mapped():
            found = self._consumer.partitions_for_topic(topic)
        if not found:
            self.close()
            raise UnknownTopic(topic, setting, config.bootstrap_servers)
        self._places = [TopicPartition(topic, number) for number in sorted(found)]

    @property
    def count(self) -> int:
        """Of the topic's partitions."""
        return len(self._places)

    def left(self, request_id: str) -> int:
        """How many of them were left for this request."""
        with self._mapped():
            found = [self._consumer.committed(place, metadata=True) for place in self._places]
        return sum(commit is not None and commit.metadata == left_metadata(request_id) for commit in found)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close(timeout_ms=1000)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except kafka_errors.KafkaError as error:
            raise self._config.map_error(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
