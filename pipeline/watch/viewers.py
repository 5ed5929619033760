"""Where a watched board is shown: a table that is rewritten in place, or a line for each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live

from pipeline.watch.board import Board
from pipeline.watch.lines import event_json, event_lines
from pipeline.watch.reading import OutputReader
from pipeline.watch.table import board_table
from pipeline.watch.values import BoardEvent, Seen

_REFRESH_SECONDS = 0.125
_POLL_SECONDS = 0.1


class Viewer(Protocol):
    """Shows a board while it changes."""

    def tell(self, events: Iterable[BoardEvent], now: float) -> None:
        """What has just happened."""

    def refresh(self) -> None:
        """Show the board as it stands; called a few times a second."""


class Followed(Protocol):
    """What is read into: a board, or one that is shared with a server."""

    def enter(self, seen: Seen, now: float) -> list[BoardEvent]: ...

    def pass_time(self, now: float) -> list[BoardEvent]: ...


class EventPrinter:
    """A line for each event on standard output; JSON lines have partials, too."""

    def __init__(self, *, json: bool, show_text: bool, low_below: float) -> None:
        self._json = json
        self._show_text = show_text
        self._low_below = low_below

    def tell(self, events: Iterable[BoardEvent], now: float) -> None:
        for event in events:
            if self._json:
                typer.echo(event_json(event, now, show_text=self._show_text))
            else:
                for line in event_lines(event, show_text=self._show_text, low_below=self._low_below):
                    typer.echo(line)

    def refresh(self) -> None:
        """Lines were printed when they came."""


class Unwatched:
    """Shows nothing by itself: browsers ask for what they show."""

    def tell(self, events: Iterable[BoardEvent], now: float) -> None:
        """Nothing is printed."""

    def refresh(self) -> None:
        """Nor drawn."""


class TerminalTable:
    """The board in the terminal's alternate screen: what was said does not stay in the scroll-back."""

    def __init__(self, board: Board, console: Console, *, show_text: bool) -> None:
        self._board = board
        self._console = console
        self._show_text = show_text
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._due = 0.0

    def __enter__(self) -> TerminalTable:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, events: Iterable[BoardEvent], now: float) -> None:
        """The table shows it."""

    def refresh(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _REFRESH_SECONDS
        size = self._console.size
        table = board_table(self._board, size.width, size.height, show_text=self._show_text)
        self._live.update(table, refresh=True)


def follow(
    reader: OutputReader,
    board: Followed,
    viewer: Viewer,
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Read into the board and show it, until the reader has finished or somebody says stop.

    Raises what OutputReader.poll raises.
    """
    while not reader.finished and not stopped():
        for seen in reader.poll(_POLL_SECONDS):
            if wanted(seen.session_id):
                now = time.time()
                viewer.tell(board.enter(seen, now), now)
        now = time.time()
        viewer.tell(board.pass_time(now), now)
        viewer.refresh()
