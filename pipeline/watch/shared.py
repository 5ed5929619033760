"""A board between two threads: one reads the topics into it, the other serves views of it."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.watch.board import Board
from pipeline.watch.values import BoardEvent, Seen
from pipeline.watch.views import board_view


class SharedBoard:
    """A board under a lock. Nothing that leaves it is changed afterwards."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = threading.Lock()

    def enter(self, seen: Seen, now: float) -> list[BoardEvent]:
        with self._lock:
            return self._board.enter(seen, now)

    def pass_time(self, now: float) -> list[BoardEvent]:
        with self._lock:
            return self._board.pass_time(now)

    def view(self, since: int | None, *, show_text: bool) -> dict[str, Any] | None:
        """As `views.board_view`."""
        with self._lock:
            return board_view(self._board, since, show_text=show_text)
