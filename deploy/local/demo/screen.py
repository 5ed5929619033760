"""Where the demo shows itself: a live table on a terminal, plain lines elsewhere or on request.

`Screen.live` gives the function that shows the board's latest state; it is called a few times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from deploy.local.demo.board import Board
from deploy.local.demo.outcome import SessionOutcome
from deploy.local.demo.table import PlainLog, live_table, outcome_lines, outcome_table

Update = Callable[[Mapping[str, float]], None]
"""Shows the board with these added latencies (seconds by result id)."""


class Screen:
    """Prints to `console`; plain when told so or when the console is no terminal."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        self.console = console
        self._plain = plain or not console.is_terminal

    def say(self, text: str, style: str | None = None) -> None:
        """One line about what goes on. May be called from any thread."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def live(self, board: Board) -> Iterator[Update]:
        """The board while sessions run."""
        if self._plain:
            log = PlainLog()
            yield lambda latencies: self._say_all(log.lines(board, latencies))
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            yield lambda latencies: live.update(
                live_table(board, latencies, self.console.width), refresh=True
            )

    def outcome(self, outcomes: Sequence[SessionOutcome]) -> None:
        """What was read back from the output topic."""
        if self._plain:
            self._say_all(outcome_lines(outcomes))
        else:
            self.console.print(outcome_table(outcomes))

    def _say_all(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.say(line)
