"""Spoken words to written items."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers import Word
from deploy.local.transcribe.results import join_words
from deploy.local.transcribe.text import format_words


def spoken(text: str) -> list[Word]:
    return [Word(word, float(n), n + 0.5, 0.9 - n / 100) for n, word in enumerate(text.split())]


def written(text: str, *, is_final: bool = True) -> str:
    return join_words(format_words(spoken(text), is_final=is_final))


@pytest.mark.parametrize(
    ("said", "wrote"),
    [
        ("a heart rate of seventy five beats per minute", "A heart rate of 75 bpm."),
        ("the patient was in and out of sinus rhythm", "The patient was I/O of sinus rhythm."),
        ("one hundred thirty eight over eighty four", "138 over 84."),
        ("one hundred and five", "105."),
        ("two thousand and six", "2006."),
        ("three thousand four hundred twenty one", "3421."),
        ("count is four point two", "Count is 4.2."),
        ("thirty six point oh", "36 point oh."),
        ("six weeks and i slept", "Six weeks and I slept."),
        ("one hundred and three of them", "100 and three of them."),
        ("fifty milligrams", "50 mg."),
        ("zero hundred", "Zero hundred."),
        ("twenty zero", "20 zero."),
        ("beats per", "Beats per."),
        ("point", "Point."),
    ],
)
def test_written_form(said: str, wrote: str) -> None:
    assert written(said) == wrote


def test_punctuation_that_was_recognised_stays_and_is_not_doubled() -> None:
    words = spoken("no , is it seventy ?")
    words = [replace(word, is_punctuation=word.content in ",?") for word in words]
    assert join_words(format_words(words, is_final=True)) == "No, is it 70?"


def test_the_speaker_of_a_word_is_kept() -> None:
    words = [replace(word, speaker="1") for word in spoken("seventy five bananas")]
    assert [item.speaker for item in format_words(words, is_final=True)] == ["1", "1", None]


def test_a_partial_has_no_full_stop() -> None:
    assert written("the patient", is_final=False) == "The patient"


def test_merged_words_span_their_times_and_keep_the_lowest_confidence() -> None:
    items = format_words(spoken("seventy five bananas"), is_final=True)
    assert [(w.content, w.start_seconds, w.end_seconds, w.confidence) for w in items] == [
        ("75", 0.0, 1.5, 0.89),
        ("bananas", 2.0, 2.5, 0.88),
        (".", 2.5, 2.5, None),
    ]


WORDS = st.sampled_from(
    [
        "one",
        "two",
        "ten",
        "twenty",
        "seventy",
        "hundred",
        "thousand",
        "and",
        "point",
        "of",
        "in",
        "out",
        "beats",
        "per",
        "minute",
        "x",
        "i",
    ]
)


@given(st.lists(WORDS, max_size=12))
@settings(deadline=None)
def test_items_cover_the_words_in_order(words: list[str]) -> None:
    items = [item for item in format_words(spoken(" ".join(words)), is_final=True) if not item.is_punctuation]
    assert bool(items) == bool(words)
    if items:
        assert (items[0].start_seconds, items[-1].end_seconds) == (0.0, len(words) - 0.5)
        assert all(a.end_seconds < b.start_seconds for a, b in itertools.pairwise(items))
