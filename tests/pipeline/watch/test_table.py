"""The table on a terminal: it fits, shows what was asked for, and marks what is unsure or not final."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.output.output_values import SessionEnded
from pipeline.watch.board import Board
from pipeline.watch.table import board_table
from tests.pipeline.watch.scripted_board import START_MS, a_final, a_partial, an_end, items_of, seen

NOW = START_MS / 1000 + 2.0


def drawn(board: Board, width: int = 120, height: int = 40, *, show_text: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, record=True, force_terminal=True)
    console.print(board_table(board, width, height, show_text=show_text))
    return console.export_text().splitlines()


def styled(board: Board) -> str:
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system="standard")
    console.print(board_table(board, 120, 40, show_text=True))
    return file.getvalue()


def a_board(sessions: int) -> Board:
    board = Board(START_MS)
    for number in range(sessions):
        text = f"Word {number} of a long dictation that goes on and on, as they do. " * 3
        board.enter(seen(a_final(0, text.strip(), 0.0, session_id=f"visit-{number}")), NOW + number)
    return board


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 10), (200, 60)])
@pytest.mark.parametrize("sessions", [0, 3, 100])
def test_the_table_never_grows_over_the_terminal(width: int, height: int, sessions: int) -> None:
    lines = drawn(a_board(sessions), width, height)
    assert len(lines) <= height
    assert max(map(len, lines), default=0) <= width
    assert f"{sessions} sessions" in lines[-1]


def test_a_word_longer_than_its_cell_does_not_make_the_table_grow() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "pneumonoultramicroscopic" * 20 + " " + "word " * 300, 0.0)), NOW)
    assert len(drawn(board, 80, 9)) <= 9


def test_the_most_recently_active_sessions_are_shown_and_the_rest_is_counted() -> None:
    lines = drawn(a_board(100), 120, 24)
    assert [line.split()[0] for line in lines[3:-2]] == [f"│visit-{number}" for number in range(81, 100)]
    assert "100 sessions (100 live), 81 not shown" in lines[-1]


def test_what_is_alive_keeps_its_place_above_what_fell_silent() -> None:
    board = a_board(5)
    board.enter(seen(a_final(1, "Again.", 80.0, session_id="visit-3")), NOW + 20)
    board.enter(seen(a_final(1, "Again.", 80.0, session_id="visit-1")), NOW + 21)
    board.enter(seen(an_end(1, session_id="visit-4")), NOW + 21)
    board.pass_time(NOW + 21)
    rows = [line.split()[0] for line in drawn(board, 120, 10) if "visit-" in line]
    assert rows == [f"│visit-{number}" for number in (1, 3, 2, 0, 4)]


def test_words_finals_latency_and_place_are_shown() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "The patient is well.", 61.0)), NOW)
    board.enter(seen(a_partial("no fev", 63.0, result_id="r1")), NOW)
    row = next(line for line in drawn(board) if "session-1" in line)
    for part in ("live", "1:03", "The patient is well. no fev", "1", "s"):
        assert part in row


def test_partials_are_dim_and_unsure_words_marked() -> None:
    board = Board(START_MS)
    items = (*items_of("plainly", 0.0), *items_of("mumbled", 0.4, confidence=0.2))
    board.enter(seen(a_final(0, "plainly mumbled", 0.0, items=items)), NOW)
    board.enter(seen(a_partial("hearing", 1.0, result_id="r1")), NOW)
    text = styled(board)
    assert "\x1b[4;33mmumbled\x1b[0m" in text
    assert "\x1b[2;3mhearing\x1b[0m" in text


def test_a_change_of_voice_is_shown() -> None:
    board = Board(START_MS)
    items = (*items_of("How is it?", 0.0, speaker="0"), *items_of("Better.", 2.0, speaker="1"))
    board.enter(seen(a_final(0, "How is it? Better.", 0.0, channel="ch_0", items=items)), NOW)
    text = " ".join("\n".join(drawn(board, 160)).split())
    assert "ch_0, speaker 0: How is it? ch_0, speaker 1: Better." in text


def test_without_text_there_are_counts() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "The patient is well.", 0.0)), NOW)
    board.enter(seen(a_partial("no fever", 2.0, result_id="r1")), NOW)
    text = "\n".join(drawn(board, show_text=False))
    assert "4 words, 2 being heard" in text
    assert not any(word in text for word in ("patient", "fever", "well"))


def test_a_rejected_session_says_why() -> None:
    board = Board(START_MS)
    summary = replace(an_end(0).summary, reason="REJECTED")
    board.enter(seen(SessionEnded(summary, START_MS)), NOW)
    assert any("rejected" in line and "REJECTED" in line for line in drawn(board))
