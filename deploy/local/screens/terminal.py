"""A board's table as an SVG that refers to nothing outside itself."""

from __future__ import annotations

import io
import re

from rich.console import Console

from pipeline.watch.board import Board
from pipeline.watch.table import board_table

WIDTH, HEIGHT = 128, 34
_FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Rich asks a content delivery network for a font."""


def table_svg(board: Board, title: str) -> str:
    """The table, words included, as a terminal of WIDTH times HEIGHT characters shows it."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True)
    console.print(board_table(board, WIDTH, HEIGHT, show_text=True))
    svg = console.export_svg(title=title, unique_id="watch")
    return _FONT_FACES.sub("", svg).replace("Fira Code", "ui-monospace")
