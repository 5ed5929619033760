"""The service's ears: words from samples, whatever pieces they come in, and what was done to them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.simulation.recogniser import PAUSE_SAMPLES, ChannelEar, Manner, Recogniser, Segment, Word
from tests.simulation.speech import SpeechStyle, interleave, speak, split, word_name, word_samples

SILENCE = bytes(2 * PAUSE_SAMPLES)
QUIET = Manner(partial_share=0.0, empty_share=0.0)


def said(number: int, samples: int | None = None) -> bytes:
    return bytes((number,)) * (2 * (word_samples(number) if samples is None else samples))


def silence(samples: int) -> bytes:
    return bytes(2 * samples)


def hear(*pieces: bytes, max_words: int | None = None) -> list[Segment]:
    ear = ChannelEar(max_words)
    return [segment for piece in pieces for segment in ear.feed(piece)] + list(ear.finish())


def names(segments: list[Segment]) -> list[list[str]]:
    return [[word.name for word in segment.words] for segment in segments]


def recogniser(channels: int = 1, manner: Manner = QUIET) -> Recogniser:
    return Recogniser("stream", channels, manner, random.Random(1))  # noqa: S311


def test_words_are_heard_where_they_are() -> None:
    start = 100
    middle = start + word_samples(7) + 50
    (segment,) = hear(silence(start) + said(7) + silence(50) + said(8) + SILENCE)
    assert segment.words == (
        Word("w7", start, start + word_samples(7)),
        Word("w8", middle, middle + word_samples(8)),
    )
    assert segment.end == middle + word_samples(8)


@pytest.mark.parametrize("size", [2, 26, 150, 1000])
def test_pieces_make_no_difference(size: int) -> None:
    pcm = silence(30) + said(3) + silence(60) + said(4) + SILENCE + said(5) + silence(10)
    assert hear(*(pcm[at : at + size] for at in range(0, len(pcm), size))) == hear(pcm)


def test_a_pause_ends_a_segment_and_the_end_of_audio_too() -> None:
    assert names(hear(said(1) + silence(100) + said(2) + SILENCE + said(3))) == [["w1", "w2"], ["w3"]]
    assert hear(SILENCE) == []


def test_a_segment_may_end_without_a_pause() -> None:
    pcm = b"".join(said(number) + silence(20) for number in range(1, 6))
    assert names(hear(pcm, max_words=2)) == [["w1", "w2"], ["w3", "w4"], ["w5"]]


def test_whatever_was_done_to_a_word_is_heard() -> None:
    full = word_samples(9)
    assert names(hear(said(9) + said(9))) == [[f"w9~{2 * full}"]], "doubled"
    assert names(hear(said(9, 60))) == [["w9~60"]], "cut"
    assert names(hear(said(9, 60) + silence(80) + said(9, full - 140))) == [["w9~60", f"w9~{full - 140}"]]
    assert names(hear(said(9, 60) + said(11))) == [["w9~60", "w11"]], "joined with another"
    assert hear(said(9, 5)) == [], "too short for ears"


def test_names_say_what_length_is_right() -> None:
    assert word_name(7, word_samples(7)) == "w7"
    assert word_name(7, 1) == "w7~1"


def test_channels_are_told_apart() -> None:
    left, right = said(2) + SILENCE, said(3) + SILENCE + silence(40)
    mixed = interleave([left, right])
    assert split(mixed, 2) == [left.ljust(len(mixed) // 2, b"\0"), right.ljust(len(mixed) // 2, b"\0")]
    finals = [result for event in recogniser(2).feed(mixed) for result in event]
    assert [(final.channel_id, final.alternatives[0].transcript) for final in finals] == [
        ("ch_0", "w2"),
        ("ch_1", "w3"),
    ]


def test_a_final_closes_its_result_and_the_next_segment_has_another() -> None:
    ear = recogniser()
    first, second = ear.feed(said(1) + SILENCE + said(2) + SILENCE)
    assert (first[0].is_partial, second[0].is_partial) == (False, False)
    assert first[0].result_id != second[0].result_id
    assert ear.finish() == []


def test_partials_shrink_and_keep_their_result() -> None:
    ear = recogniser(manner=Manner(partial_share=1.0, empty_share=0.0))
    shown = []
    for number in range(1, 9):
        shown += [result for event in ear.feed(said(number) + silence(20)) for result in event]
    assert all(result.is_partial for result in shown)
    assert len({result.result_id for result in shown}) == 1
    lengths = [len(result.alternatives[0].items) for result in shown]
    assert any(later < earlier for earlier, later in pairwise(lengths))


def test_a_long_segment_is_shown_before_another_channel_s_final() -> None:
    long = b"".join(said(number) + silence(20) for number in (3, 5, 7, 9, 11, 13, 15, 17))
    short = silence(900) + said(4) + SILENCE
    mixed, ear = interleave([short, long]), recogniser(2)
    pieces = [mixed[at : at + 400] for at in range(0, len(mixed), 400)]
    results = [result for piece in pieces for event in ear.feed(piece) for result in event]
    assert [(result.channel_id, result.is_partial) for result in results] == [("ch_1", True), ("ch_0", False)]
    assert results[0].start_time == 0.0


def test_speech_can_be_heard_to_the_last_word() -> None:
    for channels in (1, 2):
        pcm = speak(random.Random(channels), channels, SpeechStyle())  # noqa: S311
        for mono in split(pcm, channels):
            words = [word for segment in hear(mono) for word in segment.words]
            assert words
            assert not any("~" in word.name for word in words)
