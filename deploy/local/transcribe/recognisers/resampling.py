"""Another sample rate for a recogniser whose model was trained with one only.

By linear interpolation: 8 kHz telephone audio was measured to be recognised far better after it than after a
windowed-sinc filter (with PocketSphinx).
"""

from __future__ import annotations

import math

import numpy as np


class LinearResampler:
    """Brings a stream of 16-bit mono PCM, cut anywhere, to another rate by linear interpolation."""

    def __init__(self, from_hertz: int, to_hertz: int) -> None:
        self._step = from_hertz / to_hertz  # input samples for each output sample
        self._pending = b""
        self._samples = np.empty(0, np.float64)
        self._position = 0.0  # of the next output sample, in `_samples`

    def resample(self, pcm: bytes) -> bytes:
        """Return the output that the input so far determines."""
        if self._step == 1.0:
            return pcm
        data = self._pending + pcm
        whole = len(data) // 2 * 2
        self._pending = data[whole:]
        self._samples = np.concatenate((self._samples, np.frombuffer(data[:whole], "<i2")))
        if len(self._samples) < 2:
            return b""
        count = math.floor((len(self._samples) - 1 - self._position) / self._step) + 1
        positions = self._position + self._step * np.arange(max(count, 0))
        output = np.interp(positions, np.arange(len(self._samples)), self._samples)
        self._position += self._step * len(positions)
        used = min(int(self._position), len(self._samples) - 1)
        self._samples = self._samples[used:]
        self._position -= used
        pcm_out: bytes = np.rint(output).astype("<i2").tobytes()
        return pcm_out
