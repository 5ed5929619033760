"""Marked audio: what is written is read, and whatever happens to the audio shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.recognisers.markers import (
    DAMAGED,
    MAX_TEXT_BYTES,
    MarkersRecogniser,
    encode_markers,
    marked_words,
)

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=3)
RATES = st.sampled_from([8000, 11_000, 16_000, 44_100, 48_000])
SPEECH = [["the", "first", "sentence"], ["and", "the", "second"]]
RATE = 8000


def recognise(pcm: bytes, rate: int = RATE, cuts: Sequence[int] = ()) -> list[Segment]:
    recogniser = MarkersRecogniser(rate)
    edges = [0, *sorted(cut % (len(pcm) + 1) for cut in cuts), len(pcm)]
    segments: list[Segment] = []
    for start, end in itertools.pairwise(edges):
        segments += recogniser.accept(pcm[start:end])
    return segments + list(recogniser.finish())


def finals(segments: Sequence[Segment]) -> list[list[tuple[str, float, float]]]:
    return [
        [(word.content, word.start_seconds, word.end_seconds) for word in segment.words]
        for segment in segments
        if not segment.is_partial
    ]


def expected(timeline: Sequence[Sequence[Word]]) -> list[list[tuple[str, float, float]]]:
    return [[(word.content, word.start_seconds, word.end_seconds) for word in words] for words in timeline]


@given(sentences=SENTENCES, rate=RATES, cuts=st.lists(st.integers(min_value=0), max_size=20))
@settings(max_examples=60, deadline=None)
def test_reads_every_word_with_its_exact_times_however_the_audio_is_cut(
    sentences: list[list[str]], rate: int, cuts: list[int]
) -> None:
    pcm = encode_markers(sentences, rate, word_seconds=0.05)
    found = finals(recognise(pcm, rate, cuts))
    assert found == expected(marked_words(sentences, word_seconds=0.05))


def test_one_byte_at_a_time() -> None:
    pcm = encode_markers(SPEECH, RATE, word_seconds=0.05)
    assert finals(recognise(pcm, cuts=range(len(pcm)))) == expected(marked_words(SPEECH, word_seconds=0.05))


SPOKEN_START, SPOKEN_END = 0.2, 0.2 + 3 * 0.3 + 0.7 + 3 * 0.3
SAMPLES = st.integers(min_value=int(SPOKEN_START * RATE), max_value=int(SPOKEN_END * RATE))


@given(first=SAMPLES, second=SAMPLES)
@settings(deadline=None)
def test_lost_audio_always_shows(first: int, second: int) -> None:
    start, end = sorted((first, second))
    assume(start < end)
    pcm = encode_markers(SPEECH, RATE)
    assume(end < int(SPOKEN_END * RATE) or any(pcm[2 * start : 2 * end]))
    assert finals(recognise(pcm[: 2 * start] + pcm[2 * end :])) != expected(marked_words(SPEECH))


@given(first=SAMPLES, second=SAMPLES)
@settings(deadline=None)
def test_doubled_audio_always_shows(first: int, second: int) -> None:
    start, end = sorted((first, second))
    assume(start < end)
    pcm = encode_markers(SPEECH, RATE)
    assume(end < int(SPOKEN_END * RATE) or any(pcm[2 * start : 2 * end]))
    assert finals(recognise(pcm[: 2 * end] + pcm[2 * start :])) != expected(marked_words(SPEECH))


@given(at=SAMPLES, value=st.integers(min_value=-32768, max_value=32767))
@settings(deadline=None)
def test_one_changed_sample_in_a_word_shows(at: int, value: int) -> None:
    pcm = encode_markers(SPEECH, RATE)
    changed = pcm[: 2 * at] + value.to_bytes(2, "little", signed=True) + pcm[2 * at + 2 :]
    was_spoken = any(pcm[2 * at : 2 * at + 2])
    assume(changed != pcm and was_spoken)
    assert finals(recognise(changed)) != expected(marked_words(SPEECH))


@given(offset=SAMPLES)
@settings(deadline=None)
def test_a_stream_may_begin_at_any_sample(offset: int) -> None:
    """Words that begin after the offset are whole; of the one that was cut nothing passes for whole."""
    pcm = encode_markers(SPEECH, RATE)
    heard = [word for sentence in finals(recognise(pcm[2 * offset :])) for word in sentence]
    whole = [word for word in heard if not word[0].endswith(DAMAGED)]
    shift = offset / RATE
    spoken = [word for sentence in expected(marked_words(SPEECH)) for word in sentence]
    late = [(content, start - shift, end - shift) for content, start, end in spoken if start >= shift]
    assert [word[0] for word in whole] == [word[0] for word in late]
    assert all(
        abs(got[1] - want[1]) < 1e-5 and abs(got[2] - want[2]) < 1e-5
        for got, want in zip(whole, late, strict=True)
    )
    assert len(heard) - len(whole) <= 1


@given(noise=st.binary(max_size=4000))
@settings(deadline=None)
def test_sound_without_markers_is_no_word(noise: bytes) -> None:
    assert recognise(noise) == []


def test_partials_grow_and_share_the_segment_with_the_final() -> None:
    segments = recognise(encode_markers([["a", "b"]], RATE))
    assert [(s.index, s.is_partial, len(s.words)) for s in segments] == [
        (0, True, 1),
        (0, True, 2),
        (0, False, 2),
    ]
    assert [word.confidence for word in segments[1].words] == [None, None]
    assert [word.confidence for word in segments[2].words] == [1.0, 1.0]


def test_the_final_comes_with_the_pause_and_not_before() -> None:
    recogniser = MarkersRecogniser(RATE, pause_seconds=0.3)
    pcm = encode_markers([["word"]], RATE, lead_seconds=0.0, pause_seconds=0.7)
    word_bytes, pause_bytes = int(0.3 * RATE) * 2, int(0.3 * RATE) * 2
    assert [s.is_partial for s in recogniser.accept(pcm[: word_bytes + pause_bytes - 2])] == [True]
    assert [s.is_partial for s in recogniser.accept(pcm[word_bytes + pause_bytes - 2 :])] == [False]


def test_words_that_cannot_be_coded_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 48 bytes"):
        encode_markers([["x" * (MAX_TEXT_BYTES + 1)]], RATE)
    with pytest.raises(ValueError, match="1 to 48 bytes"):
        encode_markers([[""]], RATE)
    with pytest.raises(ValueError, match="multiple of 100"):
        encode_markers([["x"]], 11_025)
    with pytest.raises(ValueError, match=r"multiples of 0\.01 s"):
        encode_markers([["x"]], RATE, word_seconds=0.305)


def test_words_are_hidden_from_repr() -> None:
    assert "secret" not in repr(recognise(encode_markers([["secret"]], RATE)))


def test_segments_can_end_anywhere_and_hold_the_same_words() -> None:
    pcm = encode_markers(SPEECH, RATE)
    lengths = iter([2, 1, 3, 9])
    recogniser = MarkersRecogniser(RATE, choose_length=lambda: next(lengths))
    finals = [s for s in (*recogniser.accept(pcm), *recogniser.finish()) if not s.is_partial]
    found = [[word.content for word in final.words] for final in finals]
    assert found == [["the", "first"], ["sentence"], ["and", "the", "second"]]
    assert [final.index for final in finals] == [0, 1, 2]
