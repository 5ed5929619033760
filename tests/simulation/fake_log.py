"""One partition of a Kafka topic, shared by the sessions of a world.

Everything that will be written is known from the beginning; what the clock has not reached yet is not there.
Offsets grow with holes, as behind a compacted topic or transaction markers.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.elements import LogEntry
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import ReadLog
from tests.simulation.producer import Write


@dataclass(frozen=True, slots=True)
class Record:
    """A write with its place in the log."""

    entry: LogEntry
    write: Write

    @property
    def offset(self) -> int:
        return self.entry.offset

    @property
    def payload_bytes(self) -> int:
        return 0 if self.entry.chunk is None else len(self.entry.chunk.payload)


class FakeLog:
    """Records in the order of writing; `count(now)` of them are there at `now`, which never goes back."""

    def __init__(self, rng: random.Random, writes: Iterable[Write]) -> None:
        self.records: list[Record] = []
        self._of_session: dict[str, list[Record]] = {}
        self._offsets: dict[str, list[int]] = {}
        self._written = 0
        offset = rng.randint(0, 50)
        for write in sorted(writes, key=lambda write: write.at):
            record = Record(LogEntry(offset, write.chunk, write.rejection), write)
            self.records.append(record)
            self._of_session.setdefault(write.session_id, []).append(record)
            self._offsets.setdefault(write.session_id, []).append(offset)
            offset += 1 if rng.random() < 0.8 else rng.randint(2, 5)

    def count(self, now: float) -> int:
        """How many records have been written by `now`."""
        while self._written < len(self.records) and self.records[self._written].write.at <= now:
            self._written += 1
        return self._written

    def of_session(self, session_id: str) -> list[Record]:
        """All records of a session, also those that are not written yet."""
        return self._of_session.get(session_id, [])

    def read(self, session_id: str, read: ReadLog, now: float) -> LogSlice:
        """The answer to `read`, as `audio_log` and `live_streams` give it.

        Without an end the range is complete once nothing more of the session is found.
        """
        count = self.count(now)
        log_end = self.records[count - 1].offset + 1 if count else 0
        stop = log_end if read.end_offset is None else min(read.end_offset, log_end)
        offsets = self._offsets.get(session_id, [])
        first = bisect_left(offsets, read.start_offset)
        found: list[LogEntry] = []
        size_bytes, next_offset = 0, max(stop, read.start_offset)
        for record in self.of_session(session_id)[first : bisect_left(offsets, stop)]:
            size_bytes += record.payload_bytes
            if found and size_bytes > read.max_bytes:
                next_offset = record.offset
                break
            found.append(record.entry)
        complete = not found if read.end_offset is None else next_offset >= read.end_offset
        return LogSlice(tuple(found), next_offset, complete=complete)
