"""One Kafka consumer per worker process for all the partitions that the process reads.

Beam hands the partitions of a worker to few threads, often to one, which serves them in turn. With a
consumer each, a wait on an idle partition would delay the next one by as much. Here whoever waits polls for
all: the thread inside `read` polls the one consumer, puts what arrives into each partition's buffer, and
returns when there is data for its own partition, or for another one that may be waiting for this thread.
Several threads take turns as the poller.

A partition returns at most once per `min_interval_seconds`: that bounds the number of Beam's
self-checkpoints under load, and collects a batch meanwhile, while the first record after a pause is handed
over at once.

kafka-python's consumer is not thread-safe: it is touched by the thread that holds the turn, and by nobody
else.

A poll that finds nothing ends in an exception within kafka-python, which keeps itself, and with it the frames
of all callers, until the cyclic collector runs. So no caller of `read` may end with records among its local
variables: all audio would stay for that long (measured: 100 sessions, 30 MB).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, LostOffsets, ReadFailed, ReadStuck
from connectors.kafka.reading.feed import BUFFERED_RECORDS, Batch, Feed

_POLL_SECONDS = 0.2
"""The longest single poll; a thread that must change the assignment waits for its end."""
_FIRST_READ_SECONDS = 0.1
"""The first read of an empty partition must not hold up partitions that were not read yet."""
_COLLECT_SECONDS = 0.04
"""How often a partition that has data, and waits for its interval, looks for more, unless it is behind."""
_FRESH_SECONDS = 0.005
"""How long it waits for the answer to what it asks the broker then: under load there is one."""
DEFAULT_MAX_BYTES = 8 * 1024 * 1024
_ABANDONED_SECONDS = 10.0
"""Nobody is waiting to take what a partition has that nobody read for so long."""
_FORGET_SECONDS = 60.0
"""A partition that nobody read for so long is given up: it moved to another worker."""


class SharedConsumer:
    """Reads any number of partitions for any number of threads through one consumer."""

    def __init__(self, open_consumer: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_consumer = open_consumer
        self._clock = clock
        self._turn = threading.Condition()
        self._busy = False
        self._polled_at = float("-inf")
        self._wanted = 0
        self._consumer: Any = None
        self._feeds: dict[TopicPartition, Feed] = {}

    def read(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_records: int,
        max_bytes: int = DEFAULT_MAX_BYTES,
        min_interval_seconds: float,
        idle_seconds: float,
    ) -> Batch:
        """Records of the partition from `offset`, waiting up to `idle_seconds` for the first.

        A batch holds at most `max_records`, and at most `max_bytes` of keys, values and headers unless its
        one record is larger.

        The batch is empty when nothing came, or when another partition of this process has data. Raises
        LostOffsets when retention removed the offset, ReadFailed or BrokerUnreachable (retryable) when
        reading failed.
        """
        place = TopicPartition(topic, partition)
        with self._turn:
            feed = self._feed_at(place, offset)
            is_first = feed.returned_at == float("-inf")
            deadline = self._clock() + (min(_FIRST_READ_SECONDS, idle_seconds) if is_first else idle_seconds)
            earliest = feed.returned_at + min_interval_seconds
            self._wait(feed, deadline, earliest, max_records, max_bytes)
            if feed.error is not None:
                self._give_up(place, feed)
                raise feed.error
            if feed.replaced:  # another reader took the partition over meanwhile
                return Batch([], offset)
            feed.returned_at = feed.used_at = self._clock()
            return feed.take(max_records, max_bytes)

    def release(self, topic: str, partition: int) -> None:
        """The partition was read to its end: fetch no more of it."""
        place = TopicPartition(topic, partition)
        with self._turn:
            if (feed := self._feeds.get(place)) is not None:
                self._give_up(place, feed)

    def lag_records(self) -> int:
        """Records behind the ends of the partitions that this process reads."""
        with self._turn:
            return sum(
                max(0, feed.log_end - feed.next_offset)
                for feed in self._feeds.values()
                if feed.log_end is not None
            )

    def lags(self) -> dict[tuple[str, int], int]:
        """The same by topic and partition; without those that nobody has read for long."""
        with self._turn:
            now = self._clock()
            return {
                (place.topic, place.partition): max(0, feed.log_end - feed.next_offset)
                for place, feed in self._feeds.items()
                if feed.log_end is not None and now - feed.used_at <= _FORGET_SECONDS
            }

    def close(self) -> None:
        """Close the consumer; a later read opens a new one."""
        with self._turn, self._own_turn():
            self._drop_consumer("the consumer was closed")

    def _wait(self, feed: Feed, deadline: float, earliest: float, max_records: int, max_bytes: int) -> None:
        """Poll, or wait for the thread that polls, until there is a reason to return."""
        while feed.error is None and not feed.replaced and not feed.has(max_records, max_bytes):
            now = self._clock()
            ready = feed.position > feed.next_offset or any(
                other.buffer and now - other.used_at < _ABANDONED_SECONDS for other in self._feeds.values()
            )
            until = min(deadline, earliest) if ready else deadline
            if ready and not self._busy:
                if until > now and not self._wanted and self._is_behind():
                    self._poll(min(_COLLECT_SECONDS, until - now))
                    continue
                if now - self._polled_at >= _COLLECT_SECONDS:
                    self._poll(_FRESH_SECONDS)
                    continue
            if until <= now:
                return
            if ready:
                self._turn.wait(min(_COLLECT_SECONDS, until - now))
            elif self._busy or self._wanted:
                self._turn.wait(until - now)
            else:
                self._poll(min(_POLL_SECONDS, until - now))

    def _is_behind(self) -> bool:
        return any(feed.is_behind() for feed in self._feeds.values())

    def _feed_at(self, place: TopicPartition, offset: int) -> Feed:
        """The partition's feed, made or moved so that its next record is the one at `offset`."""
        feed = self._feeds.get(place)
        if feed is not None and feed.next_offset == offset:
            return feed
        with self._own_turn():
            self._forget_unused()
            before = self._feeds.get(place)
            feed = Feed(offset, offset, self._clock())
            if before is not None:
                before.replaced = True
                feed.returned_at = before.returned_at
            self._feeds[place] = feed
            self._assign(place, offset)
            self._polled_at = float("-inf")  # nobody has polled for it
        return feed

    def _give_up(self, place: TopicPartition, feed: Feed) -> None:
        """Stop fetching a partition that cannot, or need not, be read on."""
        if self._feeds.get(place) is not feed:
            return
        with self._own_turn():
            self._feeds.pop(place, None)
            if self._feeds:
                self._consumer.assign(list(self._feeds))
            else:
                self._drop_consumer("no partition is left")

    def _assign(self, place: TopicPartition, offset: int) -> None:
        try:
            if self._consumer is None:
                self._consumer = self._open_consumer()
            self._consumer.assign(list(self._feeds))
            self._consumer.seek(place, offset)
            self._consumer.resume(place)
        except Exception as error:
            self._drop_consumer(type(error).__name__)
            raise _mapped(place, error) from None

    def _poll(self, seconds: float) -> None:
        """One poll for everybody, without the lock."""
        self._busy = True
        self._apply_pauses()
        consumer, places = self._consumer, list(self._feeds)
        self._turn.release()
        fetched: dict[TopicPartition, list[Any]] = {}
        failure: Exception | None = None
        reached: dict[TopicPartition, tuple[int | None, int | None]] = {}
        try:
            fetched = consumer.poll(timeout_ms=seconds * 1000, max_records=BUFFERED_RECORDS)
            reached = {
                place: (consumer.position(place, timeout_ms=0), consumer.highwater(place)) for place in places
            }
        except Exception as error:
            failure = error
        finally:
            self._turn.acquire()
            self._busy = False
            self._polled_at = self._clock()
            self._turn.notify_all()
        self._store(fetched, reached)
        if failure is not None:
            self._handle(failure)

    def _store(
        self,
        fetched: dict[TopicPartition, list[Any]],
        reached: dict[TopicPartition, tuple[int | None, int | None]],
    ) -> None:
        """Records, and each partition's position and end of the log."""
        for place, records in fetched.items():
            if (feed := self._feeds.get(place)) is not None:
                feed.put(records)
        for place, (position, log_end) in reached.items():
            if (feed := self._feeds.get(place)) is not None:
                feed.position = max(feed.position, position or 0)
                feed.log_end = log_end if log_end is not None else feed.log_end

    def _handle(self, failure: Exception) -> None:
        """Tell the partition that is out of range; go on with another consumer after a poll that stuck;
        anything else is an error for all partitions.
        """
        if isinstance(failure, kafka_errors.OffsetOutOfRangeError) and failure.args:
            for place, offset in failure.args[0].items():
                if (feed := self._feeds.get(place)) is not None:
                    feed.error = self._out_of_range(place, offset)
                    self._turn.notify_all()
        elif isinstance(failure, ReadStuck):
            self._replace_consumer()
        else:
            self._drop_consumer(type(failure).__name__)

    def _replace_consumer(self) -> None:
        """Every partition goes on where it stands: what a poll did not hand over is fetched again."""
        try:
            self._consumer = self._open_consumer()
            self._consumer.assign(list(self._feeds))
            for place, feed in self._feeds.items():
                self._consumer.seek(place, feed.position)
                feed.paused = False
        except Exception as error:
            self._drop_consumer(type(error).__name__)

    def _out_of_range(self, place: TopicPartition, offset: int) -> KafkaConnectorError:
        try:
            log_start: int = self._consumer.beginning_offsets([place])[place]
        except Exception as error:
            return _mapped(place, error)
        if offset < log_start:
            return LostOffsets(place.topic, place.partition, offset, log_start)
        cause = f"offset {offset} is beyond the end of the log; was the topic created anew?"
        return ReadFailed(place.topic, place.partition, cause)

    def _apply_pauses(self) -> None:
        for place, feed in self._feeds.items():
            full = feed.is_full()
            if full != feed.paused:
                (self._consumer.pause if full else self._consumer.resume)(place)
                feed.paused = full

    def _forget_unused(self) -> None:
        now = self._clock()
        for place, feed in list(self._feeds.items()):
            if now - feed.used_at > _FORGET_SECONDS:
                del self._feeds[place]

    def _drop_consumer(self, cause: str) -> None:
        """Begin anew with the next read; whoever waits is told."""
        consumer, self._consumer = self._consumer, None
        for place, feed in self._feeds.items():
            feed.error = feed.error or ReadFailed(place.topic, place.partition, cause)
        self._feeds.clear()
        self._turn.notify_all()
        if consumer is not None:
            with contextlib.suppress(Exception):
                consumer.close()

    @contextlib.contextmanager
    def _own_turn(self) -> Iterator[None]:
        """While no other thread polls, the lock being held; pollers make way for it."""
        self._wanted += 1
        try:
            while self._busy:
                self._turn.wait()
            yield
        finally:
            self._wanted -= 1
            self._turn.notify_all()


def _mapped(place: TopicPartition, error: Exception) -> KafkaConnectorError:
    if isinstance(error, KafkaConnectorError):
        return error
    return ReadFailed(place.topic, place.partition, type(error).__name__)


_SHARED: dict[ClientConfig, SharedConsumer] = {}
_SHARED_LOCK = threading.Lock()


def shared_consumer(config: ClientConfig) -> SharedConsumer:
    """The process's consumer for this configuration."""
    with _SHARED_LOCK:
        if config not in _SHARED:
            _SHARED[config] = SharedConsumer(config.consumer)
        return _SHARED[config]


def partition_lags() -> dict[tuple[str, int], int]:
    """Records that this process has yet to read, by topic and partition, whatever the configuration."""
    with _SHARED_LOCK:
        consumers = list(_SHARED.values())
    return {place: lag for consumer in consumers for place, lag in consumer.lags().items()}
