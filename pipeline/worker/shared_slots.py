"""The slots of one worker process (`stream_slots`) for its threads, and a session's claim on one of them.

A slot is held until the stream has really ended: a stream that was dropped still has its connection, and
counts with the service, until that is closed. A session that failed therefore leaves its claim behind, which
gives the slot back once its stream has gone, and queues with a new one.

Beam's threads ask and leave; the event loop says what became of the streams. One lock serves all of it, and
nothing is called while it is held.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.worker.stream_slots import MAX_LIVE_STREAMS, MAX_OPENS_PER_SECOND, StreamSlots

LATE_REFUSAL_SECONDS = 5.0
"""The service may accept a stream and refuse it within it: a throttling exception so soon means the opening.
Later it means the limit of a stream's duration."""

_LEVELS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SlotLevels:
    """The slots at one moment; `longest_wait_seconds` is that of the head of the queue. `slots`: how many
    the setting allows.
    """

    live: int
    waiting: int
    ceiling: int
    longest_wait_seconds: float
    slots: int


class SharedSlots:
    """See the module. `clock` gives seconds, monotonic."""

    def __init__(
        self,
        max_live_streams: int = MAX_LIVE_STREAMS,
        max_opens_per_second: float = MAX_OPENS_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._slots = StreamSlots(max_live_streams, max_opens_per_second)
        self._max_live_streams = max_live_streams
        self._clock = clock
        self._told_at = -math.inf

    def claim(self) -> SlotClaim:
        """A claim that has asked for nothing yet."""
        return SlotClaim(self._slots, self._lock, self._clock)

    @property
    def levels(self) -> SlotLevels:
        """How it stands now."""
        with self._lock:
            return self._levels(self._clock())

    def due_levels(self) -> SlotLevels | None:
        """How it stands now, for a metric; None when that was told less than a second ago."""
        with self._lock:
            now = self._clock()
            if now - self._told_at < _LEVELS_SECONDS:
                return None
            self._told_at = now
            return self._levels(now)

    def _levels(self, now: float) -> SlotLevels:
        slots = self._slots
        slots.advance(now)
        longest_wait_seconds = slots.longest_wait_seconds(now)
        return SlotLevels(
            slots.live, slots.waiting, slots.ceiling, longest_wait_seconds, self._max_live_streams
        )


class SlotClaim:
    """One session's claim on one slot: it waits in the queue, has the slot, or was left.

    All methods may be called from any thread.
    """

    def __init__(self, slots: StreamSlots, lock: threading.Lock, clock: Callable[[], float]) -> None:
        self.granted = False
        self.waited_seconds = 0.0
        self._slots, self._lock, self._clock = slots, lock, clock
        self._asked_at: float | None = None
        self._left = False
        self._streams = 0
        self._begun = False
        self._opened_at: float | None = None

    # The session's side

    def ask(self) -> bool:
        """Whether the claim has its slot; until it has, ask twice a second or so to keep the place."""
        with self._lock:
            if self._left or self.granted:
                return self.granted and not self._left
            now = self._clock()
            self._asked_at = now if self._asked_at is None else self._asked_at
            self.granted = self._slots.acquire(self, now)
            self.waited_seconds = now - self._asked_at
            return self.granted

    def leave(self) -> None:
        """No stream will be opened with it any more: the place is free at once, the slot with its stream."""
        with self._lock:
            self._left = True
            self._slots.cancel(self)
            self._release_if_over()

    # The stream's side

    def stream_begins(self) -> None:
        """A stream is to be opened in the slot."""
        with self._lock:
            self._streams += 1
            self._begun = True
            self._opened_at = None

    def stream_opened(self) -> None:
        """The service accepted the stream."""
        with self._lock:
            self._opened_at = self._clock()
            self._slots.opened(self, self._opened_at)

    def stream_throttled(self) -> None:
        """The service ended the stream for a quota; whether that was for opening it is judged here."""
        with self._lock:
            now = self._clock()
            if self._opened_at is None or now - self._opened_at < LATE_REFUSAL_SECONDS:
                self._slots.throttled(now, self)

    def stream_ended(self) -> None:
        """Nothing is left of the stream, its connection included."""
        with self._lock:
            self._streams -= 1
            self._release_if_over()

    def _release_if_over(self) -> None:
        if self._left and self.granted and self._streams == 0:
            self._slots.release(self, self._clock(), unused=not self._begun)
