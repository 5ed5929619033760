"""What the fake service hears: words from PCM, exactly, and results as the service words them.

`ChannelEar` is all there is to recognise of one channel; the oracle uses it too, over ideal audio.
`Recogniser` is the service's side of one stream: it makes partials and finals of one or two ears, with the
habits of the real one: partials repeat, shrink and interleave across channels, empty events lie between.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.transcribe.model import MedicalAlternative, MedicalItem, MedicalResult
from tests.simulation.speech import RATE_HERTZ, SILENCE, split, word_name

PAUSE_SAMPLES = 400  # silence after which a segment is final
AUDIBLE_SAMPLES = 12  # nobody hears less of a word; the service rounds its times to hundredths anyway
_SHOWN_AFTER_SAMPLES = 1000  # of a segment at the latest, before another channel's final is sent

_RUNS = [bytes((value,)) for value in range(256)]


@dataclass(frozen=True, slots=True)
class Word:
    """Samples `[start, end)` of what was fed."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Words between two pauses; `end` may lie a little behind the last word."""

    words: tuple[Word, ...]
    end: int


class ChannelEar:
    """Hears words in mono PCM that comes in pieces. `max_words`: a segment ends with that many anyway."""

    def __init__(self, max_words: int | None = None) -> None:
        self.position = 0
        self.words: list[Word] = []  # of the segment that is not final yet
        self.tail_samples = 0  # a final's end lies so far behind its last word
        self.max_words = max_words  # of the segment that is not final yet
        self._value, self._run_start = SILENCE, 0

    def feed(self, pcm: bytes) -> Iterator[Segment]:
        """Hear more; yields the segments that it completes."""
        at, rest = self.position, pcm
        while rest:
            value = rest[0]
            stripped = rest.lstrip(_RUNS[value])
            if value != self._value:
                yield from self._end_run(at)
                self._value, self._run_start = value, at
            at += (len(rest) - len(stripped)) // 2
            rest = stripped
            if value == SILENCE and self.words and at - self._run_start >= PAUSE_SAMPLES:
                yield self._end_segment()
        self.position = at

    def finish(self) -> Iterator[Segment]:
        """No more audio; yields what is left."""
        yield from self._end_run(self.position)
        self._value, self._run_start = SILENCE, self.position
        if self.words:
            self.tail_samples = 0
            yield self._end_segment()

    def _end_run(self, end: int) -> Iterator[Segment]:
        start, number = self._run_start, self._value
        if number != SILENCE and end - start >= AUDIBLE_SAMPLES:
            self.words.append(Word(word_name(number, end - start), start, end))
            if self.max_words is not None and len(self.words) >= self.max_words:
                yield self._end_segment(tail_samples=0)

    def _end_segment(self, tail_samples: int | None = None) -> Segment:
        tail = self.tail_samples if tail_samples is None else tail_samples
        segment = Segment(tuple(self.words), self.words[-1].end + tail)
        self.words = []
        return segment


@dataclass(frozen=True, slots=True)
class Manner:
    """How a stream of the service words its results. `irregular`: each segment has another number of words
    at most, so that the same audio, heard again, becomes other segments.

    `partial_share`: how often it shows an unfinished segment after hearing a piece; `empty_share`,
    `repeat_share`: how often an event is empty, or a final is sent twice.
    """

    max_words: int | None = None
    irregular: bool = False
    tail_samples: int = 0
    partial_share: float = 0.4
    empty_share: float = 0.05
    repeat_share: float = 0.0


class Recogniser:
    """One stream's results, on the stream's own time from zero. `name` makes result ids unique."""

    def __init__(self, name: str, channels: int, manner: Manner, rng: random.Random) -> None:
        self._name = name
        self._manner = manner
        self._rng = rng
        self._channels = channels
        self._ears = [ChannelEar(self._max_words()) for _ in range(channels)]
        self._shown: list[int] = [0] * channels  # partials of the unfinished segment
        self._segments = 0
        self._ids = [self._next_id() for _ in range(channels)]
        for ear in self._ears:
            ear.tail_samples = manner.tail_samples

    def feed(self, pcm: bytes) -> list[tuple[MedicalResult, ...]]:
        """Hear more; the events that follow."""
        events: list[tuple[MedicalResult, ...]] = []
        for channel, mono in enumerate(split(pcm, self._channels)):
            for segment in self._ears[channel].feed(mono):
                self._finish(channel, segment, events)
        for channel, ear in enumerate(self._ears):
            if ear.words and self._rng.random() < self._manner.partial_share:
                events.append((self._partial(channel),))
        if self._rng.random() < self._manner.empty_share:
            events.append(())
        return events

    def finish(self) -> list[tuple[MedicalResult, ...]]:
        """The last events, after the closing frame."""
        events: list[tuple[MedicalResult, ...]] = []
        for channel, ear in enumerate(self._ears):
            for segment in ear.finish():
                self._finish(channel, segment, events)
        return events

    def _finish(self, channel: int, segment: Segment, events: list[tuple[MedicalResult, ...]]) -> None:
        for other, ear in enumerate(self._ears):
            late = ear.words and segment.end - ear.words[0].start > _SHOWN_AFTER_SAMPLES
            if other != channel and late and not self._shown[other]:
                events.append((self._partial(other),))
        final = self._result(channel, segment.words, segment.end, partial=False)
        events.append((final,))
        if self._rng.random() < self._manner.repeat_share:
            events.append((final,))
        self._shown[channel] = 0
        self._ears[channel].max_words = self._max_words()
        self._ids[channel] = self._next_id()

    def _max_words(self) -> int | None:
        most = self._manner.max_words
        return self._rng.randint(1, most) if most is not None and self._manner.irregular else most

    def _partial(self, channel: int) -> MedicalResult:
        words = self._ears[channel].words
        shown = tuple(words[: self._rng.randint(1, len(words))])  # partials repeat and shrink
        self._shown[channel] += 1
        return self._result(channel, shown, shown[-1].end, partial=True)

    def _result(self, channel: int, words: tuple[Word, ...], end: int, *, partial: bool) -> MedicalResult:
        confidence = None if partial else 0.9
        items = tuple(
            MedicalItem(
                start_time=word.start / RATE_HERTZ,
                end_time=word.end / RATE_HERTZ,
                type="pronunciation",
                content=word.name,
                confidence=confidence,
            )
            for word in words
        )
        return MedicalResult(
            result_id=self._ids[channel],
            start_time=items[0].start_time,
            end_time=end / RATE_HERTZ,
            is_partial=partial,
            alternatives=(MedicalAlternative(" ".join(word.name for word in words), items),),
            channel_id=None if self._channels == 1 else f"ch_{channel}",
        )

    def _next_id(self) -> str:
        self._segments += 1
        return f"{self._name}-{self._segments}"
