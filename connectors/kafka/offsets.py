"""Where partitions begin, end and were left: start positions and group offsets.

Commits are a hint for lag tools and for a start without a checkpoint, so they are never waited for:
`commit_later` notes the newest offset of each partition, and a thread per group commits them about once a
second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import UnknownTopic

_LOG = logging.getLogger(__name__)

EARLIEST, LATEST, COMMITTED = "earliest", "latest", "committed"
STARTS = (EARLIEST, LATEST, COMMITTED)

_COMMIT_SECONDS = 1.0
_COMMIT_TIMEOUT_MS = 5_000


def list_partitions(
    config: ClientConfig, topics: Iterable[str], start: str, group_id: str | None = None
) -> list[tuple[TopicPartition, int, int]]:
    """(partition, start offset, end offset now) of every partition of the topics, sorted.

    `start` is one of STARTS; `committed` falls back to earliest where the group has no offset. Raises
    UnknownTopic and the errors of `ClientConfig.consumer`.
    """
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, not {start!r}")
    consumer = config.consumer(group_id=group_id)
    try:
        places = [place for topic in topics for place in _partitions(config, consumer, topic)]
        first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
        begin = dict(first if start == EARLIEST else end)
        if start == COMMITTED:
            begin = {place: _committed(consumer, place, first[place]) for place in places}
        return [(place, begin[place], end[place]) for place in sorted(places)]
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        consumer.close()


def _partitions(config: ClientConfig, consumer: Any, topic: str) -> list[TopicPartition]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise UnknownTopic(topic, "--input-topic", config.bootstrap_servers)
    return [TopicPartition(topic, partition) for partition in partitions]


def _committed(consumer: Any, place: TopicPartition, first: int) -> int:
    """The group's offset; one that retention has passed is kept, so that the loss is reported when it is
    read.
    """
    committed = consumer.committed(place, timeout_ms=_COMMIT_TIMEOUT_MS)
    return first if committed is None else int(committed)


class OffsetCommitter:
    """Commits the newest offsets of one group from a thread of its own; failures are logged and left."""

    def __init__(self, config: ClientConfig, group_id: str) -> None:
        self._config = config
        self._group_id = group_id
        self._lock = threading.Lock()
        self._newest: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"commit-{group_id}", daemon=True)
        self._thread.start()

    def note(self, topic: str, partition: int, offset: int) -> None:
        """Everything of the partition before `offset` is done."""
        place = TopicPartition(topic, partition)
        with self._lock:
            if self._newest.get(place, self._done.get(place)) == offset:
                return
            self._newest[place] = offset
        self._wake.set()

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

    def _commit(self, consumer: Any, offsets: dict[TopicPartition, int]) -> Any:
        try:
            if consumer is None:
                consumer = self._config.consumer(group_id=self._group_id)
            entries = {place: OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
            consumer.commit(entries, timeout_ms=_COMMIT_TIMEOUT_MS)
            with self._lock:
                self._done.update(offsets)
        except Exception as error:  # a hint only: the position is in the runner's checkpoint
            _LOG.warning("Could not commit offsets of group %s: %s", self._group_id, type(error).__name__)
            with self._lock:
                self._newest = {**offsets, **self._newest}  # tried again with the next ones
        return consumer


_COMMITTERS: dict[tuple[ClientConfig, str], OffsetCommitter] = {}
_COMMITTERS_LOCK = threading.Lock()


def commit_later(config: ClientConfig, group_id: str, topic: str, partition: int, offset: int) -> None:
    """Note the offset with the process's committer of this group."""
    with _COMMITTERS_LOCK:
        committer = _COMMITTERS.get((config, group_id))
        if committer is None:
            committer = _COMMITTERS[(config, group_id)] = OffsetCommitter(config, group_id)
    committer.note(topic, partition, offset)
