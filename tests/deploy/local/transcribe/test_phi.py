"""The documented rule for protected health information, and that entities lie where their words do."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.transcribe.phi import find_phi
from deploy.local.transcribe.recognisers import Word
from deploy.local.transcribe.recognisers.scripted import spread_words
from deploy.local.transcribe.results import join_words


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("On May 5, Doctor Green saw I/O of 75 bpm.", ["May 5", "Doctor Green"]),
        ("Doctor Green. She left.", ["Green"]),
        ("the number is 555 0100.", ["555 0100"]),
        ("a dose of 50 mg and then 2.5 mL.", []),
        ("an ECG and an MRI which I read, as I've said.", []),
        ("138 over 84.", ["138", "84"]),
        ("is it? Yes! No. Maybe, Anna.", ["Anna"]),
        ("room B12", ["B12"]),
        ("elm street", []),
        ("", []),
    ],
)
def test_the_rule(text: str, entities: list[str]) -> None:
    assert [entity.content for entity in find_phi(spread_words(text, 0.0, 9.0))] == entities


def test_an_entity_spans_its_words_and_is_as_sure_as_the_least_sure() -> None:
    words = [Word("saw", 0.0, 0.5, 0.9), Word("Anna", 0.5, 1.0, 0.8), Word("Green", 1.2, 1.75, 0.7)]
    (entity,) = find_phi(words)
    assert entity.to_json_dict() == {
        "Category": "PHI",
        "Confidence": 0.7,
        "Content": "Anna Green",
        "EndTime": 1.75,
        "StartTime": 0.5,
    }


def test_without_confidences_an_entity_has_none() -> None:
    (entity,) = find_phi([Word("room", 0.0, 0.5), Word("7", 0.5, 1.0)])
    assert entity.confidence is None


def test_what_was_found_is_hidden_from_repr() -> None:
    assert "Anna" not in repr(find_phi(spread_words("saw Anna", 0.0, 1.0)))


CONTENTS = st.sampled_from(["Anna", "Elm", "saw", "I", "I'm", "ECG", "75", "bpm", "B12", ",", ".", "?"])


@given(st.lists(CONTENTS, max_size=15))
def test_entities_are_apart_in_order_and_in_the_transcript(contents: list[str]) -> None:
    words = [Word(c, float(n), n + 0.5, 0.9, c in ",.?") for n, c in enumerate(contents)]
    entities = find_phi(words)
    for before, after in pairwise(entities):
        assert before.end_time < after.start_time
    for entity in entities:
        inside = [
            w for w in words if entity.start_time <= w.start_seconds and w.end_seconds <= entity.end_time
        ]
        assert " ".join(w.content for w in inside) == entity.content
        assert entity.content in join_words(words)
