"""A log that a test holds in its hands: reads wait until the test answers them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from connectors.kafka.log_scan import LogSlice
from connectors.kafka.records import KafkaRecord


@dataclass(frozen=True, slots=True)
class Read:
    """One call of `AudioLog.read`, and the future that answers it."""

    topic: str
    partition: int
    key: bytes
    start_offset: int
    end_offset: int
    max_bytes: int
    future: Future[LogSlice]


class HeldLog:
    """`AudioLog`'s `read`, answered from `records` when the test says so."""

    def __init__(self, records: Iterable[KafkaRecord] = ()) -> None:
        self.records = list(records)
        self.reads: list[Read] = []

    def read(
        self,
        topic: str,
        partition: int,
        key: bytes,
        start_offset: int,
        end_offset: int,
        max_bytes: int = 0,
    ) -> Future[LogSlice]:
        future: Future[LogSlice] = Future()
        self.reads.append(Read(topic, partition, key, start_offset, end_offset, max_bytes, future))
        return future

    def answer(self) -> None:
        """Answer the oldest open read with every record of its key in its range, as `AudioLog` would."""
        read = next(read for read in self.reads if not read.future.done())
        found = tuple(
            record
            for record in self.records
            if record.key == read.key and read.start_offset <= record.offset < read.end_offset
        )
        log_end = max((record.offset + 1 for record in self.records), default=0)
        next_offset = min(read.end_offset, max(log_end, read.start_offset))
        read.future.set_result(LogSlice(found, next_offset, complete=next_offset >= read.end_offset))

    def fail(self, error: Exception) -> None:
        """Fail the oldest open read."""
        next(read for read in self.reads if not read.future.done()).future.set_exception(error)
