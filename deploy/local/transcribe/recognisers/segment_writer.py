"""The segments of one channel, as recognisers of speech write them.

Such a recogniser has at any moment the words of the utterance it is in. What all of them have to get right
besides is here: segments are numbered, a segment's start stays where its first partial put it while its words
are revised, words become written items (`text.py`), partials have no confidence. An utterance in which, after
all, nothing was heard is no segment; if it was reported in partials, the next one goes on under their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.text import format_words

PARTIAL_SECONDS = 0.2
"""Speech between partials."""

MAX_SEGMENT_SECONDS = 15.0
"""Speech that never pauses is cut here."""


class SegmentWriter:
    """Collects segments until `take`."""

    def __init__(self) -> None:
        self._index = 0
        self._start_seconds: float | None = None
        self._segments: list[Segment] = []

    def partial(self, words: Sequence[Word]) -> None:
        """Report the words so far; none are no news."""
        if words:
            self._write([replace(word, confidence=None) for word in words], is_partial=True)

    def final(self, words: Sequence[Word], end_seconds: float = 0.0) -> None:
        """The utterance is over. It ends with its last word, or later at `end_seconds`."""
        if words:
            self._write(words, is_partial=False, end_seconds=end_seconds)
            self._index += 1
            self._start_seconds = None

    def take(self) -> Sequence[Segment]:
        """What was reported since the last call."""
        segments, self._segments = self._segments, []
        return segments

    def _write(self, words: Sequence[Word], *, is_partial: bool, end_seconds: float = 0.0) -> None:
        if self._start_seconds is None:
            self._start_seconds = words[0].start_seconds
        start = self._start_seconds
        items = format_words([_not_before(word, start) for word in words], is_final=not is_partial)
        end = max(end_seconds, items[-1].end_seconds)
        self._segments.append(Segment(self._index, is_partial, start, end, items))


def _not_before(word: Word, seconds: float) -> Word:
    if word.start_seconds >= seconds:
        return word
    return replace(word, start_seconds=seconds, end_seconds=max(word.end_seconds, seconds))
