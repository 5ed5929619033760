"""Plain lines where there is no terminal, a table where there is one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from deploy.local.demo.board import Board, ChunkSent, RecordSeen
from deploy.local.demo.outcome import outcomes
from deploy.local.demo.playback import Session
from deploy.local.demo.screen import Screen
from deploy.local.recordings import Recording

SESSION = Session("a-1", Recording("a", "A", "UROLOGY", "DICTATION", 8_000, bytes(16_000), "one two"))


def final(text: str) -> RecordSeen:
    record = {
        "session_id": "a-1",
        "result_id": "r0",
        "stream_id": "s",
        "segment_index": 0,
        "start_time": 0.0,
        "end_time": 0.9,
        "alternatives": [{"transcript": text}],
    }
    return RecordSeen("final_transcript", 1.0, record)


def shown(*, terminal: bool, plain: bool) -> str:
    """Everything a short run writes to a console of either kind."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    screen, board, last = Screen(console, plain=plain), Board([SESSION]), final("One two.")
    screen.say("[not markup]")
    with screen.live(board) as update:
        for event in (ChunkSent("a-1", 0.5, False), last):
            board.apply(event)
            update({})
    screen.outcome(outcomes([SESSION], [last.record]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("terminal", "plain"), [(False, False), (False, True), (True, True)])
def test_plain_output_has_no_control_sequences(terminal: bool, plain: bool) -> None:
    text = shown(terminal=terminal, plain=plain)
    assert "\x1b[2K" not in text
    assert "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in text
    assert text.splitlines()[:3] == ["[not markup]", "a-1  playing", "a-1  final 0  One two."]
    assert "a-1: 1 finals, 0 of 2 = 0.0%" in text


def test_a_terminal_gets_tables() -> None:
    text = shown(terminal=True, plain=False)
    assert "[not markup]" in text
    assert "0.5 of 1.0 s" in text
    assert "0 of 2 = 0.0%" in text
