"""Which partitions there are, and where each begins, ends and was left.

`find_topics` asks the cluster for topics and their numbers of partitions through one admin client per
process, so that discovery does not log in anew each time. `resolve` turns a start and a stop into offsets.

Commits are a hint for lag tools and for a start without a checkpoint, so they are never waited for: a
`GroupOffsets` notes the newest offset of each partition that is through (`commit_gate`), and its thread
commits them about once a second.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kafka import OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, NotAuthorized, UnknownTopic
from connectors.kafka.reading.commit_gate import CommitGate
from connectors.kafka.reading.discovery import matching
from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange
from connectors.kafka.reading.positions import EARLIEST, LATEST, TIMESTAMP, Position, parse_start

_LOG = logging.getLogger(__name__)

_COMMIT_SECONDS = 1.0
_COMMIT_TIMEOUT_MS = 5_000
_READING_SECONDS = 60.0
"""A partition that was not read for so long has moved to another worker, or its job is over."""

_ADMINS: dict[ClientConfig, Any] = {}
_ADMINS_LOCK = threading.Lock()


def find_topics(
    config: ClientConfig,
    topics: Iterable[str] = (),
    pattern: str | None = None,
    *,
    setting: str = "--input-topic",
) -> dict[str, int]:
    """Number of partitions of each of the topics, or of all whose whole name matches `pattern`.

    `setting` is where the names come from, for messages. Raises UnknownTopic and NotAuthorized for a topic
    that was named, and the errors of `ClientConfig.admin`.
    """
    named = sorted(set(topics))
    with _ADMINS_LOCK:
        try:
            if config not in _ADMINS:
                _ADMINS[config] = config.admin()
            described = _ADMINS[config].describe_topics(None if pattern is not None else named)
        except KafkaConnectorError:
            raise
        except Exception as error:  # the next listing begins with a new client
            if (admin := _ADMINS.pop(config, None)) is not None:
                with contextlib.suppress(Exception):
                    admin.close()
            raise config.map_error(error) from None
    if pattern is not None:
        everything = {
            topic["name"]: len(topic["partitions"])
            for topic in described
            if not topic["error_code"] and not topic["is_internal"]
        }
        return matching(pattern, everything)
    codes = {topic["name"]: topic["error_code"] for topic in described}
    for topic in named:
        if codes.get(topic) == kafka_errors.TopicAuthorizationFailedError.errno:
            raise NotAuthorized(f"topic {topic!r} ({setting})", config.bootstrap_servers)
        if codes.get(topic, -1):
            raise UnknownTopic(topic, setting, config.bootstrap_servers)
    return {topic["name"]: len(topic["partitions"]) for topic in described}


def resolve(
    config: ClientConfig,
    partitions: Iterable[tuple[str, int]],
    start: Position,
    stop: Position | None = None,
    group_id: str | None = None,
) -> list[tuple[TopicPartition, PartitionRange]]:
    """The offsets to read of each partition, sorted by partition.

    COMMITTED falls back to the earliest offset where the group has none. A stop at a moment is the end of the
    log where no record is as late; whether it is to come is for the caller to say. Raises the errors of
    `ClientConfig.consumer`.
    """
    places = sorted(TopicPartition(topic, partition) for topic, partition in partitions)
    if not places:
        return []
    consumer = config.consumer(group_id=group_id)
    try:
        first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
        starts = _starts(consumer, start, first, end)
        stops = dict.fromkeys(places, UNBOUNDED)
        if stop is not None:
            stops = _since(consumer, stop.timestamp_ms, end) if stop.timestamp_ms is not None else end
        return [
            (place, PartitionRange(starts[place], max(starts[place], stops[place]), end[place]))
            for place in places
        ]
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        consumer.close()


def _starts(
    consumer: Any, start: Position, first: dict[TopicPartition, int], end: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    if start.kind == EARLIEST:
        return first
    if start.kind == LATEST:
        return end
    if start.kind == TIMESTAMP and start.timestamp_ms is not None:
        return _since(consumer, start.timestamp_ms, end)
    return {place: _committed(consumer, place, offset) for place, offset in first.items()}


def _since(consumer: Any, timestamp_ms: int, end: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """First offsets whose timestamp is not before the moment; the end where there is none."""
    found = consumer.offsets_for_times(dict.fromkeys(end, timestamp_ms))
    return {place: end[place] if found.get(place) is None else found[place].offset for place in end}


def _committed(consumer: Any, place: TopicPartition, first: int) -> int:
    """The group's offset; one that retention has passed is kept, so that the loss is reported when it is
    read.
    """
    committed = consumer.committed(place, timeout_ms=_COMMIT_TIMEOUT_MS)
    return first if committed is None else int(committed)


def list_partitions(
    config: ClientConfig, topics: Iterable[str], start: str, group_id: str | None = None
) -> list[tuple[TopicPartition, int, int]]:
    """(partition, start offset, end offset now) of every partition of the topics, sorted.

    `start` as in `positions`. Raises InvalidPosition and what `find_topics` and `resolve` raise.
    """
    found = find_topics(config, topics)
    partitions = [(topic, number) for topic, count in found.items() for number in range(count)]
    resolved = resolve(config, partitions, parse_start(start), group_id=group_id)
    return [(place, offsets.start, offsets.log_end) for place, offsets in resolved]


class _Commit(NamedTuple):
    offset: int
    metadata: str


class GroupOffsets:
    """Commits the newest offsets of one group from a thread of its own; failures are logged and left."""

    def __init__(
        self, config: ClientConfig, group_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._group_id = group_id
        self._clock = clock
        self._lock = threading.Lock()
        self._gates: dict[TopicPartition, CommitGate] = {}
        self._newest: dict[TopicPartition, _Commit] = {}
        self._done: dict[TopicPartition, _Commit] = {}
        self._leaving: dict[TopicPartition, _Commit] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"commit-{group_id}", daemon=True)
        self._thread.start()

    def bundle_ended(
        self, topic: str, partition: int, first_offset: int, next_offset: int, *, leaving: bool = False
    ) -> Callable[[], None] | None:
        """A bundle has read these offsets; the answer is its finalizer, if it needs one (`CommitGate`)."""
        place = TopicPartition(topic, partition)
        with self._lock:
            gate = self._gates.setdefault(place, CommitGate())
            bundle = gate.ended(first_offset, next_offset, self._clock(), leaving=leaving)
        if bundle is None:
            return None

        def finalize() -> None:
            with self._lock:
                safe = gate.finalized(bundle, self._clock())
            if safe is not None:
                self.note(topic, partition, safe)

        return finalize

    def note(self, topic: str, partition: int, offset: int) -> None:
        """Everything of the partition before `offset` is done."""
        place = TopicPartition(topic, partition)
        with self._lock:
            leaving = self._leaving.get(place)
            commit = _Commit(offset, leaving.metadata if leaving and offset >= leaving.offset else "")
            if self._newest.get(place, self._done.get(place)) == commit:
                return
            self._newest[place] = commit
        self._wake.set()

    def left(self, topic: str, partition: int, offset: int, metadata: str) -> bool:
        """The partition will be read no further than `offset`; whether that is committed, with `metadata`.

        To be called, and bundles without records to be ended, until it is.
        """
        place, last = TopicPartition(topic, partition), _Commit(offset, metadata)
        with self._lock:
            self._leaving[place] = last
            return self._done.get(place) == last

    def uncovered_seconds(self) -> float | None:
        """How long ago a checkpoint last covered what was read, at the partition where that is longest; None
        without a partition that is being read.
        """
        now = self._clock()
        with self._lock:
            ages = [
                now - gate.covered_at
                for gate in self._gates.values()
                if now - gate.read_at <= _READING_SECONDS
            ]
        return max(ages, default=None)

    def close(self) -> None:
        """Commit what is noted, then end the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=2 * _COMMIT_TIMEOUT_MS / 1000)

    def _run(self) -> None:
        consumer = None
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                offsets, self._newest = self._newest, {}
            if offsets:
                consumer = self._commit(consumer, offsets)
            self._stop.wait(_COMMIT_SECONDS)
        if consumer is not None:
            consumer.close(timeout_ms=_COMMIT_TIMEOUT_MS)

    def _commit(self, consumer: Any, offsets: dict[TopicPartition, _Commit]) -> Any:
        try:
            if consumer is None:
                consumer = self._config.consumer(group_id=self._group_id)
            entries = {place: OffsetAndMetadata(*commit, -1) for place, commit in offsets.items()}
            consumer.commit(entries, timeout_ms=_COMMIT_TIMEOUT_MS)
            with self._lock:
                self._done.update(offsets)
        except Exception as error:  # a hint only: the position is in the runner's checkpoint
            _LOG.warning("Could not commit offsets of group %s: %s", self._group_id, type(error).__name__)
            with self._lock:
                self._newest = {**offsets, **self._newest}  # tried again with the next ones
        return consumer


_GROUPS: dict[tuple[ClientConfig, str], GroupOffsets] = {}
_GROUPS_LOCK = threading.Lock()


def group_offsets(config: ClientConfig, group_id: str) -> GroupOffsets:
    """The process's committer of this group."""
    with _GROUPS_LOCK:
        committer = _GROUPS.get((config, group_id))
        if committer is None:
            committer = _GROUPS[(config, group_id)] = GroupOffsets(config, group_id)
        return committer


def checkpoint_age_seconds() -> float | None:
    """Since the runner last told of a checkpoint of what this process has read; None: it reads nothing."""
    with _GROUPS_LOCK:
        committers = list(_GROUPS.values())
    ages = [age for committer in committers if (age := committer.uncovered_seconds()) is not None]
    return max(ages, default=None)
