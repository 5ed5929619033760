"""A recording as if it were live: how its audio is cut into chunks, and when each of them is due.

Times are counted from the start of playback and from the samples themselves, so a chunk that left late does
not push back those after it. Pure: the caller waits.
"""

from __future__ import annotations

import math

from pipeline.elements import AudioFormat

CHUNKS_PER_SECOND = 10  # the service recommends chunks of 50 to 200 ms
UNPACED = 0.0
"""The speed that means: as fast as the service takes it."""
_CATCH_UP_RATE = 2.0  # as in `medstream run`


def chunk_samples(audio: AudioFormat) -> int:
    """Samples (per channel) of each chunk but the last: 100 ms of audio, or the whole sample below it."""
    return audio.sample_rate_hertz // CHUNKS_PER_SECOND


def chunk_bytes(audio: AudioFormat) -> int:
    """Bytes of each chunk but the last."""
    return chunk_samples(audio) * audio.bytes_per_sample


def due_at(number: int, audio: AudioFormat, speed: float, started_at: float) -> float:
    """When chunk `number` (from 0) goes out, on the clock of `started_at`, in seconds.

    The first goes at once; each other one when, at `speed` times real time, the audio before it has passed.
    """
    if speed == UNPACED:
        return started_at
    return started_at + audio.seconds(number * chunk_samples(audio)) / speed


def parse_speed(text: str) -> float:
    """The speed in `text`: a number above 0, or UNPACED for `0` and `max`; raises ValueError."""
    if text.strip().lower() == "max":
        return UNPACED
    speed = float(text)
    if not 0 <= speed < math.inf:
        raise ValueError(f"{text!r} is no speed")
    return speed


def catch_up_rate(speed: float) -> float:
    """Fastest sending after an interruption, times real time; above `speed`, or what was missed stays so."""
    return UNPACED if speed == UNPACED else max(_CATCH_UP_RATE, 2 * speed)
