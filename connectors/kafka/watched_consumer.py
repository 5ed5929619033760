"""kafka-python's consumer, whose reads come back.

kafka-python 3.0.12 hands the work of a call to a thread of its own and waits for the answer without a limit
(`NetworkSelector.run`). Once, in a test on a full machine, that answer never came, while its thread slept in
`select`. A consumer that is closed from another thread ends that wait with an error. So one thread of the
process looks after all reads that are under way, and closes the consumers of those that are long overdue;
whoever waited gets ReadStuck and goes on with a new consumer.

Watched are polls and questions for offsets, which have a time of their own. What may wait for a broker as
long as it is away (`partitions_for_topic`) is not.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from kafka import KafkaConsumer

from connectors.kafka.errors import ReadStuck

_LOG = logging.getLogger(__name__)
_CLOSE_MS = 1_000
_FRAMES = 8


@dataclass(slots=True, eq=False)
class _Call:
    """One that is under way."""

    consumer: Any
    thread_id: int
    due_at: float


class CallWatch:
    """Looks each `interval_seconds` whether a call is overdue. Thread-safe."""

    def __init__(self, interval_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, consumer: Any, seconds: float) -> Iterator[None]:
        """While the block runs, at most for so long: then the consumer is `given_up`, and closed from another
        thread.
        """
        call = _Call(consumer, threading.get_ident(), self._clock() + seconds)
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._calls.discard(call)

    def end_overdue(self) -> None:
        """Close the consumers of calls whose time is over, each in a thread of its own: that can hang too."""
        now = self._clock()
        with self._lock:
            overdue = [call for call in self._calls if call.due_at <= now and not call.consumer.given_up]
            for call in overdue:
                call.consumer.given_up = True
        for call in overdue:
            _LOG.error("A read of Kafka does not return; its consumer is closed. %s", _whereabouts(call))
            threading.Thread(target=_close, args=(call.consumer,), name="close-stuck", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._interval_seconds)
            self.end_overdue()


_WATCH = CallWatch()


class WatchedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python is untyped
    """A KafkaConsumer whose reads raise ReadStuck instead of waiting for ever; it is closed then."""

    stuck_seconds = 30.0
    """Beyond the call's own timeout: a request's time, and no pause of a busy machine."""
    watch = _WATCH
    given_up = False

    def poll(self, timeout_ms: float = 0, max_records: int | None = None, update_offsets: bool = True) -> Any:
        """Records by TopicPartition, as KafkaConsumer's own; raises ReadStuck too."""
        return self._watched(super().poll, timeout_ms, timeout_ms, max_records, update_offsets)

    def beginning_offsets(self, partitions: Any, timeout_ms: float | None = None) -> Any:
        """As KafkaConsumer's own; raises ReadStuck too, as do the next two."""
        return self._watched(super().beginning_offsets, timeout_ms, partitions, timeout_ms)

    def end_offsets(self, partitions: Any, timeout_ms: float | None = None) -> Any:
        """As KafkaConsumer's own."""
        return self._watched(super().end_offsets, timeout_ms, partitions, timeout_ms)

    def offsets_for_times(self, timestamps: Any, timeout_ms: float | None = None) -> Any:
        """As KafkaConsumer's own."""
        return self._watched(super().offsets_for_times, timeout_ms, timestamps, timeout_ms)

    def _watched(self, call: Callable[..., Any], timeout_ms: float | None, *arguments: Any) -> Any:
        """What is found is no local variable here: kafka-python may keep this frame (`shared_consumer`)."""
        own_ms = self.config["request_timeout_ms"] if timeout_ms is None else timeout_ms
        limit_seconds = own_ms / 1000 + self.stuck_seconds
        if not self.given_up:
            with self.watch.over(self, limit_seconds):
                try:
                    return call(*arguments)
                except Exception:
                    if not self.given_up:
                        raise
        topic, partition = min(self.assignment(), default=("-", 0))
        raise ReadStuck(topic, partition, limit_seconds)


def _close(consumer: Any) -> None:
    with contextlib.suppress(Exception):
        consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _whereabouts(call: _Call) -> str:
    """Where its two threads are, for whoever looks for the cause: names and lines, no values."""
    network = getattr(call.consumer, "_net", None)
    thread = getattr(network, "_io_thread", None)
    frames = sys._current_frames()
    waiting, inner = frames.get(call.thread_id), frames.get(getattr(thread, "ident", None) or 0)
    return f"It waits at {_stack(waiting)}; its thread is at {_stack(inner)}; {network}."


def _stack(frame: FrameType | None) -> str:
    if frame is None:
        return "no place"
    found = traceback.extract_stack(frame)[-_FRAMES:]
    return " > ".join(f"{step.filename.rpartition('/')[2]}:{step.lineno} {step.name}" for step in found)
