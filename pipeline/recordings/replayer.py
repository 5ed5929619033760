"""Planned records onto a topic, each at its time: what `medstream replay` does once it is set up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from connectors.kafka.recordings.bulk_sender import BulkSender
from connectors.kafka.records import KafkaRecord
from pipeline.audio.playback import UNPACED
from pipeline.audio.raw_chunks import AVRO
from pipeline.errors import SettingsError
from pipeline.recordings.replay_plan import Planned
from pipeline.recordings.session_rename import SessionRenamer

_SHOW_SECONDS = 0.1
_CHECK_RECORDS = 64
"""So often the clock is read when nothing is waited for."""
_LATENESS_STEP_SECONDS = 0.0001
_MAX_LATENESS_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where records go, and what of them is kept. `count`: partitions of the topic."""

    topic: str
    count: int
    keep_partitions: bool = True
    keep_timestamps: bool = False
    keep_headers: bool = True
    added_headers: tuple[tuple[str, bytes], ...] = ()
    chunk_format: str = AVRO

    def partition(self, number: int) -> int | None:
        """The partition of a record of `number`, None: by its key. Raises SettingsError."""
        if not self.keep_partitions:
            return None
        if number >= self.count:
            raise SettingsError(
                "--partitions",
                f"the recording has partition {number}, topic {self.topic!r} has {self.count}: create it "
                f"with at least {number + 1}, or choose --partitions key",
            )
        return number


@dataclass(slots=True)
class ReplaySummary:
    """What was sent; `lateness` counts records by how late they were, in steps of 0.1 ms."""

    records: int = 0
    value_bytes: int = 0
    seconds: float = 0.0
    emptied_headers: int = 0
    """Headers without a value, which were sent with an empty one."""
    lateness: Counter[int] = field(default_factory=Counter)

    def late(self, seconds: float) -> None:
        self.lateness[min(_MAX_LATENESS_STEPS, max(0, int(seconds / _LATENESS_STEP_SECONDS)))] += 1

    def lateness_ms(self, quantile: float) -> float | None:
        """So late at most was that part of the records, 0.99 for 99 %; None when they had no time."""
        left = quantile * self.lateness.total()
        for step in sorted(self.lateness):
            left -= self.lateness[step]
            if left <= 0:
                return round((step + 1) * _LATENESS_STEP_SECONDS * 1000, 1)
        return None


class Replayer:
    """Sends planned records. The clock begins with the first of them."""

    def __init__(
        self,
        sender: BulkSender,
        target: Target,
        speed: float,
        *,
        wait: Callable[[float], bool],
        show: Callable[[float, ReplaySummary], None] = lambda _due, _summary: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`speed`: times real time, UNPACED as fast as the broker takes it. `wait`: so many seconds; whether
        to stop (`threading.Event.wait`). `show`: seconds of the recording done, now and then.
        """
        self._sender = sender
        self._target = target
        self._speed = speed
        self._wait = wait
        self._show = show
        self._clock = clock
        self._renamer = SessionRenamer(target.chunk_format)
        self.summary = ReplaySummary()

    def run(self, planned: Iterable[Planned]) -> bool:
        """Send all; False when it was stopped. What was sent is acknowledged when it returns.

        Raises KafkaConnectorError, SettingsError.
        """
        self._sender.prepare(self._target.topic)  # so that the first record is in time
        began_at = self._clock()
        whole = self._send_all(planned, began_at)
        self._sender.flush()
        self.summary.seconds = self._clock() - began_at
        return whole

    def _send_all(self, planned: Iterable[Planned], began_at: float) -> bool:
        shown_at = began_at
        for number, one in enumerate(planned):
            if self._speed != UNPACED:
                # From the beginning, not from the record before: what came late delays nothing after it.
                due_at = began_at + one.due_seconds / self._speed
                ahead = due_at - self._clock()
                if self._wait(max(0.0, ahead)):
                    return False
                self.summary.late(self._clock() - due_at)
            elif number % _CHECK_RECORDS == 0 and self._wait(0):
                return False
            self._send(one)
            if (self._speed != UNPACED or number % _CHECK_RECORDS == 0) and (
                now := self._clock()
            ) - shown_at >= _SHOW_SECONDS:
                shown_at = now
                self._show(one.due_seconds, self.summary)
        return True

    def _send(self, planned: Planned) -> None:
        record = planned.record
        if planned.name is not None:
            record = self._renamer.renamed(record, planned.name)
        target = self._target
        self._sender.send(
            target.topic,
            record.key,
            record.value,
            self._headers(record),
            partition=target.partition(record.partition),
            timestamp_ms=record.timestamp_ms if target.keep_timestamps and record.timestamp_ms >= 0 else None,
        )
        self.summary.records += 1
        self.summary.value_bytes += len(record.value or b"")

    def _headers(self, record: KafkaRecord) -> Sequence[tuple[str, bytes]]:
        if not (self._target.keep_headers and record.headers):
            return self._target.added_headers
        kept = []
        for name, value in record.headers:
            if value is None:  # kafka-python (3.0.12) cannot send it
                self.summary.emptied_headers += 1
            kept.append((name, value or b""))
        return (*kept, *self._target.added_headers)
