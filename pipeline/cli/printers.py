"""Where `medstream transcribe` shows what it hears: a terminal, lines of text, or JSON lines.

Transcripts go to standard output and nowhere else; what there is to say beside them goes to standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.elements import PartialTranscript
from pipeline.engine.commands import EmitFinal, EmitPartial, EmitSessionEnded
from pipeline.output.transcript_text import (
    final_json,
    final_lines,
    partial_json,
    partial_line,
    session_ended_json,
    tail,
)
from pipeline.worker.live_outputs import Output


class Printer(Protocol):
    """Shows the outputs of one session."""

    def show(self, output: Output) -> None:
        """Show what there is to show of `output`."""

    def tell(self, sentence: str) -> None:
        """Say something that is no transcript."""

    def close(self) -> None:
        """Leave what has been shown."""


def _say(sentence: str) -> None:
    typer.echo(f"medstream: {sentence}", err=True)


class JsonPrinter:
    """One JSON object a line for each partial, final and session end."""

    def __init__(self, *, partials: bool = True) -> None:
        self._partials = partials

    def show(self, output: Output) -> None:
        match output:
            case EmitFinal(final):
                typer.echo(final_json(final))
            case EmitPartial(partial) if self._partials:
                typer.echo(partial_json(partial))
            case EmitSessionEnded(summary):
                typer.echo(session_ended_json(summary, time.time_ns() // 1_000_000))

    def tell(self, sentence: str) -> None:
        _say(sentence)

    def close(self) -> None:
        """Nothing is pending."""


class LinePrinter:
    """A line for each final; with `partials` one for each of them too, after a tilde."""

    def __init__(self, *, partials: bool = False) -> None:
        self._partials = partials

    def show(self, output: Output) -> None:
        match output:
            case EmitFinal(final):
                _echo_all(final_lines(final))
            case EmitPartial(partial) if self._partials:
                typer.echo(f"~ {partial_line(partial)}")

    def tell(self, sentence: str) -> None:
        _say(sentence)

    def close(self) -> None:
        """Nothing is pending."""


def _echo_all(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


class TerminalPrinter:
    """Finals as lines; below them what is being said, one line for each open segment, rewritten in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: dict[str, PartialTranscript] = {}
        # Standard error has its own way to the terminal (`tell`): rich would send it to standard output.
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)
        self._live.start()

    def show(self, output: Output) -> None:
        match output:
            case EmitFinal(final):
                self._open.pop(final.result_id, None)
                self._redraw()
                for line in final_lines(final):
                    self._console.print(Text(line), soft_wrap=True)
            case EmitPartial(partial):
                self._open[partial.result_id] = partial
                if partial.superseded:
                    del self._open[partial.result_id]
                self._redraw()

    def tell(self, sentence: str) -> None:
        self._live.stop()
        _say(sentence)
        self._live.start()
        self._redraw()

    def close(self) -> None:
        self._live.stop()

    def _redraw(self) -> None:
        width = self._console.width
        lines = [tail(partial_line(partial), width) for partial in self._open.values()]
        self._live.update(Text("\n".join(lines), style="dim"), refresh=True)


def printer(*, json: bool, partials: bool | None) -> Printer:
    """The printer for standard output as it is; `partials` None: where they are usual."""
    if json:
        return JsonPrinter(partials=partials is not False)
    if sys.stdout.isatty() and partials is not False:
        return TerminalPrinter(Console())
    return LinePrinter(partials=bool(partials))
