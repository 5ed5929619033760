"""Another sample rate, by linear interpolation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers.resampling import LinearResampler


@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=2, max_size=200),
    cuts=st.lists(st.integers(min_value=0), max_size=8),
    rate=st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000]),
)
@settings(deadline=None)
def test_resampling_does_not_depend_on_the_cuts(samples: list[int], cuts: list[int], rate: int) -> None:
    pcm = np.array(samples, "<i2").tobytes()
    whole = LinearResampler(rate, 16_000).resample(pcm)
    resampler = LinearResampler(rate, 16_000)
    edges = sorted({0, len(pcm), *(cut % len(pcm) for cut in cuts)})
    pieces = b"".join(resampler.resample(pcm[start:end]) for start, end in pairwise(edges))
    expected, got = np.frombuffer(whole, "<i2"), np.frombuffer(pieces, "<i2")
    assert abs(len(expected) - len(got)) <= 1  # rounding of a position that falls on the last sample
    length = min(len(expected), len(got))
    assert np.all(np.abs(expected[:length].astype(int) - got[:length]) <= 1)


def test_doubling_interpolates_between_samples() -> None:
    pcm = np.array([0, 100, -100], "<i2").tobytes()
    output = np.frombuffer(LinearResampler(8000, 16_000).resample(pcm), "<i2")
    assert output.tolist() == [0, 50, 100, 0, -100]
