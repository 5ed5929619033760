"""The pictures of the README: there, small, and referring to nothing elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import deploy.local.screens
from deploy.local.screens.terminal import HEIGHT, table_svg
from pipeline.watch.board import Board
from tests.pipeline.watch.scripted_board import START_MS, a_final, seen

FOLDER = Path(deploy.local.screens.__file__).parent
PICTURES = sorted([*FOLDER.glob("*.svg"), *FOLDER.glob("*.png")])


def outside(svg: str) -> list[str]:
    """What a browser would fetch for it."""
    return re.findall(r"url\([^#)][^)]*\)|@import|@font-face|href=", svg)


def test_the_pictures_are_small_and_shown_in_the_readme() -> None:
    assert len(PICTURES) == 2
    assert sum(picture.stat().st_size for picture in PICTURES) < 300_000
    readme = (FOLDER.parents[2] / "README.md").read_text(encoding="utf-8")
    assert all(f"(deploy/local/screens/{picture.name})" in readme for picture in PICTURES)
    assert outside((FOLDER / "watch.svg").read_text(encoding="utf-8")) == []


def test_a_table_becomes_a_picture_that_needs_nothing_else() -> None:
    board = Board(START_MS)
    for number in range(HEIGHT):
        board.enter(seen(a_final(0, "spoken words", 0.0, session_id=f"visit-{number}")), START_MS / 1000)
    svg = table_svg(board, "a title")
    assert "a title" in svg.replace("&#160;", " ")
    assert "visit-1" in svg
    assert outside(svg) == []
