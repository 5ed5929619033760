"""Synthetic speech in which every word can be recognised, and whatever was done to it.

One sample lasts a millisecond, so that many runs are cheap and times are exact. Word number n (1 to 255) is a
run of samples whose two bytes are both n, of a length of its own; silence is zero. A word that was cut,
doubled or mixed with another is a run of another length, and its name says so. The channels of a session
never use the same numbers, so that exchanged channels are noticed too.
"""

from __future__ import annotations

import array
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

RATE_HERTZ = 1000
SILENCE = 0
LONGEST_WORD_SAMPLES = 260

Run = tuple[int, int]  # number of the word (or SILENCE), samples


def word_samples(number: int) -> int:
    """How long word `number` is when nothing happened to it."""
    return 100 + 40 * (number * 37 % 5)


def word_name(number: int, samples: int) -> str:
    """`w7`, or `w7~60` for 60 samples of word 7 where it has another length."""
    return f"w{number}" if samples == word_samples(number) else f"w{number}~{samples}"


@dataclass(frozen=True, slots=True)
class SpeechStyle:
    """How people talk in a session. Pauses within a sentence are shorter than the service waits for a
    segment's end, those between sentences are longer.

    `long_silence_share`, `long_sentence_share`: of the sentences, how many are followed by several seconds
    of silence, or have some twenty words.
    """

    sentences: tuple[int, int] = (1, 6)
    words: tuple[int, int] = (1, 5)
    word_pause_samples: tuple[int, int] = (20, 200)
    sentence_pause_samples: tuple[int, int] = (420, 1200)
    long_silence_samples: tuple[int, int] = (3000, 9000)
    long_silence_share: float = 0.05
    long_sentence_share: float = 0.05


def speak(rng: random.Random, channels: int, style: SpeechStyle) -> bytes:
    """Interleaved PCM s16le of a conversation."""
    runs = [_channel(rng, channel, channels, style) for channel in range(channels)]
    return interleave([b"".join(_pcm(number, samples) for number, samples in each) for each in runs])


def _channel(rng: random.Random, channel: int, channels: int, style: SpeechStyle) -> list[Run]:
    numbers = _numbers(rng, channel, channels)
    runs: list[Run] = [(SILENCE, rng.randint(0, 600 * channels))]
    for _ in range(rng.randint(*style.sentences)):
        long = rng.random() < style.long_sentence_share
        for _ in range(20 if long else rng.randint(*style.words)):
            number = next(numbers)
            runs += [(number, word_samples(number)), (SILENCE, rng.randint(*style.word_pause_samples))]
        silent = rng.random() < style.long_silence_share
        pause = style.long_silence_samples if silent else style.sentence_pause_samples
        runs.append((SILENCE, rng.randint(*pause)))
    return runs


def _numbers(rng: random.Random, channel: int, channels: int) -> Iterator[int]:
    first = rng.randrange(255)
    mine = [number for number in range(1, 256) if number % channels == channel]
    return cycle(mine[first % len(mine) :] + mine[: first % len(mine)])


def _pcm(number: int, samples: int) -> bytes:
    return bytes((number,)) * (2 * samples)


def interleave(channels: list[bytes]) -> bytes:
    """One PCM stream of several mono ones; the shorter ones end in silence."""
    if len(channels) == 1:
        return channels[0]
    longest = max(map(len, channels))
    mixed = array.array("h", bytes(longest * len(channels)))
    for index, mono in enumerate(channels):
        mixed[index :: len(channels)] = array.array("h", mono.ljust(longest, b"\0"))
    return mixed.tobytes()


def split(pcm: bytes, channels: int) -> list[bytes]:
    """The inverse of `interleave`."""
    if channels == 1:
        return [pcm]
    mixed = array.array("h", pcm)
    return [mixed[index::channels].tobytes() for index in range(channels)]
