"""Read whole topics outside Beam: for applications and tools, live or up to an end.

A `TopicFollower` assigns itself every partition of its topics, also those that are added while it reads, and
hands out committed records only. Nothing is committed for its group unless `commit` is called.

It takes no part in a consumer group's sharing of partitions: each reader has all of them, and a group id is
a name under which offsets are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.audio_log import to_record
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import GroupInUse, LostOffsets, ReadFailed, ReadStuck, UnknownTopic
from connectors.kafka.reading.offsets import resolve
from connectors.kafka.reading.partition_range import PartitionRange
from connectors.kafka.reading.positions import COMMITTED, EARLIEST, Position
from connectors.kafka.records import KafkaRecord

_REFRESH_SECONDS = 30.0
_STALL_SECONDS = 30.0
"""A bounded read without progress for so long fails, retryably."""
_COMMIT_TIMEOUT_MS = 10_000
_POLL_RECORDS = 2_000
_FETCH_BYTES = 4 * 1024 * 1024
_GROUP_TAKEN = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
)


class TopicFollower:
    """All records of some topics, each partition in its order. Not thread-safe.

    `topics`: name → the option or argument it comes from, for error messages. `stop`: without one it goes on
    for ever. `group_id` is needed by `commit` and by a start at COMMITTED, which falls back to the earliest
    offset. `skip_lost`: go on behind records that retention removed instead of raising LostOffsets. A
    partition that is added later is read within two times `refresh_seconds`, from its beginning.

    Raises what `ClientConfig.consumer` raises, and UnknownTopic.
    """

    def __init__(
        self,
        config: ClientConfig,
        topics: Mapping[str, str],
        start: Position,
        *,
        stop: Position | None = None,
        group_id: str | None = None,
        skip_lost: bool = False,
        refresh_seconds: float = _REFRESH_SECONDS,
        stall_seconds: float = _STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._topics = dict(topics)
        self._group_id = group_id
        self._skip_lost = skip_lost
        self._refresh_seconds = refresh_seconds
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._bounded = stop is not None
        self._ranges: dict[TopicPartition, PartitionRange] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._consumer = self._open()
        self._looked_at = self._progressed_at = clock()
        try:
            self._assign(self._find(), start, stop)
        except BaseException:
            self._consumer.close()
            raise
        self._later = Position(COMMITTED) if start.kind == COMMITTED else Position(EARLIEST)

    def __enter__(self) -> TopicFollower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def finished(self) -> bool:
        """Whether everything before the stop has been handed out; never without a stop."""
        return self._bounded and not self._unread()

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition): all before it was handed out."""
        return {(place.topic, place.partition): self._position(place) for place in self._ranges}

    @property
    def remaining(self) -> int:
        """Offsets between here and the stop, or the end of the log as it was at start."""
        ends = (self._stop(place) for place in self._ranges)
        return sum(max(0, end - self._position(place)) for place, end in zip(self._ranges, ends, strict=True))

    def poll(self, timeout_seconds: float = 0.5) -> list[KafkaRecord]:
        """The next records, none if nothing comes in time.

        Raises LostOffsets, NotAuthorized, and ReadFailed where a bounded read stands still. A broker that is
        away is waited for.
        """
        self._look_for_partitions()
        before = self.positions if self._bounded else {}
        try:
            found = self._consumer.poll(timeout_ms=round(timeout_seconds * 1000), max_records=_POLL_RECORDS)
        except kafka_errors.OffsetOutOfRangeError:
            self._pass_over_loss()
            return []
        except ReadStuck:
            self._replace_consumer()
            return []
        except kafka_errors.KafkaError as error:
            raise self._config.map_error(error) from None
        self._reached |= {place: batch[-1].offset + 1 for place, batch in found.items()}
        records = [
            to_record(record)
            for place, batch in found.items()
            for record in batch
            if not self._bounded or record.offset < self._stop(place)
        ]
        if self._bounded:
            self._check_progress(before)
        return records

    def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Note for the group that everything before `offsets` is done; without them all that was handed out.

        Returns when the broker has it. Raises GroupInUse, NotAuthorized, BrokerUnreachable.
        """
        if self._group_id is None:
            raise ValueError("a reader without group_id has nowhere to commit offsets")
        wanted = {
            TopicPartition(*place): offset
            for place, offset in (self.positions if offsets is None else offsets).items()
        }
        news = {place: offset for place, offset in wanted.items() if self._committed.get(place) != offset}
        if not news:
            return
        entries = {place: OffsetAndMetadata(offset, "", -1) for place, offset in news.items()}
        try:
            self._consumer.commit(entries, timeout_ms=_COMMIT_TIMEOUT_MS)
        except _GROUP_TAKEN:
            raise GroupInUse(self._group_id) from None
        except kafka_errors.KafkaError as error:
            raise self._config.map_error(error) from None
        self._committed |= news

    def close(self) -> None:
        """Leave; nothing is committed by that."""
        self._consumer.close()

    def _find(self) -> list[tuple[str, int]]:
        """The partitions that are not assigned yet."""
        found = []
        for topic, setting in self._topics.items():
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                raise UnknownTopic(topic, setting, self._config.bootstrap_servers)
            found += [(topic, n) for n in sorted(numbers) if TopicPartition(topic, n) not in self._ranges]
        return found

    def _assign(self, places: Iterable[tuple[str, int]], start: Position, stop: Position | None) -> None:
        resolved = dict(resolve(self._config, places, start, stop, self._group_id))
        if not resolved:
            return
        self._reached |= {place: self._position(place) for place in self._ranges}
        self._reached |= {TopicPartition(*place): offsets.start for place, offsets in resolved.items()}
        self._ranges |= resolved
        self._seek()

    def _open(self) -> Any:
        """Its metadata tells of new partitions, and is renewed as often as one looks for them: kafka-python
        would ask the broker each five minutes only.
        """
        return self._config.consumer(
            group_id=self._group_id,
            max_partition_fetch_bytes=_FETCH_BYTES,
            metadata_max_age_ms=round(self._refresh_seconds * 1000),
        )

    def _seek(self) -> None:
        self._consumer.assign(list(self._ranges))
        for place, offset in self._reached.items():
            self._consumer.seek(place, offset)

    def _replace_consumer(self) -> None:
        """Go on behind the last record that was handed out."""
        self._consumer = self._open()
        self._seek()

    def _look_for_partitions(self) -> None:
        if self._bounded or self._clock() - self._looked_at < self._refresh_seconds:
            return
        self._looked_at = self._clock()
        self._assign(self._find(), self._later, None)

    def _position(self, place: TopicPartition) -> int:
        return int(self._consumer.position(place) or 0)

    def _stop(self, place: TopicPartition) -> int:
        offsets = self._ranges[place]
        return int(offsets.stop if self._bounded else offsets.log_end)

    def _unread(self) -> list[TopicPartition]:
        return [place for place in self._ranges if self._position(place) < self._stop(place)]

    def _check_progress(self, before: Mapping[tuple[str, int], int]) -> None:
        if self.positions != before:
            self._progressed_at = self._clock()
        elif (unread := self._unread()) and self._clock() - self._progressed_at > self._stall_seconds:
            cause = f"no progress at offset {self._position(unread[0])} for {self._stall_seconds:.0f} s"
            raise ReadFailed(unread[0].topic, unread[0].partition, cause)

    def _pass_over_loss(self) -> None:
        """Retention overtook the reader somewhere: an error, or on behind it."""
        first = self._consumer.beginning_offsets(list(self._ranges))
        for place, offset in first.items():
            position = self._position(place)
            if position < offset:
                if not self._skip_lost:
                    raise LostOffsets(place.topic, place.partition, position, offset)
                self._consumer.seek(place, offset)
                self._reached[place] = offset
