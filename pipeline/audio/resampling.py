"""Another sample rate, by libsoxr: a stream of audio piece by piece, or one whole piece.

A stream's filter looks ahead: what goes in comes out up to about 0.1 s of audio later, the rest with `flush`.
No time is moved, and all that came out is as long as all that went in, to the nearest sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.elements import AudioFormat

Samples = NDArray[np.int16]
"""PCM as an array of shape (samples, channels)."""

_PCM = np.dtype("<i2")
_QUALITY = "HQ"  # the lower ones of libsoxr cut speech above 2.7 kHz at a rate of 8 kHz
_LOUDEST = np.iinfo(np.int16)


class Resampler(Protocol):
    """Brings one stream of PCM s16le to the rate of `target`."""

    @property
    def target(self) -> AudioFormat:
        """What comes out."""

    def resample(self, pcm: bytes) -> bytes:
        """The audio that is ready once `pcm` (whole samples) is in; may be empty."""

    def flush(self) -> bytes:
        """The rest; nothing may come in after it."""


def resampler(source: AudioFormat, target_hertz: int | None) -> Resampler:
    """From `source` to `target_hertz`; to None, or to the rate it has, audio passes as it is."""
    if target_hertz is None or target_hertz == source.sample_rate_hertz:
        return _Unchanged(source)
    return _SoxrStream(source, target_hertz)


def resample_whole(samples: Samples, source_hertz: int, target_hertz: int) -> Samples:
    """One piece of audio that has no neighbours, as long as before to the nearest sample.

    Computed in floating point: libsoxr dithers integers at random, and the same chunk must always become the
    same PCM.
    """
    exact: NDArray[np.float32] = soxr.resample(
        samples.astype(np.float32), source_hertz, target_hertz, _QUALITY
    )
    return np.clip(np.rint(exact), _LOUDEST.min, _LOUDEST.max).astype(np.int16)


class _Unchanged:
    def __init__(self, audio: AudioFormat) -> None:
        self.target = audio

    def resample(self, pcm: bytes) -> bytes:
        return pcm

    def flush(self) -> bytes:
        return b""


class _SoxrStream:
    def __init__(self, source: AudioFormat, target_hertz: int) -> None:
        self.target = replace(source, sample_rate_hertz=target_hertz)
        self._stream = soxr.ResampleStream(
            source.sample_rate_hertz, target_hertz, source.channels, dtype="int16", quality=_QUALITY
        )

    def resample(self, pcm: bytes) -> bytes:
        return self._process(pcm, last=False)

    def flush(self) -> bytes:
        return self._process(b"", last=True)

    def _process(self, pcm: bytes, *, last: bool) -> bytes:
        samples = np.frombuffer(pcm, _PCM).reshape(-1, self.target.channels)
        ready: Samples = self._stream.resample_chunk(samples.astype(np.int16, copy=False), last)
        return ready.astype(_PCM, copy=False).tobytes()
