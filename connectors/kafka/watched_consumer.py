"""kafka-python's consumer, whose `poll` comes back.

kafka-python 3.0.12 hands the work of a poll to a thread of its own and waits for the answer without a limit
(`NetworkSelector.run`). Twice, on a full machine, that answer never came, while its thread slept in `select`.
A consumer that is closed from another thread ends that wait with an error. So one thread of the process looks
after all polls that are under way, and closes the consumers of those that are long overdue; whoever waited
gets PollStuck and goes on with a new consumer.
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

from connectors.kafka.errors import PollStuck

_LOG = logging.getLogger(__name__)
_CLOSE_MS = 1_000
_FRAMES = 8


@dataclass(slots=True, eq=False)
class _Poll:
    """One that is under way."""

    consumer: Any
    thread_id: int
    due_at: float


class PollWatch:
    """Looks each `interval_seconds` whether a poll is overdue. Thread-safe."""

    def __init__(self, interval_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._polls: set[_Poll] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, consumer: Any, seconds: float) -> Iterator[None]:
        """While the block runs, at most for so long: then the consumer is `given_up`, and closed from another
        thread.
        """
        poll = _Poll(consumer, threading.get_ident(), self._clock() + seconds)
        with self._lock:
            self._polls.add(poll)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kafka-poll-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._polls.discard(poll)

    def end_overdue(self) -> None:
        """Close the consumers of polls whose time is over, each in a thread of its own: that can hang too."""
        now = self._clock()
        with self._lock:
            overdue = [poll for poll in self._polls if poll.due_at <= now and not poll.consumer.given_up]
            for poll in overdue:
                poll.consumer.given_up = True
        for poll in overdue:
            _LOG.error("A poll of Kafka does not return; its consumer is closed. %s", _whereabouts(poll))
            threading.Thread(target=_close, args=(poll.consumer,), name="close-stuck", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._interval_seconds)
            self.end_overdue()


_WATCH = PollWatch()


class WatchedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python is untyped
    """A KafkaConsumer whose polls raise PollStuck instead of waiting for ever; it is closed then."""

    stuck_seconds = 30.0
    """Beyond the poll's own timeout: a request's time, and no pause of a busy machine."""
    watch = _WATCH
    given_up = False

    def poll(
        self, timeout_ms: float = 0, max_records: int | None = None, update_offsets: bool = True
    ) -> dict[Any, list[Any]]:
        """Records by TopicPartition, as KafkaConsumer's own; raises PollStuck too."""
        # What is found is no local variable here: kafka-python may keep this frame (`shared_consumer`).
        if not self.given_up:
            with self.watch.over(self, timeout_ms / 1000 + self.stuck_seconds):
                try:
                    return super().poll(timeout_ms, max_records, update_offsets)  # type: ignore[no-any-return]
                except Exception:
                    if not self.given_up:
                        raise
        raise self._stuck(timeout_ms)

    def _stuck(self, timeout_ms: float) -> PollStuck:
        topic, partition = min(self.assignment(), default=("-", 0))
        return PollStuck(topic, partition, timeout_ms / 1000 + self.stuck_seconds)


def _close(consumer: Any) -> None:
    with contextlib.suppress(Exception):
        consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _whereabouts(poll: _Poll) -> str:
    """Where its two threads are, for whoever looks for the cause: names and lines, no values."""
    network = getattr(poll.consumer, "_net", None)
    thread = getattr(network, "_io_thread", None)
    frames = sys._current_frames()
    waiting, inner = frames.get(poll.thread_id), frames.get(getattr(thread, "ident", None) or 0)
    return f"It waits at {_stack(waiting)}; its thread is at {_stack(inner)}; {network}."


def _stack(frame: FrameType | None) -> str:
    if frame is None:
        return "no place"
    found = traceback.extract_stack(frame)[-_FRAMES:]
    return " > ".join(f"{step.filename.rpartition('/')[2]}:{step.lineno} {step.name}" for step in found)
