"""Beam's view of the source's restrictions: trackers, which only the source itself may split, and providers.

A runner that split a partition would give one key's records to two workers at a time; one that split the
discovery would find each partition twice. So each tracker's only split is its reader's own checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from connectors.kafka.reading.discovery import KnownTopics
from connectors.kafka.reading.partition_range import PartitionRange

Partition = tuple[str, int, int, int, int]
"""topic, partition, first offset, end offset (UNBOUNDED for a live topic), end of the log when found"""


@dataclass(frozen=True, slots=True)
class Reached:
    """A claim: everything before `next_offset`, while the log was known to reach to `log_end`."""

    next_offset: int
    log_end: int | None = None


class PartitionTracker(RestrictionTracker):
    """Claims are made by `Reached`; the first may be of nothing. A refused claim must not be output."""

    def __init__(self, restriction: PartitionRange) -> None:
        self._range = restriction
        self._claimed = restriction.start
        self._log_end = restriction.log_end
        self._split = False

    def current_restriction(self) -> PartitionRange:
        return self._range

    def try_claim(self, position: Reached) -> bool:
        if position.next_offset < self._claimed:
            raise ValueError(f"offset {position.next_offset} is before {self._claimed}, which is claimed")
        if position.next_offset > self._range.stop:
            return False
        self._claimed = position.next_offset
        self._log_end = max(self._log_end, position.log_end or 0)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[PartitionRange, PartitionRange] | None:
        if fraction_of_remainder != 0 or self._split or self._claimed >= self._range.stop:
            return None
        self._split = True
        self._range, residual = self._range.split_at(self._claimed, self._log_end)
        return self._range, residual

    def current_progress(self) -> RestrictionProgress:
        """In offsets; what remains of a live topic is what is in the log."""
        done = self._claimed - self._range.start
        remaining = PartitionRange(self._claimed, self._range.stop, self._log_end).backlog_records
        return RestrictionProgress(completed=done, remaining=remaining)

    def check_done(self) -> bool:
        if self._claimed < self._range.stop:
            raise ValueError(f"offsets {self._claimed} to {self._range.stop - 1} are neither read nor left")
        return True

    def is_bounded(self) -> bool:
        return self._range.is_bounded


class PartitionRestrictions(RestrictionProvider):
    """The range of offsets that the discovery resolved."""

    def initial_restriction(self, element: Partition) -> PartitionRange:
        _, _, start, stop, log_end = element
        return PartitionRange(start, max(start, stop), log_end)

    def create_tracker(self, restriction: PartitionRange) -> PartitionTracker:
        return PartitionTracker(restriction)

    def restriction_size(self, element: Partition, restriction: PartitionRange) -> int:  # noqa: ARG002
        """The backlog in records: what runners scale by."""
        return restriction.backlog_records

    def restriction_coder(self) -> Coder:
        return _BytesOf(PartitionRange)

    def truncate(self, element: Partition, restriction: PartitionRange) -> PartitionRange | None:  # noqa: ARG002
        """Draining a live topic stops reading; a bounded replay is read to its end."""
        return restriction if restriction.is_bounded else None


@dataclass(frozen=True, slots=True)
class Listed:
    """A claim: these topics are known now; `last`: there will be no further listing."""

    known: KnownTopics
    last: bool


class DiscoveryTracker(RestrictionTracker):
    """One claim (`Listed`) per bundle; what is left is the discovery with what was found."""

    def __init__(self, restriction: KnownTopics) -> None:
        self._known = restriction
        self._left = restriction
        self._done = False

    def current_restriction(self) -> KnownTopics:
        return self._known

    def try_claim(self, position: Listed) -> bool:
        if self._done:
            return False
        self._left, self._done = position.known, position.last
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[KnownTopics, KnownTopics] | None:
        if fraction_of_remainder != 0 or self._done:
            return None
        self._done = True
        return self._known, self._left

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=1, remaining=0)

    def check_done(self) -> bool:
        if not self._done:
            raise ValueError("the discovery was neither ended nor deferred")
        return True

    def is_bounded(self) -> bool:
        return False


class DiscoveryRestrictions(RestrictionProvider):
    """The discovery begins with nothing known, weighs nothing, and ends when the job is drained."""

    def initial_restriction(self, element: bytes) -> KnownTopics:  # noqa: ARG002
        return KnownTopics()

    def create_tracker(self, restriction: KnownTopics) -> DiscoveryTracker:
        return DiscoveryTracker(restriction)

    def restriction_size(self, element: bytes, restriction: KnownTopics) -> int:  # noqa: ARG002
        return 0

    def restriction_coder(self) -> Coder:
        return _BytesOf(KnownTopics)

    def truncate(self, element: bytes, restriction: KnownTopics) -> None:  # noqa: ARG002
        return None


class _BytesOf(Coder):
    """Coder of a class with `to_bytes` and `from_bytes`."""

    def __init__(self, kind: type[PartitionRange] | type[KnownTopics]) -> None:
        self._kind = kind

    def encode(self, value: Any) -> bytes:
        encoded: bytes = value.to_bytes()
        return encoded

    def decode(self, encoded: bytes) -> Any:
        return self._kind.from_bytes(encoded)

    def is_deterministic(self) -> bool:
        return True
