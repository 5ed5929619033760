"""A progress bar on standard error where that is a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Show = Callable[[float, str], None]
"""How much is done, and a few words beside the bar."""


@contextmanager
def progress_bar(title: str, total: float | None) -> Iterator[Show]:
    """A bar that runs to `total`; None: to no known end."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total, note="")

        def show(done: float, note: str) -> None:
            bar.update(task, completed=done, note=note)

        yield show
