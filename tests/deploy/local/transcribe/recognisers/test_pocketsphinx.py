"""Real recognition of the recorded synthetic dictations; PocketSphinx, so no test asks for every word."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL, Recording, load_recordings
from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.recognisers import Segment
from deploy.local.transcribe.recognisers.pocketsphinx import (
    MAX_SEGMENT_SECONDS,
    PocketSphinxRecogniser,
    load_decoder,
)
from deploy.local.transcribe.results import join_words


@pytest.fixture(scope="module")
def recordings() -> dict[str, Recording]:
    return {recording.name: recording for recording in load_recordings()}


def recognise(pcm: bytes, rate: int, piece_bytes: int = 3200) -> list[Segment]:
    recogniser = PocketSphinxRecogniser(load_decoder(LANGUAGE_MODEL, DICTIONARY), rate)
    segments: list[Segment] = []
    for start in range(0, len(pcm), piece_bytes):
        segments += recogniser.accept(pcm[start : start + piece_bytes])
    return segments + list(recogniser.finish())


def finals(segments: Sequence[Segment]) -> list[Segment]:
    return [segment for segment in segments if not segment.is_partial]


@pytest.fixture(scope="module")
def cardiology(recordings: dict[str, Recording]) -> list[Segment]:
    recording = recordings["cardiology-palpitations"]
    return recognise(recording.pcm, recording.sample_rate_hertz)


def test_a_dictation_is_recognised_sentence_by_sentence(cardiology: list[Segment]) -> None:
    texts = [join_words(segment.words) for segment in finals(cardiology)]
    assert len(texts) == 4
    assert "sinus rhythm with a heart rate of 75 bpm." in texts[0]


def test_finals_are_in_order_with_words_inside_and_confidences(cardiology: list[Segment]) -> None:
    ends = finals(cardiology)
    assert [segment.index for segment in ends] == list(range(len(ends)))
    assert all(before.end_seconds < after.start_seconds for before, after in pairwise(ends))
    for segment in ends:
        assert 0 <= segment.words[0].start_seconds - segment.start_seconds < 0.1
        assert segment.words[-1].end_seconds <= segment.end_seconds
        assert all(a.start_seconds <= a.end_seconds <= b.start_seconds for a, b in pairwise(segment.words))
        spoken = [word for word in segment.words if not word.is_punctuation]
        assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in spoken)


def test_partials_come_while_it_is_spoken_and_without_confidence(cardiology: list[Segment]) -> None:
    for final in finals(cardiology):
        partials = [s for s in cardiology if s.is_partial and s.index == final.index]
        assert len(partials) >= 3
        assert all(word.confidence is None for partial in partials for word in partial.words)
        assert all(partial.end_seconds <= final.end_seconds + 0.3 for partial in partials)


def test_a_segment_keeps_its_start_while_its_words_are_revised(cardiology: list[Segment]) -> None:
    for final in finals(cardiology):
        assert {s.start_seconds for s in cardiology if s.index == final.index} == {final.start_seconds}


def test_a_telephone_recording_of_8_kilohertz_is_recognised(recordings: dict[str, Recording]) -> None:
    recording = recordings["primary-care-telephone-visit"]
    assert recording.sample_rate_hertz == 8000
    text = " ".join(join_words(s.words) for s in finals(recognise(recording.pcm, 8000))).lower()
    assert "shortness of breath" in text
    assert "dry cough" in text


def test_pieces_cut_within_samples_give_the_same_words(recordings: dict[str, Recording]) -> None:
    recording = recordings["cardiology-palpitations"]
    pcm = recording.pcm[: 8 * 2 * recording.sample_rate_hertz]
    whole, cut = (recognise(pcm, recording.sample_rate_hertz, size) for size in (3200, 1111))
    assert [join_words(s.words) for s in finals(whole)] == [join_words(s.words) for s in finals(cut)]


def test_speech_that_never_pauses_is_cut(recordings: dict[str, Recording]) -> None:
    recording = recordings["cardiology-palpitations"]
    rate = recording.sample_rate_hertz
    sentence = recording.pcm[int(1.2 * rate) * 2 : int(6.6 * rate) * 2]
    ends = finals(recognise(sentence * 4, rate))
    assert len(ends) >= 2
    assert all(s.end_seconds - s.start_seconds <= MAX_SEGMENT_SECONDS + 0.5 for s in ends)
    assert all(before.end_seconds <= after.start_seconds + 0.05 for before, after in pairwise(ends))


@pytest.mark.parametrize("milliseconds", [0, 10, 45, 500])
def test_audio_that_ends_within_speech_is_finished(
    recordings: dict[str, Recording], milliseconds: int
) -> None:
    recording = recordings["cardiology-palpitations"]
    rate = recording.sample_rate_hertz
    pcm = recording.pcm[: (3 * rate + milliseconds * rate // 1000) * 2]
    (final,) = finals(recognise(pcm, rate))
    assert final.end_seconds <= 3.0 + milliseconds / 1000 + 0.01


def test_silence_and_no_audio_are_no_result() -> None:
    assert recognise(bytes(64_000), 16_000) == []
    assert recognise(b"", 16_000) == []


def test_nothing_that_was_heard_is_logged(
    recordings: dict[str, Recording], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    recording = recordings["cardiology-palpitations"]
    with caplog.at_level(logging.DEBUG):
        assert finals(recognise(recording.pcm[:320_000], recording.sample_rate_hertz))
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"--lm .*missing\.lm: there is no such file"):
        load_decoder(tmp_path / "missing.lm", None)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.lm"
    path.write_text("this is no language model\n")
    with pytest.raises(SpeechError, match=r"cannot read --lm .*no\.lm"):
        load_decoder(path, None)
