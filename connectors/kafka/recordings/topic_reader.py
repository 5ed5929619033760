"""Read ranges of a topic once, all partitions as one stream in the order of their timestamps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.audio_log import to_record
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import InvalidPosition, LostOffsets, ReadFailed, ReadStuck
from connectors.kafka.reading.offsets import find_topics, resolve
from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange
from connectors.kafka.reading.positions import Position
from connectors.kafka.recordings.time_merge import Place, TimeMerge
from connectors.kafka.records import KafkaRecord

_POLL_MS = 200
_POLL_RECORDS = 2_000
_FETCH_BYTES = 2 * 1024 * 1024
_BUFFERED_BYTES = 64 * 1024 * 1024
"""Of all partitions together."""
_STALL_SECONDS = 60.0
"""A bounded range without progress for so long fails."""

Ranges = Mapping[Place, PartitionRange]


def ranges_of(
    config: ClientConfig,
    topic: str,
    start: Position,
    stop: Position | None,
    chosen: Mapping[int, tuple[int, int | None]],
    *,
    setting: str,
) -> dict[Place, PartitionRange]:
    """What to read of the topic: all partitions from `start` to `stop` (None: no end), or the offsets chosen.

    `chosen`: partition -> first offset and the one behind the last (None: as `stop` says). `setting` is where
    the topic's name comes from. Raises UnknownTopic, InvalidPosition for a partition that does not exist, and
    the errors of `ClientConfig.consumer`.
    """
    count = find_topics(config, [topic], setting=setting)[topic]
    for partition in chosen:
        if partition >= count:
            problem = f"topic {topic!r} has {count} partitions, numbered from 0"
            raise InvalidPosition("--offsets", f"{partition}:…", problem)
    places = [(topic, number) for number in (sorted(chosen) or range(count))]
    found = {tuple(place): offsets for place, offsets in resolve(config, places, start, stop)}
    return {place: _chosen(found[place], chosen.get(place[1])) for place in places}


def _chosen(found: PartitionRange, offsets: tuple[int, int | None] | None) -> PartitionRange:
    if offsets is None:
        return found
    first, stop = offsets
    if stop is None:
        return PartitionRange(min(first, found.stop), found.stop, found.log_end)
    return PartitionRange(first, max(first, min(stop, found.stop)), found.log_end)


class TopicReader:
    """Iterates batches of records, empty ones while nothing comes, until every range is read.

    `positions`: the next offset to read of each partition. Not thread-safe.
    """

    def __init__(
        self,
        config: ClientConfig,
        ranges: Ranges,
        *,
        skip_lost: bool = False,
        max_buffered_bytes: int = _BUFFERED_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`skip_lost`: go on behind what retention removed, instead of raising LostOffsets.
        `max_buffered_bytes`: of all partitions together, waiting for their turn.
        """
        self._config = config
        self._stops = {TopicPartition(*place): offsets.stop for place, offsets in ranges.items()}
        self.positions = {TopicPartition(*place): offsets.start for place, offsets in ranges.items()}
        self.lost_offsets = 0
        self._skip_lost = skip_lost
        self._clock = clock
        self._merge = TimeMerge(ranges, clock(), max_bytes=max_buffered_bytes)
        self._consumer: Any = None

    def __iter__(self) -> Iterator[list[KafkaRecord]]:
        """Raises LostOffsets, ReadFailed and what `ClientConfig.consumer` raises."""
        self._consumer = self._open()
        try:
            yield from self._batches()
        except kafka_errors.KafkaError as error:
            raise self._config.map_error(error) from None
        finally:
            self._consumer.close()

    def _batches(self) -> Iterator[list[KafkaRecord]]:
        self._begin()
        progressed_at = self._clock()
        while not self._merge.is_done:
            before = dict(self.positions)
            self._poll()
            taken = self._merge.take(self._clock())
            if taken or before != self.positions or self._is_live:
                progressed_at = self._clock()
            elif self._clock() - progressed_at > _STALL_SECONDS:
                place = min(self._reading)
                raise ReadFailed(place.topic, place.partition, f"no progress for {_STALL_SECONDS:.0f} s")
            yield taken

    def _open(self) -> Any:
        return self._config.consumer(max_partition_fetch_bytes=_FETCH_BYTES)

    def _begin(self) -> None:
        places = sorted(self._stops)
        starts = self._consumer.beginning_offsets(places)
        for place in places:
            if self.positions[place] < min(starts[place], self._stops[place]):
                self._lose_until(place, starts[place])
        self._reading = {place for place in places if not self._end(place)}

    @property
    def _is_live(self) -> bool:
        return any(self._stops[place] == UNBOUNDED for place in self._reading)

    def _poll(self) -> None:
        self._choose({place for place in self._reading if not self._merge.full(tuple(place))})
        if not self._consumer.assignment():
            return
        try:
            fetched = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        except kafka_errors.OffsetOutOfRangeError as error:
            for place in error.args[0] if error.args else self._reading:
                self._lose_until(place, self._consumer.beginning_offsets([place])[place])
                self._consumer.seek(place, self.positions[place])
            return
        except ReadStuck:
            self._consumer = self._open()  # `_choose` sets it to where we are
            return
        now = self._clock()
        for place, records in fetched.items():
            for raw in records:
                if self.positions[place] <= raw.offset < self._stops[place]:
                    self._merge.add(to_record(raw), now)
        for place in self._reading & self._consumer.assignment():
            self.positions[place] = max(self._consumer.position(place) or 0, self.positions[place])
            self._note_end(place)

    def _choose(self, places: set[TopicPartition]) -> None:
        """Read these partitions only.

        Not by pausing the others: kafka-python (3.0.12, Fetcher.fetched_records) never gives out what it had
        fetched of a paused partition when the records before it in its hands have run out meanwhile.
        """
        if places == self._consumer.assignment():
            return
        self._consumer.assign(sorted(places))
        for place in places:
            self._consumer.seek(place, self.positions[place])

    def _note_end(self, place: TopicPartition) -> None:
        if self._end(place):
            self._reading.discard(place)
            return
        log_end = self._consumer.highwater(place)
        if log_end is not None and self.positions[place] >= log_end:
            self._merge.reached_end(tuple(place), for_good=False)
        else:
            self._merge.goes_on(tuple(place))

    def _end(self, place: TopicPartition) -> bool:
        ended = self.positions[place] >= self._stops[place]
        if ended:
            self._merge.reached_end(tuple(place), for_good=True)
        return ended

    def _lose_until(self, place: TopicPartition, log_start: int) -> None:
        first, end = self.positions[place], min(log_start, self._stops[place])
        if not self._skip_lost:
            raise LostOffsets(place.topic, place.partition, first, end)
        self.lost_offsets += end - first
        self.positions[place] = end
