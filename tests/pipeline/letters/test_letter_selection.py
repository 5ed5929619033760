"""Which dead letters are meant, and what there is of each reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord
from pipeline.elements import DeadLetter
from pipeline.errors import ChunkRejected
from pipeline.letters.letter_selection import (
    Selection,
    by_reason,
    each_once,
    range_message,
    range_of,
    session_of,
)


def a_letter(
    offset: int,
    *,
    reason: str = "NOT_AVRO",
    message: str = "why",
    value: bytes | None = b"value",
    key: bytes | None = b"s1",
    session_id: str | None = None,
    failed_at_ms: int = 1_000,
    partition: int = 0,
) -> DeadLetter:
    """A synthetic letter about one record of the topic `audio`."""
    record = KafkaRecord("audio", partition, offset, 0, 0, key, value, (("h", b"1"),))
    return DeadLetter(record, "DECODE", ChunkRejected(reason, message), session_id, failed_at_ms)


@given(st.integers(0, 2**62), st.none() | st.integers(0, 2**62), st.text())
def test_a_range_is_read_back_from_its_message(first: int, last: int | None, reason: str) -> None:
    letter = a_letter(first, message=range_message(first, last, reason), value=None)
    assert range_of(letter) == (first, last)


def test_a_letter_about_one_record_has_no_range() -> None:
    assert range_of(a_letter(3, value=None)) is None
    assert range_of(a_letter(3, message=range_message(3, 9, "refused"))) is None  # it has its value


@pytest.mark.parametrize(
    ("selection", "offsets"),
    [
        (Selection(), [0, 1, 2]),
        (Selection(reasons=["LATE_CHUNK"]), [1]),
        (Selection(sessions=["s1"]), [0, 2]),
        (Selection(positions=["audio/0/2"]), [2]),
        (Selection(from_ms=2_000), [1, 2]),
        (Selection(to_ms=2_000), [0]),
        (Selection(from_ms=2_000, to_ms=3_000, sessions=["s2"]), [1]),
    ],
)
def test_letters_are_chosen_by_what_they_say(selection: Selection, offsets: list[int]) -> None:
    letters = [
        a_letter(0),
        a_letter(1, reason="LATE_CHUNK", session_id="s2", failed_at_ms=2_000),
        a_letter(2, failed_at_ms=3_000),
    ]
    assert [letter.record.offset for letter in letters if selection.takes(letter)] == offsets
    assert Selection().is_all
    assert not Selection(to_ms=1).is_all


def test_a_letter_that_came_twice_counts_once_and_reasons_are_counted() -> None:
    letters = each_once(
        [
            a_letter(7, failed_at_ms=5),
            a_letter(2, failed_at_ms=9, message="latest"),
            a_letter(7, failed_at_ms=6),
            a_letter(1, reason="LATE_CHUNK", key=b"\xff", failed_at_ms=7),
        ]
    )
    assert [(letter.record.offset, letter.failed_at_ms) for letter in letters] == [(1, 7), (2, 9), (7, 6)]
    frequent, rare = by_reason(letters)
    assert (frequent.reason, frequent.letters, frequent.sessions) == ("NOT_AVRO", 2, {"s1"})
    assert (frequent.first_at_ms, frequent.last_at_ms, frequent.example) == (6, 9, "latest")
    assert (rare.reason, rare.sessions) == ("LATE_CHUNK", set())
    assert session_of(a_letter(0, key=None)) is None
