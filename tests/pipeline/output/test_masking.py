"""Masked finals: no word of an entity is left in any string, nothing else changes, doubt masks everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.output.entities import words_of
from pipeline.output.masking import WHOLE, Masked, mask, token_of
from pipeline.output.trimming import news_of
from tests.pipeline.final_records import a_final_record

Record = dict[str, Any]


def word(content: str, at: float, seconds: float = 0.4) -> Record:
    return _item(content, "pronunciation", at, at + seconds) | {"confidence": 0.9}


def mark(content: str, at: float) -> Record:
    return _item(content, "punctuation", at, at)


def _item(content: str, kind: str, start: float, end: float) -> Record:
    return {"content": content, "type": kind, "start_time": start, "end_time": end, "confidence": None}


def entity(content: str, start: float, end: float, category: str = "PHI") -> Record:
    times = {"start_time": start, "end_time": end}
    return {"category": category, "content": content, "confidence": 0.7, **times}


def text_of(items: Sequence[Record]) -> str:
    pieces = [item["content"] if item["type"] == "punctuation" else f" {item['content']}" for item in items]
    return "".join(pieces).strip()


def reading(items: Sequence[Record], *entities: Record) -> Record:
    return {"transcript": text_of(items), "items": list(items), "entities": list(entities)}


def final(*readings: Record, asked: str | None = "PHI") -> Record:
    record = a_final_record("visit-1", [("w", 0, 9)])
    return {**record, "alternatives": list(readings), "content_identification_type": asked}


SENTENCE = [
    *(word("On", 0.0), word("May", 0.5), word("5", 1.0), mark(",", 1.4), word("Doctor", 1.5)),
    *(word("Green", 2.0), word("gave", 2.5), word("5", 3.0), word("mg", 3.5), mark(".", 3.9)),
]
MAY_5, DOCTOR_GREEN = entity("May 5", 0.5, 1.4), entity("Doctor Green", 1.5, 2.4)


def test_each_word_of_an_entity_becomes_its_token_and_all_else_stays() -> None:
    whole = final(reading(SENTENCE, DOCTOR_GREEN))
    masked = mask(whole)
    assert (masked.words, masked.whole) == (True, False)
    [best] = masked.record["alternatives"]
    assert best["transcript"] == "On May 5, [PHI] [PHI] gave 5 mg."
    changed = {4: "[PHI]", 5: "[PHI]"}
    assert best["items"] == [
        {**item, "content": changed.get(n, item["content"])} for n, item in enumerate(SENTENCE)
    ]
    assert best["entities"] == [{**DOCTOR_GREEN, "content": "[PHI]"}]
    rest = {"phi_masked": True, "alternatives": [best]}
    assert masked.record == {**whole, **rest}


def test_a_word_of_an_entity_is_masked_wherever_the_segment_has_it() -> None:
    [best] = mask(final(reading(SENTENCE, MAY_5))).record["alternatives"]
    assert best["transcript"] == "On [PHI] [PHI], Doctor Green gave [PHI] mg."


@pytest.mark.parametrize(
    ("content", "again"),
    [("Green", "Green's"), ("Smith-Jones", "SMITH"), ("ﬁnn", "Finn"), ("O'Neil", "neil")],
)
def test_a_word_is_recognised_in_other_spellings(content: str, again: str) -> None:
    items = [word(content, 0.0), word("says", 0.5), word(again, 1.0)]
    [best] = mask(final(reading(items, entity(content, 0.0, 0.4)))).record["alternatives"]
    assert best["transcript"] == "[PHI] says [PHI]"


def test_marks_within_an_entity_stay() -> None:
    items = [word("May", 0.0), word("5", 0.5), mark(",", 0.9), word("2020", 1.0), mark(".", 1.4)]
    [best] = mask(final(reading(items, entity("May 5, 2020", 0.0, 1.4)))).record["alternatives"]
    assert best["transcript"] == "[PHI] [PHI], [PHI]."


def test_without_entities_only_the_best_reading_is_kept() -> None:
    whole = final(reading(SENTENCE), reading(SENTENCE[:4]))
    masked = mask(whole)
    assert (masked.words, masked.whole) == (False, False)
    assert masked.record == {**whole, "alternatives": whole["alternatives"][:1], "phi_masked": True}


def test_an_entity_of_another_reading_masks_what_the_best_one_heard_then() -> None:
    best = [word("call", 0.0), word("anne", 0.5), word("now", 1.0)]
    other = [word("call", 0.0), word("Ann", 0.45, 0.3), word("E", 0.75, 0.2), word("now", 1.0)]
    masked = mask(final(reading(best), reading(other, entity("Ann E", 0.45, 0.95))))
    assert [r["transcript"] for r in masked.record["alternatives"]] == ["call [PHI] now"]


def test_a_category_that_is_a_plain_name_is_the_token_and_another_is_not_repeated() -> None:
    assert token_of("PHI") == "[PHI]"
    assert token_of("NAME") == "[NAME]"
    for text in ("", "Doctor Green", "green", "A" * 40, "NAME\n"):
        assert token_of(text) == "[PHI]"


DOUBTS: dict[str, Record] = {
    "nobody asked": final(reading(SENTENCE, DOCTOR_GREEN), asked=None),
    "asked for something else": final(reading(SENTENCE), asked="PII"),
    "other times": final(reading(SENTENCE, entity("Doctor Green", 2.5, 3.4))),
    "times of one word less": final(reading(SENTENCE, entity("Doctor Green", 1.5, 1.9))),
    "no times": final(reading(SENTENCE, entity("Doctor Green", 0.0, 0.0))),
    "another text": final(reading(SENTENCE, entity("Doctor Grey", 1.5, 2.4))),
    "no text": final(reading(SENTENCE, entity("", 1.5, 2.4))),
    "one of two": final(reading(SENTENCE, DOCTOR_GREEN, entity("nobody", 8.0, 9.0))),
    "in another reading": final(reading(SENTENCE, MAY_5), reading(SENTENCE, entity("x", 0.0, 9.0))),
    "no items": final({"transcript": "Doctor Green", "items": [], "entities": [DOCTOR_GREEN]}),
    "a transcript with more words": final({**reading(SENTENCE, MAY_5), "transcript": "On May 5, Green and"}),
    "a transcript with words behind": final(
        {**reading(SENTENCE, MAY_5), "transcript": text_of(SENTENCE) + " May"}
    ),
    "words cut in two": final(
        reading([word("Green", 0.0), mark("Gre", 0.5), mark("en", 0.5)], entity("Green", 0.0, 0.4))
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_the_whole_segment_is_masked(doubt: str) -> None:
    masked = mask(DOUBTS[doubt])
    assert (masked.words, masked.whole) == (True, True)
    assert masked.record["alternatives"] == [{"transcript": WHOLE, "items": [], "entities": []}]
    assert masked.record["phi_masked"]


def test_a_record_of_an_older_step_is_masked_as_a_whole() -> None:
    record = a_final_record("visit-1", [("Green", 0, 1)])
    assert "content_identification_type" not in record
    assert mask(record).whole


def test_nothing_said_is_nothing_masked() -> None:
    assert mask(final()).record["alternatives"] == []
    assert not mask(final(asked=None)).words


def test_its_text_is_in_no_repr() -> None:
    assert "Green" not in repr(mask(final(reading(SENTENCE))))


# Whatever the service says

WORDS = st.sampled_from(["Ann", "ann", "ANN's", "Lee", "May", "5", "12-5", "o'Neil", "é", "drug", "x_y"])
MARKS = st.sampled_from([",", ".", "?", "-"])


@st.composite
def readings(draw: st.DrawFn) -> Record:
    """Words and marks in a row; entities are runs of words, some of them with wrong times or text."""
    contents = draw(st.lists(WORDS | MARKS, max_size=10))
    is_mark = [not words_of(content) for content in contents]
    items = [
        mark(content, float(n)) if silent else word(content, float(n), draw(st.sampled_from([0.0, 0.4, 1.0])))
        for n, (content, silent) in enumerate(zip(contents, is_mark, strict=True))
    ]
    found = []
    for _ in range(draw(st.integers(0, 3))):
        if not items:
            break
        first = draw(st.integers(0, len(items) - 1))
        run = items[first : draw(st.integers(first + 1, len(items)))]
        right = entity(text_of(run), run[0]["start_time"], run[-1]["end_time"])
        spoilt = draw(
            st.sampled_from([{}, {}, {}, {"content": "other"}, {"end_time": 0.0}, {"start_time": 1.2}])
        )
        found.append({**right, **spoilt})
    spoilt_text = draw(st.sampled_from(["", "", "", " Ann", " x"]))
    whole = reading(items, *found)
    return {**whole, "transcript": whole["transcript"] + spoilt_text}


def strings_of(value: object) -> Iterator[str]:
    """Every string of a record, at every depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_of(part)


