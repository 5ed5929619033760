"""Word errors are counted on the words as spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.demo.wer import NO_ERRORS, WordErrors, word_errors

SAID = "The patient was in and out of sinus rhythm with a heart rate of 75 beats per minute."


@pytest.mark.parametrize(
    "heard",
    [
        SAID,
        "the patient was in and out of sinus rhythm with a heart rate of seventy five beats per minute",
        "The patient was I/O of sinus rhythm, with a heart rate of 75 bpm.",
    ],
)
def test_formatting_is_no_error(heard: str) -> None:
    assert word_errors(SAID, heard) == WordErrors(19, 0, 0, 0)


def test_each_kind_of_error_is_counted() -> None:
    assert word_errors("one two three four", "one too three") == WordErrors(4, 1, 1, 0)
    assert word_errors("chest pain", "no chest pain") == WordErrors(2, 0, 0, 1)


def test_nothing_heard_is_all_words_lost_and_nothing_said_is_all_invented() -> None:
    assert word_errors("chest pain", "").rate == 1.0
    assert word_errors("", "chest pain") == WordErrors(0, 0, 0, 2)
    assert word_errors("", "") == NO_ERRORS
    assert NO_ERRORS.rate == 0.0


def test_sums_weigh_by_words() -> None:
    total = word_errors("a b c", "a b c") + word_errors("d", "e")
    assert total.rate == 0.25


@given(st.lists(st.sampled_from(["chest", "pain", "75", "mg"])), st.lists(st.sampled_from(["chest", "rash"])))
def test_errors_account_for_the_difference_in_length(said: list[str], heard: list[str]) -> None:
    errors = word_errors(" ".join(said), " ".join(heard))
    spoken = sum(2 if word == "75" else 1 for word in said)
    assert errors.reference_words == spoken
    assert len(heard) - spoken == errors.insertions - errors.deletions
