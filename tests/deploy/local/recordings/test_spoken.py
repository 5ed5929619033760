"""Numbers and units as they are said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.recordings.spoken import number_words, spoken_form


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("A heart rate of 75 beats per minute.", "a heart rate of seventy five beats per minute"),
        ("A heart rate of 75 bpm.", "a heart rate of seventy five beats per minute"),
        ("In and out of sinus rhythm", "in and out of sinus rhythm"),
        ("I/O of sinus rhythm", "in and out of sinus rhythm"),
        ("Blood pressure is 138/84.", "blood pressure is one hundred thirty eight over eighty four"),
        ("4.2 and 0.05", "four point two and zero point zero five"),
        ("97% on room air", "ninety seven percent on room air"),
        ("Metoprolol 50 mg, twice daily", "metoprolol fifty milligrams twice daily"),
        ("a well-known, 62-year-old", "a well known sixty two year old"),
        ("1,200 ml", "one thousand two hundred milliliters"),
        ("Don't stop", "don't stop"),
        ("12345678", "one two three four five six seven eight"),
        ("", ""),
        ("...", ""),
    ],
)
def test_spoken_form(written: str, said: str) -> None:
    assert spoken_form(written) == said


@given(st.integers(min_value=0, max_value=999_999))
def test_number_words_of_different_numbers_differ_and_are_words(number: int) -> None:
    words = number_words(number).split()
    assert _value(words) == number


@given(st.text())
def test_spoken_form_is_stable_and_has_no_digits(text: str) -> None:
    said = spoken_form(text)
    assert spoken_form(said) == said
    assert not any(character in said for character in "0123456789/%,")


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_number_words_refuses_what_it_cannot_say(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        number_words(number)


def _value(words: list[str]) -> int:
    """The number that `words` say, by addition and multiplication: an independent way back."""
    ones = {number_words(n): n for n in range(20)}
    tens = {number_words(n): n for n in range(20, 100, 10)}
    total = part = 0
    for word in words:
        if word == "thousand":
            total, part = part * 1_000, 0
        elif word == "hundred":
            part *= 100
        else:
            part += ones.get(word) if word in ones else tens[word]  # type: ignore[operator]
    return total + part
