"""What of a final is news: by words, by channel of time only, texts put together anew. Synthetic records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.output.trimming import end_of_words, news_of


def word(content: str, start: float, end: float) -> dict[str, Any]:
    return {"content": content, "type": "pronunciation", "start_time": start, "end_time": end}


def mark(content: str, at: float) -> dict[str, Any]:
    return {"content": content, "type": "punctuation", "start_time": at, "end_time": at}


def final(*items: dict[str, Any], text: str = "as the service wrote it", **fields: Any) -> dict[str, Any]:
    times = [item["start_time"] for item in items] + [item["end_time"] for item in items] or [0.0, 0.0]
    alternative = {"transcript": text, "items": list(items), "entities": fields.pop("entities", [])}
    return {
        "start_time": min(times),
        "end_time": max(times) + 0.1,
        "started_at": None,
        "alternatives": [alternative],
        **fields,
    }


A, B, C = word("Aspirin", 1.0, 1.4), word("and", 1.4, 1.6), word("metformin", 1.6, 2.2)
COMMA, STOP = mark(",", 1.4), mark(".", 2.2)


def test_what_is_all_news_stays_as_it_is() -> None:
    whole = final(A, B, C, STOP)
    assert news_of(whole, 0.9) == whole
    assert news_of(whole, 1.0) == whole, "the word begins where the one before ended"


def test_what_was_published_is_no_news() -> None:
    whole = final(A, B, C, STOP)
    assert news_of(whole, 2.2) is None
    assert news_of(whole, 2.0) is None, "the middle of the last word decides"
    assert news_of(whole, 10.0) is None


def test_the_words_behind_are_news_with_their_own_text_and_start() -> None:
    news = news_of(final(A, COMMA, B, C, STOP, started_at=5_000_000), 1.41)
    assert news is not None
    assert [item["content"] for item in news["alternatives"][0]["items"]] == ["and", "metformin", "."]
    assert news["alternatives"][0]["transcript"] == "and metformin."
    assert (news["start_time"], news["end_time"]) == (1.4, pytest.approx(2.3))
    assert news["started_at"] == 5_400_000


def test_a_word_heard_again_a_little_later_is_the_same_word() -> None:
    moved = final(word("Aspirin", 1.03, 1.45), word("and", 1.45, 1.62))
    news = news_of(moved, 1.4)
    assert news is not None
    assert [item["content"] for item in news["alternatives"][0]["items"]] == ["and"]


def test_entities_go_with_their_words() -> None:
    entities = [
        {"content": "Aspirin", "start_time": 1.0, "end_time": 1.4},
        {"content": "metformin", "start_time": 1.6, "end_time": 2.2},
    ]
    news = news_of(final(A, B, C, entities=entities), 1.4)
    assert news is not None
    assert [entity["content"] for entity in news["alternatives"][0]["entities"]] == ["metformin"]


SPOKEN = [
    word("Doctor", 1.0, 1.4),
    word("Ann", 1.4, 1.6),
    COMMA,
    word("Green", 1.6, 2.2),
    word("said", 2.2, 2.6),
]


@pytest.mark.parametrize(
    ("until", "left"),
    [
        (0.9, [("Doctor Ann, Green", 1.0, 2.2)]),
        (1.4, [("Ann Green", 1.4, 2.2)]),
        (1.6, [("Green", 1.6, 2.2)]),
        (2.2, []),
    ],
)
def test_of_an_entity_the_words_behind_are_left(until: float, left: list[tuple[str, float, float]]) -> None:
    entity = {"content": "Doctor Ann, Green", "start_time": 1.0, "end_time": 2.2}
    news = news_of(final(*SPOKEN, entities=[entity]), until)
    assert news is not None
    found = [(e["content"], e["start_time"], e["end_time"]) for e in news["alternatives"][0]["entities"]]
    assert found == left


def test_an_entity_that_is_not_in_the_words_stays_whatever_its_times() -> None:
    entity = {"content": "nobody", "start_time": 1.0, "end_time": 1.2}
    news = news_of(final(*SPOKEN, entities=[entity]), 2.2)
    assert news is not None
    assert news["alternatives"][0]["entities"] == [entity]


def test_every_alternative_is_cut_and_an_empty_one_left_out() -> None:
    whole = final(A, B, C)
    other = {"transcript": "aspirin or", "items": [word("aspirin", 1.0, 1.4)], "entities": []}
    third = {"transcript": "x y", "items": [word("x", 1.0, 1.4), word("y", 1.5, 2.2)], "entities": []}
    news = news_of({**whole, "alternatives": [*whole["alternatives"], other, third]}, 1.4)
    assert news is not None
    assert [alternative["transcript"] for alternative in news["alternatives"]] == ["and metformin", "y"]


@pytest.mark.parametrize("items", [(), (mark(".", 1.0),), (word("untimed", 0.0, 0.0),)])
def test_a_final_without_timed_words_counts_as_a_whole(items: tuple[dict[str, Any], ...]) -> None:
    bare = final(*items, start_time=1.0, end_time=2.0)
    assert news_of(bare, 1.4) == bare
    assert news_of(bare, 1.6) is None
    assert end_of_words(bare) == 2.0


def test_the_end_is_that_of_the_last_word_not_of_the_pause_behind_it() -> None:
    assert end_of_words(final(A, B, STOP)) == 1.6


TIMES = st.floats(0, 100, allow_nan=False, width=32)


@given(st.integers(1, 12), st.integers(-1, 12))
def test_cutting_keeps_exactly_the_words_behind(count: int, published: int) -> None:
    words = [word(f"w{n}", float(n), n + 0.9) for n in range(count)]
    news = news_of(final(*words), published + 0.9)
    kept = [item["content"] for item in news["alternatives"][0]["items"]] if news else []
    assert kept == [f"w{n}" for n in range(max(0, published + 1), count)]


@given(st.lists(st.tuples(TIMES, TIMES), max_size=6), TIMES)
def test_whatever_the_times_cutting_is_stable(times: list[tuple[float, float]], until: float) -> None:
    items = [word(str(n), min(pair), max(pair)) for n, pair in enumerate(times)]
    news = news_of(final(*items), until)
    if news is not None:
        assert news_of(news, until) == news
