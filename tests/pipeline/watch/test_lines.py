"""Lines for people and for programs; words only when asked for."""

from __future__ import annotations

import json
from dataclasses import replace

from pipeline.elements import SessionSummary
from pipeline.output.output_values import SessionEnded
from pipeline.watch.board import Board
from pipeline.watch.lines import event_json, event_lines
from pipeline.watch.values import BoardEvent, Seen
from tests.pipeline.watch.scripted_board import START_MS, a_final, a_partial, an_end, items_of, seen

NOW = START_MS / 1000 + 2.0


def events_of(*values: Seen) -> list[BoardEvent]:
    board = Board(START_MS)
    return [event for value in values for event in board.enter(value, NOW)]


def lines_of(events: list[BoardEvent], *, show_text: bool) -> list[str]:
    return [line for event in events for line in event_lines(event, show_text=show_text, low_below=0.5)]


def some_events() -> list[BoardEvent]:
    items = (*items_of("plainly,", 0.0), *items_of("mumbled", 0.4, confidence=0.2))
    return events_of(
        seen(a_partial("plainly", 0.0)),
        seen(a_final(0, "plainly, mumbled", 0.0, items=items)),
        seen(a_partial("more", 1.0, result_id="result-1")),
        seen(a_partial("", 1.0, result_id="result-1", superseded=True)),
        seen(an_end(2)),
    )


def test_lines_have_finals_states_and_how_late_they_are() -> None:
    assert lines_of(some_events(), show_text=True) == [
        "session-1  live",
        "session-1  [0:00.00–0:00.80] plainly, mumbled(?)  (1.2 s after it was spoken)",
        "session-1  draining, END_OF_SESSION, 1 final not seen",
    ]
    assert lines_of(some_events(), show_text=False)[1] == (
        "session-1  [0:00.00–0:00.80] (2 words)  (1.2 s after it was spoken)"
    )


def test_json_lines_have_partials_too() -> None:
    lines = [json.loads(event_json(event, NOW, show_text=True)) for event in some_events()]
    assert [line["event"] for line in lines] == [
        *("state", "partial", "final", "partial", "withdrawn", "state")
    ]
    assert {line["session_id"] for line in lines} == {"session-1"}
    assert lines[1]["at"] == "2026-03-01T07:00:02.000+00:00"
    assert lines[2]["text"] == "plainly, mumbled"
    assert (lines[2]["words"], lines[2]["low_confidence_words"], lines[2]["revised"]) == (2, 1, False)
    assert lines[2]["latency_seconds"] == {"published": 1.0, "spoken": 1.2}
    assert lines[3]["latency_seconds"] == {"published": 1.0, "spoken": 0.6}
    assert lines[5]["missing_finals"] == 1


def test_without_text_no_word_is_in_any_line() -> None:
    events = some_events()
    text = "\n".join(
        [*lines_of(events, show_text=False), *(event_json(event, NOW, show_text=False) for event in events)]
    )
    assert not any(word in text for word in ("plainly", "mumbled", "more"))
    assert '"masked": true' in text


def test_without_a_capture_time_a_line_says_what_it_measures_from() -> None:
    events = events_of(seen(replace(a_final(0, "one", 0.0), started_at_ms=None)))
    assert lines_of(events, show_text=False)[1].endswith("(1 word)  (1.0 s after its publication)")


def test_a_line_does_not_steer_the_terminal() -> None:
    name = "bad\x1b[2J"
    summary = SessionSummary(name, "REJECTED", 0, 1, 1.0, (), 1, 0, an_end(0).summary.source)
    events = events_of(
        seen(a_final(0, "wo\x1brd", 0.0, session_id=name)), seen(SessionEnded(summary, START_MS))
    )
    assert "\x1b" not in "\n".join(lines_of(events, show_text=True))
