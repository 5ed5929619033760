"""Many readers, one pass: which records of one partition belong to which of the slices asked for. Pure.

A scan goes through the partition once, from the smallest offset wanted. Each request collects the records
of its own key between its own offsets until it has them all or holds `max_bytes`. `offer` and `advance`
return the requests that are done; `position` tells where the scan goes on, over stretches that nobody asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.kafka.records import KafkaRecord


@dataclass(frozen=True, slots=True)
class LogSlice:
    """The records of one key within a range of offsets, or the first part of them."""

    records: tuple[KafkaRecord, ...] = field(repr=False)
    next_offset: int
    """Where to go on: the end of the range when `complete`, else the first offset not yet searched."""
    complete: bool
    """Whether the whole range was searched."""
    lost: tuple[int, int] | None = None
    """Offsets [from, to) at the range's start that retention removed before they could be read."""


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """Records of `key`, start_offset <= offset < end_offset, at most about max_bytes of values at once."""

    key: bytes | None = field(repr=False)
    start_offset: int
    end_offset: int
    max_bytes: int


@dataclass(slots=True)
class _Collecting:
    request: SliceRequest
    log_end: int
    lost: tuple[int, int] | None = None
    records: list[KafkaRecord] = field(default_factory=list, repr=False)
    size_bytes: int = 0

    @property
    def start(self) -> int:
        return self.lost[1] if self.lost else self.request.start_offset

    @property
    def stop(self) -> int:
        return min(self.request.end_offset, self.log_end)

    def slice(self, next_offset: int) -> LogSlice:
        complete = next_offset >= self.request.end_offset
        return LogSlice(tuple(self.records), next_offset, complete, self.lost)


Done = tuple[SliceRequest, LogSlice]


class LogScan:
    """One pass over a partition for any number of requests, each identified by its object."""

    def __init__(self) -> None:
        self._active: dict[int, _Collecting] = {}
        self._reached = 0

    @property
    def active(self) -> bool:
        """Whether a request is still waiting for records."""
        return bool(self._active)

    @property
    def position(self) -> int:
        """The next offset to read: where the scan stands, or the next one that a request wants."""
        return max(self._reached, min((entry.start for entry in self._active.values()), default=0))

    def pending(self) -> list[SliceRequest]:
        """The requests that are not done."""
        return [entry.request for entry in self._active.values()]

    def accepts(self, request: SliceRequest) -> bool:
        """Whether the pass has not yet gone by the request's start."""
        return not self._active or request.start_offset >= self._reached

    def add(self, requests: Iterable[SliceRequest], log_start: int, log_end: int) -> list[Done]:
        """Take requests in; `log_start` and `log_end` are the partition's first and next offset now.

        A range that begins before log_start is cut and its `lost` set; one that reaches beyond log_end ends
        there incomplete, so that nothing waits for records that may never come.
        """
        done = []
        if not self._active:
            self._reached = 0
        for request in requests:
            entry = _Collecting(request, log_end)
            if request.start_offset < min(log_start, request.end_offset):
                entry.lost = (request.start_offset, min(log_start, request.end_offset))
            self._active[id(request)] = entry
            if entry.start >= entry.stop:
                done.append(self._finish(entry, min(max(entry.start, entry.stop), request.end_offset)))
        return done

    def offer(self, record: KafkaRecord) -> list[Done]:
        """Take the record at or after `position`; returns the requests that are full."""
        done = []
        for entry in list(self._active.values()):
            if entry.request.key == record.key and entry.start <= record.offset < entry.stop:
                size = len(record.value or b"")
                if entry.records and entry.size_bytes + size > entry.request.max_bytes:
                    done.append(self._finish(entry, record.offset))
                    continue
                entry.records.append(record)
                entry.size_bytes += size
        return done + self.advance(record.offset + 1)

    def advance(self, position: int) -> list[Done]:
        """Everything before `position` was read, also where the log has no record; returns what is
        complete.
        """
        self._reached = max(self._reached, position)
        return [
            self._finish(entry, entry.stop)
            for entry in list(self._active.values())
            if entry.stop <= self._reached
        ]

    def lose_until(self, log_start: int) -> list[Done]:
        """Retention overtook the scan. What was begun ends here, incomplete; the rest begins behind the
        loss.
        """
        done = []
        for entry in list(self._active.values()):
            if self._reached > entry.start:
                done.append(self._finish(entry, self._reached))
            elif log_start > entry.start:
                entry.lost = (entry.request.start_offset, min(log_start, entry.request.end_offset))
                if entry.start >= entry.stop:
                    done.append(self._finish(entry, entry.request.end_offset))
        return done

    def _finish(self, entry: _Collecting, next_offset: int) -> Done:
        del self._active[id(entry.request)]
        return entry.request, entry.slice(next_offset)
