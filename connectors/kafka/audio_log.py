"""Kafka as the log to recover from: re-read one key's records of a range of offsets.

Recovery asks for many sessions of one partition at about the same time. Requests for a partition are
gathered and served by one pass from the smallest offset (`log_scan`); a request that comes while a pass is
running joins it when the pass has not gone by its start. Each request holds at most `max_bytes`, then its
slice tells where to go on. Passes run on a few threads of this module, one per partition at a time, and
answer through futures.

A range ends by the partition's position, not by its last record: transaction markers and compaction leave
offsets without records.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, ReadFailed
from connectors.kafka.log_scan import Done, LogScan, LogSlice, SliceRequest
from connectors.kafka.records import KafkaRecord

__all__ = ["AudioLog", "LogSlice"]

DEFAULT_MAX_BYTES = 8 * 1024 * 1024
_THREADS = 4
_GATHER_SECONDS = 0.02
"""How long a pass waits for more requests before it begins."""
_POLL_MS = 500
_STALL_SECONDS = 30.0
"""A pass without progress for so long fails its requests, retryably."""
_POLL_RECORDS = 2_000
_FETCH_BYTES = 4 * 1024 * 1024


class AudioLog:
    """Reads ranges of the log by key. Thread-safe; opens nothing until the first read."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        threads: int = _THREADS,
        stall_seconds: float = _STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: defaultdict[TopicPartition, list[SliceRequest]] = defaultdict(list)
        self._futures: dict[int, Future[LogSlice]] = {}
        self._scanning: set[TopicPartition] = set()
        self._idle_consumers: list[Any] = []
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="audio-log")
        self._closed = False

    def read(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        start_offset: int,
        end_offset: int,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> Future[LogSlice]:
        """Records of `key` with start_offset <= offset < end_offset; at least one, at most about
        `max_bytes` of values.

        The future's slice tells `next_offset` and whether the range is `complete`; what retention removed
        is in `lost`. It fails with a KafkaConnectorError (ReadFailed, BrokerUnreachable: retryable).
        """
        request = SliceRequest(key, start_offset, end_offset, max_bytes)
        future: Future[LogSlice] = Future()
        future.set_running_or_notify_cancel()
        place = TopicPartition(topic, partition)
        with self._lock:
            if self._closed:
                raise RuntimeError("the audio log is closed")
            self._futures[id(request)] = future
            self._waiting[place].append(request)
            if place not in self._scanning:
                self._scanning.add(place)
                self._threads.submit(self._serve, place)
        return future

    def close(self) -> None:
        """Stop passes at their next poll, fail what is waiting, close the consumers."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=True)
        for consumer in self._idle_consumers:
            consumer.close()
        self._idle_consumers.clear()

    def _serve(self, place: TopicPartition) -> None:
        """Passes over one partition until nobody asks any more."""
        time.sleep(_GATHER_SECONDS)
        while self._has_waiting(place):
            scan = LogScan()
            consumer = None
            try:
                consumer = self._take_consumer()
                self._scan(place, consumer, scan)
            except Exception as error:
                if consumer is not None:
                    with contextlib.suppress(Exception):
                        consumer.close()
                self._fail(place, scan, self._mapped(place, error))
            else:
                self._idle_consumers.append(consumer)

    def _has_waiting(self, place: TopicPartition) -> bool:
        with self._lock:
            if self._waiting[place]:
                return True
            del self._waiting[place]
            self._scanning.discard(place)
            return False

    def _scan(self, place: TopicPartition, consumer: Any, scan: LogScan) -> None:
        consumer.assign([place])
        self._join(place, consumer, scan)
        position = -1
        last_progress = self._clock()
        while scan.active:
            if self._closed:
                raise ReadFailed(place.topic, place.partition, "the audio log was closed")
            if position != scan.position:
                position = scan.position
                consumer.seek(place, position)
            reached = self._poll(place, consumer, scan)
            if reached > position:
                position, last_progress = reached, self._clock()
            elif self._clock() - last_progress > self._stall_seconds:
                cause = f"no progress at offset {position} for {self._stall_seconds:.0f} s"
                raise ReadFailed(place.topic, place.partition, cause)
            self._join(place, consumer, scan)

    def _join(self, place: TopicPartition, consumer: Any, scan: LogScan) -> None:
        """Take in the waiting requests that this pass can still serve."""
        with self._lock:
            joining = [request for request in self._waiting[place] if scan.accepts(request)]
            self._waiting[place] = [request for request in self._waiting[place] if request not in joining]
        if not joining:
            return
        try:
            log_start = consumer.beginning_offsets([place])[place]
            log_end = consumer.end_offsets([place])[place]
        except BaseException:
            with self._lock:  # still theirs to be failed or served
                self._waiting[place].extend(joining)
            raise
        self._answer(scan.add(joining, log_start, log_end))

    def _poll(self, place: TopicPartition, consumer: Any, scan: LogScan) -> int:
        """One poll into the scan; returns the position reached."""
        try:
            batch = consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS).get(place, [])
        except kafka_errors.OffsetOutOfRangeError:
            self._answer(scan.lose_until(consumer.beginning_offsets([place])[place]))
            return scan.position
        for fetched in batch:
            self._answer(scan.offer(to_record(fetched)))
        position: int = consumer.position(place) or 0
        self._answer(scan.advance(position))
        return position

    def _answer(self, done: list[Done]) -> None:
        for request, piece in done:
            with self._lock:
                future = self._futures.pop(id(request))
            future.set_result(piece)

    def _fail(self, place: TopicPartition, scan: LogScan, error: KafkaConnectorError) -> None:
        with self._lock:
            failed = [*scan.pending(), *self._waiting[place]]
            self._waiting[place] = []
            futures = [self._futures.pop(id(request)) for request in failed]
        for future in futures:
            future.set_exception(error)

    def _take_consumer(self) -> Any:
        with self._lock:
            if self._idle_consumers:
                return self._idle_consumers.pop()
        return self._config.consumer(max_partition_fetch_bytes=_FETCH_BYTES)

    def _mapped(self, place: TopicPartition, error: Exception) -> KafkaConnectorError:
        if isinstance(error, KafkaConnectorError):
            return error
        if isinstance(error, kafka_errors.AuthorizationError):
            return self._config.map_error(error)
        return ReadFailed(place.topic, place.partition, f"{type(error).__name__}")


def to_record(fetched: Any) -> KafkaRecord:
    """kafka-python's ConsumerRecord as ours."""
    topic, partition, _, offset, timestamp, timestamp_type, key, value, headers, *_ = fetched
    return KafkaRecord(
        topic, partition, offset, timestamp, timestamp_type, key, value, tuple(headers) if headers else ()
    )
