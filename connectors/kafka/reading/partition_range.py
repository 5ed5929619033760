"""The restriction of one partition's reader: a range of offsets, and how far the log is known to reach."""

from __future__ import annotations

import struct
from dataclasses import dataclass

UNBOUNDED = 2**63 - 1
"""The stop of a live topic."""

_LAYOUT = struct.Struct(">3q")


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """Offsets from `start` to `stop`, not included; `log_end` is the end of the log when last heard of.

    The log's end makes a backlog out of a range that has no stop of its own.
    """

    start: int
    stop: int = UNBOUNDED
    log_end: int = 0

    def __post_init__(self) -> None:
        if self.start > self.stop:
            raise ValueError(f"start {self.start} is behind stop {self.stop}")

    @property
    def is_bounded(self) -> bool:
        return self.stop != UNBOUNDED

    @property
    def backlog_records(self) -> int:
        """Offsets that are in the log, as far as is known, and not read."""
        return max(0, min(self.stop, self.log_end) - self.start)

    def split_at(self, offset: int, log_end: int) -> tuple[PartitionRange, PartitionRange]:
        """What is done and what is left at `offset`; start <= offset <= stop."""
        return PartitionRange(self.start, offset, log_end), PartitionRange(offset, self.stop, log_end)

    def to_bytes(self) -> bytes:
        """Three big-endian 64-bit numbers."""
        return _LAYOUT.pack(self.start, self.stop, self.log_end)

    @classmethod
    def from_bytes(cls, data: bytes) -> PartitionRange:
        """What `to_bytes` wrote."""
        return cls(*_LAYOUT.unpack(data))