FINALS = st.lists(readings(), min_size=1, max_size=3).map(lambda found: final(*found))


def assert_masked(whole: Record, masked: Masked) -> None:
    secret = {
        part
        for one in whole["alternatives"]
        for found in one["entities"]
        for part in words_of(found["content"])
    }
    left = {part for text in strings_of(masked.record["alternatives"]) for part in words_of(text)}
    assert not secret & left


@given(FINALS)
def test_no_word_of_an_entity_is_left_and_nothing_else_changes(whole: Record) -> None:
    masked = mask(whole)
    assert_masked(whole, masked)
    same = {
        name: value for name, value in masked.record.items() if name not in ("alternatives", "phi_masked")
    }
    assert same == {name: whole[name] for name in same}
    if masked.whole:
        return
    before, [after] = whole["alternatives"][0], masked.record["alternatives"]
    for was, became in zip(before["items"], after["items"], strict=True):
        assert became in (was, {**was, "content": "[PHI]"})
    for was, became in zip(before["entities"], after["entities"], strict=True):
        assert became == {**was, "content": "[PHI]"}
    if masked.words:
        assert after["transcript"] == text_of(after["items"])


@given(FINALS)
def test_it_is_masked_as_a_whole_only_for_a_reason(whole: Record) -> None:
    """Entities that are runs of words with times, and a transcript of the items: then word by word."""
    for one in whole["alternatives"]:
        for found in one["entities"]:
            inside = [
                item["content"]
                for item in one["items"]
                if found["start_time"] <= (item["start_time"] + item["end_time"]) / 2 <= found["end_time"]
            ]
            text = "".join(words_of("".join(words_of(" ".join(inside)))))
            if not text or text != "".join(words_of(found["content"])):
                return
    best = whole["alternatives"][0]
    if any(one["entities"] for one in whole["alternatives"]) and best["transcript"] != text_of(best["items"]):
        return
    joined = set(words_of(best["transcript"]))
    apart = {part for item in best["items"] for part in words_of(item["content"])}
    if joined <= apart:
        assert not mask(whole).whole


@given(readings(), st.integers(-1, 20).map(lambda half: half / 2))
def test_what_trimming_leaves_of_an_entity_is_masked(one: Record, published_until: float) -> None:
    """Each item that belonged to an entity whose place was certain before the cut is masked behind it."""
    one = {**one, "transcript": text_of(one["items"])}
    whole = final(one)
    before = mask(whole)
    news = news_of(whole, published_until)
    if news is None or before.whole:
        return
    secret = [
        item
        for item, shown in zip(one["items"], before.record["alternatives"][0]["items"], strict=True)
        if shown["content"] == "[PHI]"
        and any(
            found["start_time"] <= (item["start_time"] + item["end_time"]) / 2 <= found["end_time"]
            for found in one["entities"]
        )
    ]
    after = mask(news).record["alternatives"]
    left = [item for reading_ in after for item in reading_["items"]]
    assert not [item for item in left if item in secret]
    assert_masked(news, mask(news))
