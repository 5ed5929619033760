"""Several partitions as one stream in the order of their timestamps. Pure.

Records of a partition keep their order: one whose timestamp is earlier than that of a record before it counts
as being of the same time. A record is given out when no partition that may still have an earlier one is
waited for; such a partition is waited for until its end, or until nothing came from it for
`patience_seconds` (an end of the log that only a transaction under way holds back, a broker that is away).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.kafka.records import KafkaRecord

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class _Lane:
    records: deque[tuple[int, KafkaRecord]] = field(default_factory=deque, repr=False)
    size_bytes: int = 0
    newest_ms: int = -(2**63)
    heard_at: float = 0.0
    caught_up: bool = False
    finished: bool = False
    full: bool = False


class TimeMerge:
    """`add` what was read, `take` what can be given out."""

    def __init__(
        self, places: Iterable[Place], now: float, *, max_bytes: int, patience_seconds: float = 2.0
    ) -> None:
        """`max_bytes`: for all partitions together; a partition beyond its part is `full`."""
        self._lanes = {place: _Lane(heard_at=now) for place in places}
        self._lane_bytes = max_bytes // max(1, len(self._lanes))
        self._patience_seconds = patience_seconds
        self._heads: list[tuple[int, Place]] = []

    def add(self, record: KafkaRecord, now: float) -> None:
        """The partition's next record."""
        lane = self._lanes[record.topic, record.partition]
        lane.newest_ms = max(lane.newest_ms, record.timestamp_ms)
        lane.heard_at = now
        lane.size_bytes += _size_bytes(record)
        if not lane.records:
            heapq.heappush(self._heads, (lane.newest_ms, (record.topic, record.partition)))
        lane.records.append((lane.newest_ms, record))

    def reached_end(self, place: Place, *, for_good: bool) -> None:
        """There is nothing more of the partition now, or ever."""
        lane = self._lanes[place]
        lane.caught_up = True
        lane.finished = lane.finished or for_good

    def goes_on(self, place: Place) -> None:
        """The log has more of the partition than was read."""
        self._lanes[place].caught_up = self._lanes[place].finished

    def full(self, place: Place) -> bool:
        """Whether no more of the partition should be read now: until half of it is given out."""
        lane = self._lanes[place]
        lane.full = lane.size_bytes > (self._lane_bytes // 2 if lane.full else self._lane_bytes)
        return lane.full

    @property
    def is_done(self) -> bool:
        """Whether every partition has ended and everything was given out."""
        return not self._heads and all(lane.finished for lane in self._lanes.values())

    def take(self, now: float) -> list[KafkaRecord]:
        """The records that are next, in order."""
        awaited = {
            place
            for place, lane in self._lanes.items()
            if not lane.records and not lane.caught_up and now - lane.heard_at < self._patience_seconds
        }
        taken: list[KafkaRecord] = []
        while self._heads and not awaited:
            _, place = heapq.heappop(self._heads)
            lane = self._lanes[place]
            _, record = lane.records.popleft()
            lane.size_bytes -= _size_bytes(record)
            taken.append(record)
            if lane.records:
                heapq.heappush(self._heads, (lane.records[0][0], place))
            elif not lane.caught_up:
                lane.heard_at = now
                awaited.add(place)
        return taken


def _size_bytes(record: KafkaRecord) -> int:
    return len(record.key or b"") + len(record.value or b"") + 200
