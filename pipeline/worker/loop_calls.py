"""Calls handed to an event loop from other threads, with one wake-up for all that come before it runs.

`call_soon_threadsafe` writes to a socket each time, and the loop's thread, once awake, contends with the
caller for the interpreter: with a hundred sessions in one bundle that is most of what handing audio over
costs. Here the first call wakes the loop, and those that follow until it runs only join the queue.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable


class LoopCalls:
    """The calls of one loop, run in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake = loop.call_soon_threadsafe
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def call(self, callback: Callable[[], object]) -> None:
        """Have the loop run `callback` soon; from any thread. It must not raise."""
        self._calls.append(callback)
        if not self._woken:
            self._woken = True
            self._wake(self._run)

    def _run(self) -> None:
        self._woken = False  # before the first is taken: whoever comes now either is taken or wakes again
        for _ in range(len(self._calls)):
            self._calls.popleft()()


_calls: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopCalls] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def calls_of(loop: asyncio.AbstractEventLoop) -> LoopCalls:
    """The calls of `loop`, the same for everyone."""
    with _lock:
        found = _calls.get(loop)
        if found is None:
            found = _calls[loop] = LoopCalls(loop)
        return found
