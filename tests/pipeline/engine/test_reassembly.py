"""Results put together: each final once, on the session's timeline, and each word once over two streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.model import MedicalEntity, MedicalItem, MedicalResult, parse_transcript_event
from pipeline.engine.reassembly import (
    MONO,
    Reassembler,
    channel_key,
    covered_seconds,
    cut_before,
    join_items,
    place,
)
from pipeline.engine.stream_clock import StreamClock
from tests.pipeline.builders import result, texts, word

VECTORS = Path(__file__).parents[2] / "vectors"


def vector(name: str) -> MedicalResult:
    (found,) = parse_transcript_event((VECTORS / name).read_bytes())
    return found


PARTIAL, FINAL = vector("partial-result.json"), vector("final-result.json")


# Amazon's own example


def test_the_documented_partial_and_final_pass_once_each() -> None:
    reassembler = Reassembler(StreamClock(0.0), {})
    assert reassembler.receive(PARTIAL) == PARTIAL
    assert reassembler.open_results == (PARTIAL,)
    assert reassembler.receive(FINAL) == FINAL
    assert reassembler.open_results == ()
    assert reassembler.receive(FINAL) is None
    assert reassembler.receive(PARTIAL) is None, "a partial behind its final says nothing new"


def test_the_documented_words_join_to_the_documented_transcript() -> None:
    for found in (PARTIAL, FINAL):
        assert join_items(found.alternatives[0].items) == found.alternatives[0].transcript


def test_the_documented_final_moves_whole_onto_the_session_s_timeline() -> None:
    moved = Reassembler(StreamClock(100.0), {}).receive(FINAL)
    assert moved is not None
    assert (moved.start_time, moved.end_time) == (101.04, 105.53)
    pairs = zip(moved.alternatives[0].items, FINAL.alternatives[0].items, strict=True)
    assert all(late.start_time == pytest.approx(early.start_time + 100) for late, early in pairs)
    assert moved.alternatives[0].transcript == FINAL.alternatives[0].transcript


def test_the_documented_final_cut_at_a_word_keeps_the_rest_and_its_punctuation() -> None:
    cut = cut_before(FINAL, 4.26)  # the end of "of"
    assert cut is not None
    assert cut.alternatives[0].transcript == "75 bpm."
    assert (cut.start_time, cut.end_time) == (4.26, 5.53)


def test_the_vectors_are_the_documents_as_published() -> None:
    document = json.loads((VECTORS / "final-result.json").read_text())
    assert document["Transcript"]["Results"][0] == FINAL.to_json_dict()


# Partials


def test_partials_repeat_shrink_and_grow_and_the_last_one_is_open() -> None:
    reassembler = Reassembler(StreamClock(0.0), {})
    long = result("r", word("a", 0.0, 0.5), word("b", 0.5, 1.0), partial=True)
    short = result("r", word("a", 0.0, 0.5), partial=True)
    assert [reassembler.receive(r) for r in (long, long, short)] == [long, long, short]
    assert reassembler.open_results == (short,)


def test_channels_have_a_segment_open_each() -> None:
    reassembler = Reassembler(StreamClock(0.0), {})
    left = result("l", word("a", 0.0, 0.5), partial=True, channel_id="ch_0")
    right = result("r", word("b", 0.1, 0.6), partial=True, channel_id="ch_1")
    for found in (left, right, left):
        assert reassembler.receive(found) == found
    assert set(reassembler.open_results) == {left, right}
    final = result("l", word("a", 0.0, 0.5), channel_id="ch_0")
    assert reassembler.receive(final) == final
    assert reassembler.open_results == (right,)


def test_a_final_on_one_channel_does_not_cut_the_other() -> None:
    reassembler = Reassembler(StreamClock(0.0), {})
    left = result("l", word("a", 0.0, 2.0), channel_id="ch_0")
    right = result("r", word("b", 0.5, 1.0), channel_id="ch_1")
    assert [reassembler.receive(r) for r in (left, right)] == [left, right]


def test_a_segment_that_was_emitted_before_is_dropped_on_its_channel_only() -> None:
    reassembler = Reassembler(StreamClock(10.0), {"ch_0": 12.0})
    said = result("l", word("a", 0.0, 1.9), channel_id="ch_0")
    unsaid = result("r", word("b", 0.0, 1.9), channel_id="ch_1")
    assert reassembler.receive(said) is None
    assert reassembler.receive(unsaid) == place(unsaid, StreamClock(10.0))


def test_a_repeated_final_is_known_for_long_but_not_for_ever() -> None:
    reassembler = Reassembler(StreamClock(0.0), {})
    finals = [result(f"r{n}", word(str(n), float(n), n + 0.9)) for n in range(2000)]
    assert all(reassembler.receive(final) == final for final in finals)
    assert all(reassembler.receive(final) is None for final in finals), "old ones are cut by their time"


def test_a_final_without_words_passes_at_its_time() -> None:
    empty = result("r", start=1.0, end=2.0)
    assert Reassembler(StreamClock(0.0), {}).receive(empty) == empty


def test_a_change_of_speaker_moves_with_its_words_and_adds_no_text() -> None:
    reassembler = Reassembler(StreamClock(10.0), {})
    final = result(
        "r", word("fatigue", 0.0, 0.5), word("", 0.8, 0.8, "speaker-change"), word("True", 0.8, 1.2)
    )
    placed = reassembler.receive(final)
    assert placed is not None
    items = placed.alternatives[0].items
    assert [(item.type, item.start_time) for item in items] == [
        ("pronunciation", 10.0),
        ("speaker-change", 10.8),
        ("pronunciation", 10.8),
    ]
    assert join_items(items) == "fatigue True"


@pytest.mark.parametrize("cut", [0.5, 0.7])
def test_a_final_cut_at_a_change_of_speaker_begins_with_a_word(cut: float) -> None:
    final = result(
        "r", word("fatigue", 0.0, 0.5), word("", 0.8, 0.8, "speaker-change"), word("True", 0.8, 1.2)
    )
    rest = cut_before(final, cut)
    assert rest is not None
    assert [item.content for item in rest.alternatives[0].items] == ["True"]
    assert rest.alternatives[0].transcript == "True"


def test_a_single_channel_has_an_empty_key() -> None:
    assert channel_key(result("r", word("a", 0, 1))) == MONO == ""
    assert channel_key(result("r", word("a", 0, 1), channel_id="ch_1")) == "ch_1"


# Cutting


def test_a_result_after_the_cut_is_left_as_it_is() -> None:
    found = result("r", word("a", 2.0, 2.5))
    assert cut_before(found, 2.0) is found
    assert cut_before(found, 2.005) is found, "the service rounds to hundredths"


def test_a_result_before_the_cut_is_gone() -> None:
    assert cut_before(result("r", word("a", 1.0, 2.0)), 2.0) is None
    assert cut_before(result("r", word("a", 1.0, 2.0)), 1.995) is None


def test_punctuation_left_without_its_word_goes_with_it() -> None:
    found = result("r", word("a", 1.0, 1.5), word(",", 1.5, 1.5, "punctuation"), word("b", 1.6, 2.0))
    cut = cut_before(found, 1.4)
    assert cut is not None
    assert cut.alternatives[0].transcript == "b"


def test_a_result_of_which_only_punctuation_is_left_is_gone() -> None:
    found = result("r", word("a", 1.0, 1.5), word(".", 1.6, 1.6, "punctuation"), end=2.0)
    assert cut_before(found, 1.55) is None


def test_entities_are_cut_with_their_words() -> None:
    base = result("r", word("a", 1.0, 1.5), word("b", 1.6, 2.0))
    early = MedicalEntity(start_time=1.0, end_time=1.5, category="PHI", content="a")
    late = MedicalEntity(start_time=1.6, end_time=2.0, category="PHI", content="b")
    alternative = type(base.alternatives[0])(
        base.alternatives[0].transcript, base.alternatives[0].items, (early, late)
    )
    found = MedicalResult("r", 1.0, 2.0, False, (alternative,))
    cut = cut_before(found, 1.5)
    assert cut is not None
    assert cut.alternatives[0].entities == (late,)


# Any speech, any segmentation, any place where the stream breaks


@st.composite
def speech(draw: Any, max_words: int = 16) -> list[MedicalItem]:
    """Words one after another, at times in hundredths of a second as the service gives them."""
    items, at = [], draw(st.integers(0, 100))
    for number in range(draw(st.integers(1, max_words))):
        lasts, pause = draw(st.integers(5, 80)), draw(st.integers(2, 150))
        items.append(word(f"w{number}", at / 100, (at + lasts) / 100))
        at += lasts + pause
    return items


def segmented(
    draw: Any, prefix: str, items: list[MedicalItem], channel_id: str | None = None
) -> list[MedicalResult]:
    """`items` as segments, each with repeating, growing and shrinking partials before its final."""
    found, start = [], 0
    while start < len(items):
        size = draw(st.integers(1, 5))
        words = items[start : start + size]
        for shown in draw(st.lists(st.integers(1, len(words)), max_size=3)):
            found.append(result(f"{prefix}{start}", *words[:shown], partial=True, channel_id=channel_id))
        found.append(result(f"{prefix}{start}", *words, channel_id=channel_id))
        start += size
    return found


@given(st.data())
def test_every_word_comes_once_when_the_tail_is_transcribed_again(data: st.DataObject) -> None:
    """The stream breaks after some finals; another one begins at the cut and makes other segments."""
    items = data.draw(speech())
    first = Reassembler(StreamClock(0.0), {})
    finals, cut = [], 0.0
    results = segmented(data.draw, "first", items)
    for found in results[: data.draw(st.integers(0, len(results)))]:
        placed = first.receive(found)
        if placed is not None and not placed.is_partial:
            finals.append(placed)
            cut = placed.end_time
    again = data.draw(st.integers(0, round(cut * 100))) / 100  # audio is sent again from here
    left = [i for i in items if i.start_time >= again]
    second = Reassembler(StreamClock(again), {MONO: cut})
    stream_time = [word(i.content, i.start_time - again, i.end_time - again) for i in left]
    for found in segmented(data.draw, "second", stream_time):
        placed = second.receive(found)
        if placed is not None and not placed.is_partial:
            finals.append(placed)
    assert texts(finals) == [i.content for i in items]
    spoken = [i for f in finals for i in f.alternatives[0].items]
    for heard, said in zip(spoken, items, strict=True):
        assert heard.start_time == pytest.approx(said.start_time, abs=0.001)
        assert heard.end_time == pytest.approx(said.end_time, abs=0.001)


@given(st.data())
def test_interleaved_channels_come_through_each_in_order_and_once(data: st.DataObject) -> None:
    spoken = {channel: data.draw(speech(8)) for channel in ("ch_0", "ch_1")}
    queues = {c: segmented(data.draw, c, items, c) for c, items in spoken.items()}
    reassembler, finals = Reassembler(StreamClock(0.0), {}), []
    while any(queues.values()):
        channel = data.draw(st.sampled_from([c for c, waiting in queues.items() if waiting]))
        found = queues[channel].pop(0)
        placed = reassembler.receive(found)
        assert placed == found
        assert reassembler.receive(found) == (placed if found.is_partial else None)
        if not found.is_partial:
            finals.append(found)
    assert reassembler.open_results == ()
    for channel, items in spoken.items():
        assert texts(f for f in finals if f.channel_id == channel) == [i.content for i in items]


@given(speech(), st.floats(0, 40))
def test_cutting_twice_is_cutting_once(items: list[MedicalItem], cut: float) -> None:
    once = cut_before(result("r", *items), cut)
    assert once is None or cut_before(once, cut) == once


@given(speech(), st.integers(0, 4000))
def test_a_cut_parts_the_words_between_before_and_after(items: list[MedicalItem], hundredths: int) -> None:
    cut = hundredths / 100
    kept = texts([cut_before(result("r", *items), cut)])
    assert kept == [i.content for i in items[len(items) - len(kept) :]], "a cut leaves a tail"
    dropped = items[: len(items) - len(kept)]
    assert all((i.start_time + i.end_time) / 2 <= cut + 0.01 for i in dropped)


# What need not be heard again


def test_one_channel_is_covered_to_the_end_of_its_last_final() -> None:
    assert covered_seconds(1, {}, {}) == 0.0
    assert covered_seconds(1, {MONO: 7.5}, {}) == 7.5


def test_two_channels_are_covered_to_the_one_that_lags() -> None:
    assert covered_seconds(2, {"ch_0": 10.0, "ch_1": 9.0}, {}) == 9.0


def test_a_silent_channel_holds_the_position_back_by_two_seconds_only() -> None:
    assert covered_seconds(2, {"ch_0": 10.0}, {}) == 8.0
    assert covered_seconds(2, {"ch_0": 1.0}, {}) == 0.0


def test_an_open_segment_holds_the_position_at_its_start() -> None:
    assert covered_seconds(2, {"ch_0": 10.0}, {"ch_1": 4.0}) == 4.0


def test_what_a_lost_stream_heard_of_one_channel_says_nothing_of_the_other_on_the_next() -> None:
    ends = {"ch_0": 1.3, "ch_1": 3.5}
    assert covered_seconds(2, ends, {}) == 1.5
    assert covered_seconds(2, ends, {}, heard_seconds=1.3) == 1.3


def test_a_stream_has_heard_as_far_as_its_finals_reach_on_any_channel() -> None:
    reassembler = Reassembler(StreamClock(1.0), {"ch_0": 9.0})
    assert reassembler.heard_seconds == 0.0
    reassembler.receive(result("r1", word("a", 0.0, 0.5), channel_id="ch_1"))
    reassembler.receive(result("r2", word("b", 1.0, 2.0), channel_id="ch_0"))
    assert reassembler.heard_seconds == 3.0, "also by words that were emitted before"


def test_a_segment_is_open_although_all_it_shows_was_emitted_before() -> None:
    reassembler = Reassembler(StreamClock(), {"ch_1": 3.0})
    said = reassembler.receive(result("r1", word("a", 2.0, 2.9), partial=True, channel_id="ch_1"))
    assert (said, reassembler.open_results) == (None, ())
    assert reassembler.open_starts == {"ch_1": 3.0}
    reassembler.receive(result("r1", word("a", 2.0, 2.9), word("b", 3.1, 3.5), channel_id="ch_1"))
    assert reassembler.open_starts == {}
