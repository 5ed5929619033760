"""Skipping, trimming and numbering: however a session is transcribed again, each word is published once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.output.progress import Opening, Publication, SessionProgress, SessionStep, publish
from schemas.serde import SingleObjectSerde

OPENING = Opening("audio", "topic-id", 0, 100)
NOW_MS = 1_700_000_000_000


def word(number: int) -> dict[str, Any]:
    return {
        "content": f"w{number}",
        "type": "pronunciation",
        "start_time": float(number),
        "end_time": number + 0.9,
    }


def final(words: Sequence[int], channel: str | None = None, index: int = 0) -> dict[str, Any]:
    items = [word(number) for number in words]
    text = " ".join(item["content"] for item in items)
    return {
        "channel_id": channel,
        "segment_index": index,
        "start_time": float(words[0]),
        "end_time": words[-1] + 1.0,
        "started_at": None,
        "alternatives": [{"transcript": text, "items": items, "entities": []}],
    }


def step(*finals: dict[str, Any], opening: Opening = OPENING, covered: int = 0, **fields: Any) -> SessionStep:
    return SessionStep("s", opening, 100 + covered, covered, b"cursor %d" % covered, tuple(finals), **fields)


def words_of(publication: Publication) -> list[str]:
    return [item["content"] for f in publication.finals for item in f["alternatives"][0]["items"]]


def indexes(publication: Publication) -> list[int]:
    return [f["segment_index"] for f in publication.finals]


def test_a_session_s_finals_are_numbered_by_the_marker() -> None:
    first = publish(None, step(final([0, 1], index=7), covered=2), NOW_MS)
    assert (words_of(first), indexes(first)) == (["w0", "w1"], [0])
    second = publish(first.progress, step(final([2], index=0), final([3]), covered=4), NOW_MS)
    assert (words_of(second), indexes(second)) == (["w2", "w3"], [1, 2])
    assert second.progress is not None
    assert second.progress.channel_end_times == {"": 3.9}
    assert (second.progress.cursor, second.progress.resume_offset) == (b"cursor 4", 104)


def test_an_opening_is_marked_before_there_is_anything_to_publish() -> None:
    opened = publish(None, step(), NOW_MS)
    assert opened.finals == ()
    assert opened.progress is not None
    assert (opened.progress.cursor, opened.progress.next_segment_index) == (b"cursor 0", 0)


def test_a_final_that_comes_again_is_left_out_and_one_that_reaches_further_trimmed() -> None:
    before = publish(None, step(final([0, 1]), final([2, 3]), covered=4), NOW_MS).progress
    again = publish(before, step(final([0, 1, 2]), final([3, 4]), covered=5), NOW_MS)
    assert (words_of(again), indexes(again)) == (["w4"], [2])
    assert (again.skipped, again.trimmed) == (1, 1)


def test_the_cursor_of_a_restored_engine_replaces_none_that_is_ahead() -> None:
    before = publish(None, step(final([0, 1]), final([2, 3]), covered=4), NOW_MS).progress
    again = publish(before, step(final([0, 1]), covered=2), NOW_MS)
    assert (again.finals, again.progress) == ((), None), "nothing has changed"


def test_channels_have_ends_of_their_own() -> None:
    before = publish(None, step(final([0, 1, 2], "ch_0"), final([0], "ch_1")), NOW_MS).progress
    after = publish(before, step(final([1, 2], "ch_1"), final([2, 3], "ch_0")), NOW_MS)
    assert words_of(after) == ["w1", "w2", "w3"]


def test_the_end_is_published_once_with_the_number_of_segments_published() -> None:
    before = publish(None, step(final([0]), final([1])), NOW_MS).progress
    ended = publish(before, step(final([2]), ended={"segments": 99, "reason": "X"}), NOW_MS)
    assert ended.ended == {"segments": 3, "reason": "X"}
    assert ended.progress is not None
    assert ended.progress.ended_at_ms == NOW_MS
    again = publish(ended.progress, step(final([2, 3]), ended={"segments": 4}), NOW_MS)
    assert (again.finals, again.ended, again.progress) == ((), None, None), "behind the end there is nothing"


def test_a_later_life_has_a_timeline_of_its_own_and_goes_on_numbering() -> None:
    first = publish(None, step(final([0, 1]), ended={"segments": 1}), NOW_MS).progress
    later = replace(OPENING, offset=500)
    second = publish(first, step(final([0]), opening=later), NOW_MS)
    assert (words_of(second), indexes(second)) == (["w0"], [1])
    assert second.progress is not None
    assert second.progress.ended_at_ms is None
    stale = publish(second.progress, step(final([2, 3])), NOW_MS)
    assert (stale.finals, stale.progress, stale.skipped) == ((), None, 1), "its life is over"


def test_a_topic_created_anew_begins_other_lives_at_whatever_offset() -> None:
    before = publish(None, step(final([0]), opening=replace(OPENING, offset=9)), NOW_MS).progress
    anew = Opening("audio", "another-id", 0, 2)
    assert words_of(publish(before, step(final([0]), opening=anew), NOW_MS)) == ["w0"]


def test_marker_and_step_survive_their_codecs() -> None:
    one = step(final([0], "ch_1"), ended={"segments": 1}, passed={"traceparent": b"t"})
    assert SessionStep.from_tuple(one.as_tuple()) == one
    marker = publish(None, one, NOW_MS).progress
    assert marker is not None
    serde = SingleObjectSerde("session_progress")
    assert SessionProgress.from_record(serde.decode(serde.encode(marker.to_record()))) == marker


def test_nothing_of_a_step_or_marker_shows_in_its_repr() -> None:
    one = step(final([0]))
    assert "w0" not in repr(one) + repr(publish(None, one, NOW_MS).progress)
    assert "cursor" not in repr(one).replace("cursor=", "")


# Whatever happens


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[list[SessionStep]]]:
    """A session of some words, transcribed in several runs: each begins at or before what the one before it
    had published, cuts the words into segments of its own, and hands them over in steps of its own. The last
    run reaches the end.
    """
    words = draw(st.integers(1, 25))
    runs: list[list[SessionStep]] = []
    reached = 0
    for last in [False] * draw(st.integers(0, 5)) + [True]:
        start = draw(st.integers(0, reached))
        end = words if last else draw(st.integers(start, words))
        steps: list[SessionStep] = []
        while start < end:
            finals = []
            for _ in range(draw(st.integers(1, 3))):
                if start < end:
                    until = draw(st.integers(start + 1, min(end, start + 6)))
                    finals.append(final(range(start, until)))
                    start = until
            ended = {"segments": 0} if last and start == end else None
            steps.append(step(*finals, covered=start, ended=ended))
        if last and not steps:
            steps.append(step(covered=start, ended={"segments": 0}))
        runs.append(steps)
        reached = max(reached, end)
    return words, runs


@given(lives(), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_each_word_is_published_once_in_order_whatever_is_repeated(
    session: tuple[int, list[list[SessionStep]]], dice: Any
) -> None:
    words, runs = session
    marker: SessionProgress | None = None
    published: list[dict[str, Any]] = []
    ends = []
    for steps in runs:
        for one in steps:
            for _ in range(dice.choice([1, 1, 2])):  # a bundle may be repeated after its commit
                publication = publish(marker, one, NOW_MS)
                marker = publication.progress or marker
                published += [dict(f) for f in publication.finals]
                ends += [publication.ended] if publication.ended else []
    heard = [item["content"] for f in published for item in f["alternatives"][0]["items"]]
    assert heard == [f"w{number}" for number in range(words)]
    assert [f["segment_index"] for f in published] == list(range(len(published)))
    assert [end["segments"] for end in ends] == [len(published)]
    assert all(
        f["alternatives"][0]["transcript"].split()
        == [item["content"] for item in f["alternatives"][0]["items"]]
        for f in published
    )
