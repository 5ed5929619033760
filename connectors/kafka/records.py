"""One Kafka record as the rest of the code sees it, without kafka-python.

Between Beam stages a record travels as the plain tuple of `as_tuple()`, which Beam's fast primitives coder
writes without pickling.
"""

from __future__ import annotations

from typing import NamedTuple

CREATE_TIME = 0
LOG_APPEND_TIME = 1
NO_TIMESTAMP = -1

RecordHeaders = tuple[tuple[str, bytes | None], ...]
RecordTuple = tuple[str, int, int, int, int, bytes | None, bytes | None, RecordHeaders]


class KafkaRecord(NamedTuple):
    """A record with its position. Key, value and headers may hold patient data and stay out of `repr`.

    A named tuple, for the source makes one of each record: a quarter of what a frozen dataclass costs.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Milliseconds since 1970-01-01 UTC; NO_TIMESTAMP when the record has none."""
    timestamp_type: int
    """CREATE_TIME (set by the producer) or LOG_APPEND_TIME (set by the broker)."""
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders = ()

    def __repr__(self) -> str:
        return (
            f"KafkaRecord(topic={self.topic!r}, partition={self.partition}, offset={self.offset}, "
            f"timestamp_ms={self.timestamp_ms}, timestamp_type={self.timestamp_type})"
        )

    def as_tuple(self) -> RecordTuple:
        """The fields in the order of their declaration."""
        return self[:]

    @classmethod
    def from_tuple(cls, fields: RecordTuple) -> KafkaRecord:
        """The record that `as_tuple()` took apart."""
        return cls(*fields)

    def header(self, name: str) -> bytes | None:
        """Value of the last header of this name, as Kafka's own clients choose; None when there is none."""
        return next((value for key, value in reversed(self.headers) if key == name), None)
