"""The board: what events make of the sessions' rows, and what the screen shows of them."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from deploy.local.demo.board import Board, ChunkSent, Event, RecordSeen, SessionState, ThreadFailed
from deploy.local.demo.playback import Session
from deploy.local.demo.table import PlainLog, live_table
from deploy.local.recordings import Recording

RECORDING = Recording("a", "Title", "UROLOGY", "DICTATION", 8_000, bytes(16_000), "one two")


def board(*events: Event) -> Board:
    result = Board([Session("a-1", RECORDING), Session("a-2", RECORDING)])
    for event in events:
        result.apply(event)
    return result


def final(index: int, text: str, session_id: str = "a-1", seen_at: float = 5.0) -> RecordSeen:
    record = {
        "session_id": session_id,
        "result_id": f"r{index}",
        "segment_index": index,
        "alternatives": [{"transcript": text}],
    }
    return RecordSeen("final_transcript", seen_at, record)


def partial(text: str, session_id: str = "a-1") -> RecordSeen:
    record = {"session_id": session_id, "transcript": text, "superseded": False}
    return RecordSeen("partial_transcript", 1.0, record)


def ended(segments: int, session_id: str = "a-1") -> RecordSeen:
    record = {"session_id": session_id, "segments": segments, "reason": "END_OF_SESSION"}
    return RecordSeen("session_ended", 9.0, record)


def dead_letter() -> RecordSeen:
    record: dict[str, Any] = {"session_id": None, "error_class": "Malformed", "message": "no"}
    return RecordSeen("dead_letter", 3.0, record)


def rendered(shown: Board, latencies: dict[str, float]) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(live_table(shown, latencies, width=140))
    return console.export_text()


def test_a_session_waits_plays_is_played_and_ends() -> None:
    shown = board()
    states = [shown.rows["a-1"].state]
    for event in (ChunkSent("a-1", 0.1, False), ChunkSent("a-1", 1.0, True), ended(0)):
        shown.apply(event)
        states.append(shown.rows["a-1"].state)
    assert states == list(SessionState)
    assert shown.rows["a-2"].state is SessionState.WAITING


def test_a_final_takes_the_place_of_its_partial() -> None:
    shown = board(partial("one"), partial("one t"))
    assert "one t" in rendered(shown, {})
    shown.apply(final(0, "One two."))
    assert shown.rows["a-1"].partial == ""
    text = rendered(shown, {"r0": 0.1234})
    assert "One two." in text
    assert "123 ms" in text


def test_a_session_is_complete_when_it_ended_and_all_its_segments_came_in_any_order() -> None:
    shown = board(ended(2), final(1, "two"))
    assert not shown.rows["a-1"].is_complete
    shown.apply(final(0, "one"))
    assert shown.rows["a-1"].is_complete
    assert not shown.is_complete
    shown.apply(ended(0, "a-2"))
    assert shown.is_complete


def test_a_repeated_final_keeps_the_first_time_it_was_seen() -> None:
    shown = board(final(0, "one", seen_at=5.0), final(0, "one", seen_at=7.5))
    assert shown.seen_at == {"r0": 5.0}
    assert shown.rows["a-1"].finals == {0: "one"}


def test_records_of_other_sessions_are_passed_over() -> None:
    shown = board(final(0, "x", "other"), partial("x", "other"), ended(1, "other"))
    assert all(row.state is SessionState.WAITING and not row.finals for row in shown.rows.values())
    assert not shown.seen_at


def test_dead_letters_are_shown_with_their_reason() -> None:
    assert "Malformed: no" in rendered(board(dead_letter()), {})


def test_the_error_of_a_thread_comes_up() -> None:
    with pytest.raises(ConnectionError):
        board(ThreadFailed("player", ConnectionError()))


def test_a_long_transcript_shows_its_end() -> None:
    text = rendered(board(final(0, "beginning " + "word " * 200 + "end"), partial("partial")), {})
    assert "beginning" not in text
    assert "partial" in text
    assert len(text.splitlines()) == 8


def test_plain_lines_tell_each_change_once() -> None:
    shown, log = board(), PlainLog()
    assert list(log.lines(shown, {})) == []
    for event in (ChunkSent("a-1", 0.1, False), partial("on"), final(0, "One."), dead_letter()):
        shown.apply(event)
    assert list(log.lines(shown, {"r0": 0.05})) == [
        "a-1  final 0  (added 50 ms)  One.",
        "a-1  playing",
        "dead letter: Malformed: no",
    ]
    assert list(log.lines(shown, {})) == []


def test_text_stays_out_of_repr() -> None:
    shown = board(partial("secret"), final(0, "secret"))
    assert "secret" not in repr(shown.rows)
    assert "secret" not in repr(final(0, "secret"))
