"""What a process has of one partition: records that were fetched and that no bundle has taken yet."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.kafka.audio_log import to_record
from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.records import KafkaRecord

BUFFERED_RECORDS = 5_000
_BUFFERED_BYTES = 16 * 1024 * 1024
"""A partition with more in its buffer is paused."""
_BEHIND_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """What one `read` found: records in order, and the offset to read next.

    `log_end`: the offset of the next record to be written, when the broker last told; None: not told yet.
    """

    records: list[KafkaRecord] = field(repr=False)
    next_offset: int
    log_end: int | None = None
    size_bytes: int = 0
    """Of keys, values and headers."""


@dataclass(slots=True)
class Feed:
    """Records fetched and not yet taken, and where the consumer stands."""

    next_offset: int
    position: int
    used_at: float
    returned_at: float = float("-inf")
    buffer: deque[KafkaRecord] = field(default_factory=deque, repr=False)
    sizes: deque[int] = field(default_factory=deque)
    buffered_bytes: int = 0
    log_end: int | None = None
    paused: bool = False
    error: KafkaConnectorError | None = None
    replaced: bool = False

    def put(self, fetched: Sequence[Any]) -> None:
        """kafka-python's records, in order."""
        self.buffer.extend(map(to_record, fetched))
        sizes = [_size_bytes(record) for record in fetched]
        self.sizes.extend(sizes)
        self.buffered_bytes += sum(sizes)
        self.position = max(self.position, fetched[-1].offset + 1)

    def is_full(self) -> bool:
        return len(self.buffer) > BUFFERED_RECORDS or self.buffered_bytes > _BUFFERED_BYTES

    def is_behind(self) -> bool:
        """Whether there is much to fetch, so that looking for more is no waste."""
        return not self.paused and (self.log_end or 0) - self.position > _BEHIND_RECORDS

    def has(self, max_records: int, max_bytes: int) -> bool:
        """Whether as much is here as one batch may hold."""
        return len(self.buffer) >= max_records or self.buffered_bytes >= max_bytes

    def take(self, max_records: int, max_bytes: int) -> Batch:
        """At least one record, if there is one, however large it is."""
        count = taken_bytes = 0
        for size in itertools.islice(self.sizes, max_records):
            if count and taken_bytes + size > max_bytes:
                break
            count, taken_bytes = count + 1, taken_bytes + size
        records = [self.buffer.popleft() for _ in range(count)]
        for _ in range(count):
            self.sizes.popleft()
        self.buffered_bytes -= taken_bytes
        if self.buffer:
            self.next_offset = records[-1].offset + 1
        else:  # also over offsets without a record: transaction markers, compaction
            self.next_offset = max(self.next_offset, self.position)
        return Batch(records, self.next_offset, self.log_end, taken_bytes)


def _size_bytes(fetched: Any) -> int:
    """Of key, value and headers; kafka-python counts -1 for what is missing."""
    key: int = fetched.serialized_key_size
    value: int = fetched.serialized_value_size
    headers: int = fetched.serialized_header_size
    return max(key, 0) + max(value, 0) + max(headers, 0)
