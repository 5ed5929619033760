"""What counts as a word, and what of it is compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.testing.words import words_of


def compared(text: str) -> list[str]:
    return [word.compared for word in words_of(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fever, “no” (cough)!", ["fever", "no", "cough"]),
        ("4.2 mg, 138/84 and 5%", ["4.2", "mg", "138/84", "and", "5%"]),
        ("She's a follow-up — really -", ["she's", "a", "follow-up", "really"]),
        ("’tis don’t -5", ["tis", "don’t", "-5"]),
        ("STRASSE straße ﬁne", ["strasse", "strasse", "fine"]),
        ("  \n\t ", []),
    ],
)
def test_case_and_punctuation_around_words_do_not_count(text: str, words: list[str]) -> None:
    assert compared(text) == words


def test_verbatim_takes_words_as_they_are_written() -> None:
    assert [word.compared for word in words_of("Fever, — NO", verbatim=True)] == ["Fever,", "—", "NO"]


def test_a_word_is_not_in_its_repr() -> None:
    assert "fever" not in repr(words_of("fever"))


@given(st.text())
def test_words_have_no_spaces_and_their_case_does_not_count(text: str) -> None:
    assert all(word and not any(char.isspace() for char in word) for word in compared(text))
    if text.isascii():
        assert compared(text.upper()) == compared(text.lower())
