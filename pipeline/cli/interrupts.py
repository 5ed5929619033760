"""Ctrl-C and SIGTERM as a request to end in order; the second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The event is set by the first signal."""
    asked = threading.Event()
    before: dict[int, Any] = {}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.default_int_handler)
        asked.set()

    for number in _SIGNALS:
        before[number] = signal.signal(number, interrupt)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
