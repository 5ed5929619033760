"""The world's only clock and its order of events: a heap of what happens when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

START_SECONDS = 100.0


class Scheduler:
    """`now` is in seconds of the fake clock; it moves only from one event to the next."""

    def __init__(self) -> None:
        self.now = START_SECONDS
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()

    def at(self, moment: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` at `moment`, or now if that has passed."""
        heapq.heappush(self._heap, (max(moment, self.now), next(self._numbers), action, arguments))

    def after(self, delay_seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` in `delay_seconds`."""
        self.at(self.now + delay_seconds, action, *arguments)

    def run_next(self) -> bool:
        """Let the next event happen; False when nothing is left to happen."""
        if not self._heap:
            return False
        moment, _, action, arguments = heapq.heappop(self._heap)
        self.now = moment
        self.events += 1
        action(*arguments)
        return True
