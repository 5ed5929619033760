"""When a session counts as whole, and what is said when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.local.demo.outcome import SessionOutcome, missing_finals, outcomes
from deploy.local.demo.playback import Session
from deploy.local.demo.table import outcome_lines
from deploy.local.recordings import Recording

SESSION = Session("a-1", Recording("a", "A", "UROLOGY", "DICTATION", 8_000, b"", "one two three"))


def record(index: int, text: str, session_id: str = "a-1", stream: str = "s") -> dict[str, Any]:
    return {
        "session_id": session_id,
        "segment_index": index,
        "result_id": f"r{index}",
        "stream_id": stream,
        "start_time": float(index),
        "end_time": index + 0.5,
        "alternatives": [{"transcript": text}],
    }


def outcome(*indexes: int) -> SessionOutcome:
    [result] = outcomes([SESSION], [record(index, "word") for index in indexes])
    return result


def test_finals_are_put_in_order_and_compared_with_the_reference() -> None:
    other = record(0, "x", "other")
    [result] = outcomes([SESSION], [record(1, "three."), other, record(0, "One, two")])
    assert [final.transcript for final in result.finals] == ["One, two", "three."]
    assert result.word_errors.errors == 0
    assert list(outcome_lines([result]))[1:] == [
        "a-1: 2 finals, 0 of 3 = 0.0%",
        "    0.00-  0.50 s  One, two",
        "    1.00-  1.50 s  three.",
    ]


def test_a_whole_session_has_nothing_to_report() -> None:
    assert list(missing_finals(outcome(0, 1), 2, {"s": ["r0", "r1"], "other": ["r9"]})) == []


def test_after_a_recovery_the_finals_of_the_lost_stream_are_not_asked_for() -> None:
    [result] = outcomes([SESSION], [record(0, "one", stream="lost"), record(1, "two", stream="new")])
    assert list(missing_finals(result, 2, {"lost": ["r0", "r7"], "new": ["r1"]})) == []


@pytest.mark.parametrize(
    ("indexes", "expected", "emitted", "sentence"),
    [
        ((), 0, {}, "has no finals in the output topic"),
        ((0,), None, {}, "did not end"),
        ((0, 2), 3, {}, "lacks the finals with segment_index 1."),
        ((0,), 3, {}, "lacks the finals with segment_index 1, 2."),
        ((1,), 0, {}, "lacks the finals with segment_index 0."),
        ((0, 1), 2, {"s": ["r0", "r1", "r2"]}, "lacks 1 of 3 finals that the endpoint sent"),
    ],
)
def test_what_is_missing_is_named(
    indexes: tuple[int, ...], expected: int | None, emitted: dict[str, list[str]], sentence: str
) -> None:
    [problem] = missing_finals(outcome(*indexes), expected, emitted)
    assert sentence in problem
    assert "a-1" in problem


def test_text_stays_out_of_repr() -> None:
    assert "word" not in repr(outcome(0).finals)
