"""Chunks and due times: exact on the samples, without drift, at any rate and speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.playback import UNPACED, catch_up_rate, chunk_bytes, chunk_samples, due_at, parse_speed
from pipeline.elements import AudioFormat

formats = st.builds(AudioFormat, st.integers(8000, 48_000), st.sampled_from((1, 2)))
speeds = st.floats(0.05, 100.0)


@given(formats)
def test_a_chunk_lasts_100_ms_to_the_sample(audio: AudioFormat) -> None:
    seconds = audio.seconds(chunk_samples(audio))
    assert seconds <= 0.1 < seconds + 1 / audio.sample_rate_hertz + 1e-12
    assert chunk_bytes(audio) == chunk_samples(audio) * audio.bytes_per_sample


@given(formats, speeds, st.integers(0, 200_000), st.floats(0, 1e6))
def test_a_chunk_is_due_when_the_audio_before_it_has_passed(
    audio: AudioFormat, speed: float, number: int, started_at: float
) -> None:
    elapsed = due_at(number, audio, speed, started_at) - started_at
    played = number * chunk_samples(audio) / audio.sample_rate_hertz
    assert elapsed * speed == pytest.approx(played, rel=1e-6, abs=1e-6)


@given(formats, speeds, st.integers(0, 200_000))
def test_due_times_only_grow(audio: AudioFormat, speed: float, number: int) -> None:
    assert due_at(number, audio, speed, 5.0) < due_at(number + 1, audio, speed, 5.0)


@given(formats, st.integers(0, 10_000))
def test_unpaced_chunks_are_due_at_once(audio: AudioFormat, number: int) -> None:
    assert due_at(number, audio, UNPACED, 7.0) == 7.0


@pytest.mark.parametrize(
    ("text", "speed"),
    [("1", 1.0), ("0.5", 0.5), ("20", 20.0), ("0", UNPACED), ("max", UNPACED), ("MAX", UNPACED)],
)
def test_a_speed_is_read(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["-1", "fast", "", "nan", "inf"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - float's own message is as good as ours
        parse_speed(text)


@given(st.floats(0.01, 1000))
def test_what_was_missed_is_sent_faster_than_it_grows(speed: float) -> None:
    assert catch_up_rate(speed) >= max(2.0, 2 * speed)


def test_an_unpaced_recording_is_caught_up_with_unpaced() -> None:
    assert catch_up_rate(UNPACED) == UNPACED
