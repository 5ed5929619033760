"""The scripted recogniser: results follow the amount of audio and nothing else."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.errors import ScriptError
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment
from deploy.local.transcribe.recognisers.scripted import (
    Script,
    ScriptedRecogniser,
    built_in_book,
    load_script_book,
    scripted_factory,
    spread_words,
)

RATE = 8000


def listen(recogniser: ScriptedRecogniser, pieces: list[int]) -> list[Segment]:
    """Feed pieces of so many bytes and finish."""
    segments = [segment for size in pieces for segment in recogniser.accept(bytes(size))]
    return segments + list(recogniser.finish())


def built_in() -> ScriptedRecogniser:
    return scripted_factory(built_in_book())(RecognitionRequest(RATE))


@given(milliseconds=st.integers(min_value=10, max_value=60_000))
@settings(deadline=None)
def test_the_built_in_script_gives_a_final_for_any_audio(milliseconds: int) -> None:
    heard = milliseconds / 1000
    segments = listen(built_in(), [milliseconds * RATE // 1000 * 2])
    assert any(not segment.is_partial for segment in segments)
    assert all(segment.end_seconds <= heard + 1e-9 for segment in segments)
    assert all(word.start_seconds <= word.end_seconds for segment in segments for word in segment.words)


@given(
    total=st.integers(min_value=1, max_value=30 * RATE * 2),
    cuts=st.lists(st.integers(min_value=0, max_value=30 * RATE * 2), max_size=20),
)
@settings(deadline=None, max_examples=50)
def test_results_do_not_depend_on_how_the_audio_is_cut(total: int, cuts: list[int]) -> None:
    edges = sorted({0, total, *(cut for cut in cuts if cut < total)})
    pieces = [end - start for start, end in itertools.pairwise(edges)]
    assert listen(built_in(), pieces) == listen(built_in(), [total])


def test_each_segment_is_final_once_and_nothing_of_it_follows() -> None:
    done: set[int] = set()
    for segment in listen(built_in(), [1600] * 600):
        assert segment.index not in done
        if not segment.is_partial:
            done.add(segment.index)
    assert done == set(range(len(done)))
    assert len(done) >= 10


def test_partials_come_at_the_cadence_without_confidence_and_the_final_after_its_delay() -> None:
    script = Script((spread_words("one two three four.", 1.0, 3.0),), 0.5, 0.4)
    recogniser = ScriptedRecogniser(script, RATE)
    arrivals = []
    for step in range(40):
        for segment in recogniser.accept(bytes(RATE // 10 * 2)):
            arrivals.append(((step + 1) / 10, segment.is_partial, len(segment.words)))
    assert arrivals == [(1.5, True, 2), (2.0, True, 3), (2.5, True, 4), (3.0, True, 4), (3.4, False, 5)]


def test_partials_repeat_and_shrink_where_the_script_says_so() -> None:
    words = spread_words("one two three four five six seven eight.", 1.0, 5.0)
    script = Script((words,), 0.5, 0.4, repeat_partial_every=3, shrink_partial_every=4)
    *partials, final = listen(ScriptedRecogniser(script, RATE), [RATE * 20])
    assert [len(partial.words) for partial in partials] == [2, 3, 3, 2, 6, 6, 8, 7]
    assert len(final.words) == 9
    assert {segment.start_seconds for segment in (*partials, final)} == {1.0}
    assert partials[1].words[:2] == partials[2].words[:2]
    assert partials[1].words[2].end_seconds < partials[2].words[2].end_seconds, "times are revised"


def test_a_partial_that_shrinks_keeps_a_word() -> None:
    script = Script((spread_words("one", 0.0, 5.0),), shrink_partial_every=2)
    *partials, _ = listen(ScriptedRecogniser(script, RATE), [RATE * 20])
    assert len(partials) == 10
    assert all(len(partial.words) == 1 for partial in partials)


def test_partials_of_the_built_in_script_grow_repeat_and_shrink() -> None:
    counts: dict[int, list[int]] = {}
    for segment in listen(built_in(), [RATE * 2 * 12]):
        if segment.is_partial:
            counts.setdefault(segment.index, []).append(len(segment.words))
    assert len(counts) == 3
    for lengths in counts.values():
        steps = [after - before for before, after in itertools.pairwise(lengths)]
        assert min(steps) == -1
        assert 0 in steps
        assert max(steps) > 0


def test_the_final_has_confidence_on_words_and_none_on_punctuation() -> None:
    script = Script((spread_words("one two.", 0.0, 1.0),))
    final = listen(ScriptedRecogniser(script, RATE), [RATE * 4])[-1]
    assert [(word.content, word.confidence, word.is_punctuation) for word in final.words] == [
        ("one", 0.99, False),
        ("two", 0.99, False),
        (".", None, True),
    ]


def test_audio_that_ends_within_a_segment_gives_its_final_cut_to_the_audio() -> None:
    script = Script((spread_words("one two three four", 0.0, 4.0),))
    final = listen(ScriptedRecogniser(script, RATE), [int(1.5 * RATE) * 2])[-1]
    assert not final.is_partial
    assert [word.content for word in final.words] == ["one", "two"]
    assert final.end_seconds == 1.5


def test_a_script_without_repetition_is_heard_once() -> None:
    script = Script((spread_words("one", 0.0, 1.0),))
    segments = listen(ScriptedRecogniser(script, RATE), [RATE * 2 * 20])
    assert sum(not segment.is_partial for segment in segments) == 1


@pytest.fixture
def script_file(tmp_path: Path) -> Path:
    return tmp_path / "script.json"


def test_a_file_chooses_by_vocabulary_then_rate(script_file: Path) -> None:
    def script(text: str) -> dict[str, object]:
        return {"segments": [{"start_seconds": 0, "end_seconds": 1, "text": text}]}

    document = {
        **script("default"),
        "by_vocabulary_name": {"heart": script("vocabulary")},
        "by_sample_rate_hertz": {"8000": script("rate")},
    }
    script_file.write_text(json.dumps(document))
    factory = scripted_factory(load_script_book(script_file))

    def first_word(rate: int, vocabulary: str | None) -> str:
        return listen(factory(RecognitionRequest(rate, vocabulary)), [rate * 8])[-1].words[0].content

    assert first_word(16_000, None) == "default"
    assert first_word(8000, None) == "rate"
    assert first_word(8000, "heart") == "vocabulary"
    assert first_word(8000, "unknown") == "rate"


def test_words_may_be_given_one_by_one(script_file: Path) -> None:
    words = [
        {"content": "75", "start_seconds": 0.5, "end_seconds": 0.9, "confidence": 0.5},
        {"content": ".", "start_seconds": 0.9, "end_seconds": 0.9, "punctuation": True},
    ]
    script_file.write_text(json.dumps({"segments": [{"words": words}]}))
    word, stop = load_script_book(script_file).default.segments[0]
    assert (word.content, word.start_seconds, word.end_seconds, word.confidence) == ("75", 0.5, 0.9, 0.5)
    assert stop.is_punctuation


def test_a_script_says_who_speaks(script_file: Path) -> None:
    words = [
        {"content": "Yes", "start_seconds": 3, "end_seconds": 3.2, "speaker": "1"},
        {"content": "indeed", "start_seconds": 3.2, "end_seconds": 3.6},
    ]
    first = {"start_seconds": 0, "end_seconds": 2, "text": "Are you well?", "speaker": "0"}
    script_file.write_text(json.dumps({"segments": [first, {"words": words}], "repeat_every_seconds": 8}))
    recogniser = scripted_factory(load_script_book(script_file))(RecognitionRequest(RATE))
    finals = [segment for segment in listen(recogniser, [RATE * 2 * 16]) if not segment.is_partial]
    assert [[word.speaker for word in final.words] for final in finals] == [["0"] * 4, ["1", None]] * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "wrong type"),
        ("{}", "missing: segments"),
        ('{"segments": []}', "at least one"),
        ('{"segments": [{"text": "secret"}]}', "missing: start_seconds"),
        ('{"segments": [{"start_seconds": 2, "end_seconds": 1, "text": "secret words"}]}', r"segments\[0\]"),
        (
            '{"segments": [{"start_seconds": 0, "end_seconds": 1, "text": "a"},'
            '{"start_seconds": 1.2, "end_seconds": 2, "text": "b"}]}',
            r"segments\[1\]: starts before 1.5 s",
        ),
        (
            '{"repeat_partial_every": 1, "segments": [{"start_seconds": 0, "end_seconds": 1, "text": "a"}]}',
            "repeat_partial_every must be a whole number from 2 up",
        ),
        (
            '{"shrink_partial_every": 2.5, "segments": [{"start_seconds": 0, "end_seconds": 1, "text": ""}]}',
            "a segment begins with a word",
        ),
        (
            '{"shrink_partial_every": "4", "segments": [{"start_seconds": 0, "end_seconds": 1, "text":"a"}]}',
            "shrink_partial_every must be a whole number from 2 up",
        ),
        (
            '{"repeat_every_seconds": 1, "segments": [{"start_seconds": 0, "end_seconds": 1, "text": "a"}]}',
            "repeat_every_seconds must be at least 1.5",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_place_without_its_text(
    script_file: Path, text: str, reason: str
) -> None:
    script_file.write_text(text)
    with pytest.raises(ScriptError, match=reason) as caught:
        load_script_book(script_file)
    assert str(script_file) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_refused_by_name(script_file: Path) -> None:
    with pytest.raises(ScriptError, match="No such file"):
        load_script_book(script_file)
