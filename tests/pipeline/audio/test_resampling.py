"""The resampler: all the audio, at its time, each channel for itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.resampling import resample_whole, resampler
from pipeline.elements import AudioFormat
from tests.encoders import interleaved, samples_of, tone

RATES = st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000])


def resampled(pcm: bytes, audio: AudioFormat, target_hertz: int, piece_samples: int) -> bytes:
    """All that comes out when `pcm` goes in piece by piece."""
    stream, size = resampler(audio, target_hertz), piece_samples * audio.bytes_per_sample
    pieces = [stream.resample(pcm[start : start + size]) for start in range(0, len(pcm), size)]
    return b"".join(pieces) + stream.flush()


def envelope_edges(pcm: bytes, rate: int) -> list[float]:
    """Seconds at which bursts of sound begin and end."""
    loud = np.abs(samples_of(pcm)[:, 0].astype(float)) > 2500
    at = np.flatnonzero(loud) / rate
    breaks = np.flatnonzero(np.diff(at) > 0.02)
    starts, ends = np.concatenate([at[:1], at[breaks + 1]]), np.concatenate([at[breaks], at[-1:]])
    return [float(moment) for pair in zip(starts, ends, strict=True) for moment in pair]


@given(RATES, RATES, st.integers(0, 20_000), st.integers(1, 9000), st.sampled_from([1, 2]))
def test_as_much_audio_comes_out_as_went_in(
    source: int, target: int, samples: int, piece_samples: int, channels: int
) -> None:
    audio = AudioFormat(source, channels)
    out = resampled(bytes(samples * audio.bytes_per_sample), audio, target, piece_samples)
    assert len(out) % audio.bytes_per_sample == 0
    assert abs(audio.samples(len(out)) - samples * target / source) <= 1


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=12))
def test_where_the_audio_is_cut_changes_nothing(pieces: list[int]) -> None:
    pcm = tone(440, sum(pieces), 8000)
    stream, at, out = resampler(AudioFormat(8000), 16_000), 0, b""
    for samples in pieces:
        out += stream.resample(pcm[2 * at : 2 * (at + samples)])
        at += samples
    whole = samples_of(resampled(pcm, AudioFormat(8000), 16_000, sum(pieces)))
    assert np.abs(samples_of(out + stream.flush()).astype(int) - whole).max() <= 2  # libsoxr's dither


@pytest.mark.parametrize(("source", "target"), [(8000, 16_000), (48_000, 16_000), (44_100, 16_000)])
def test_sounds_keep_their_times(source: int, target: int) -> None:
    pcm, wanted = b"", []
    for burst in range(20):  # three seconds: a drift would show
        pcm += bytes(2 * (source // 10)) + tone(1000, source // 20, source, amplitude=12_000)
        wanted += [0.15 * burst + 0.1, 0.15 * burst + 0.15]
    found = envelope_edges(resampled(pcm, AudioFormat(source), target, source // 10), target)
    assert found == pytest.approx(wanted, abs=0.001)


def test_each_channel_stays_what_it_was() -> None:
    left, right = tone(440, 8000, 8000), tone(1000, 8000, 8000, amplitude=2000)
    out = samples_of(resampled(interleaved(left, right), AudioFormat(8000, 2), 16_000, 800), 2)
    for channel, wanted in enumerate((tone(440, 16_000, 16_000), tone(1000, 16_000, 16_000, amplitude=2000))):
        middle = slice(1000, 15_000)
        error = out[middle, channel].astype(float) - samples_of(wanted)[middle, 0]
        assert np.abs(error).max() < 20


def test_audio_that_has_the_rate_already_passes_as_it_is() -> None:
    audio, pcm = AudioFormat(16_000, 2), tone(440, 3200, 16_000)
    for target in (None, 16_000):
        stream = resampler(audio, target)
        assert (stream.resample(pcm), stream.flush(), stream.target) == (pcm, b"", audio)


def test_what_comes_out_has_the_other_rate_and_the_same_channels() -> None:
    assert resampler(AudioFormat(8000, 2), 16_000).target == AudioFormat(16_000, 2)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_without_audio_ends_without_audio(channels: int) -> None:
    assert resampler(AudioFormat(8000, channels), 16_000).flush() == b""


@given(RATES, RATES, st.integers(0, 9000), st.sampled_from([1, 2]))
def test_a_whole_piece_keeps_its_length(source: int, target: int, samples: int, channels: int) -> None:
    out = resample_whole(np.zeros((samples, channels), np.int16), source, target)
    assert out.shape[1] == channels
    assert abs(len(out) - samples * target / source) <= 0.5


def test_a_whole_piece_at_full_loudness_does_not_wrap_around() -> None:
    loudest = np.full((4410, 1), 32_767, np.int16)  # the filter overshoots at both ends
    assert (resample_whole(loudest, 44_100, 16_000)[20:-20] > 0).all()
