"""Audio that says exactly which words it holds, and the recogniser that reads it.

Tests need to prove that no audio was lost, doubled or moved between a producer and a final, through
restarts and re-reading. Speech cannot prove that; marked audio can. `encode_markers` writes each word as
a run of 10 ms cells. A cell names its word, its own number within the word and the number of cells of the
word:

    sample 0        SYNC, a value no other sample of a cell has
    1, 2            number of this cell, number of cells of the word
    3               length of the text in bytes
    4, 5            CRC-32 of the three numbers and the text, in two halves
    6 …             the text, one byte a sample
    then            a ramp up to the end of the cell

All values are offset so that no sample is zero: zeros are silence. Because a cell can be computed from
its first samples and is compared as a whole, one sample dropped or added anywhere shows.
`MarkersRecogniser` finds cells at any sample offset, so a stream may begin anywhere. A word of which
every cell came, once and in order, is reported with times exact to the sample; any other word is reported
with `DAMAGED` appended, so that a comparison of transcripts fails loudly. A pause longer than
`pause_seconds` ends the segment; so does, if asked for, a random number of words, another one each time the
same audio is read: what is published must not depend on how a service cuts it. Sound that holds no cells
(speech, noise) is skipped.

The coding survives lossless paths only (PCM, FLAC). It is synthetic test data, never speech.
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from deploy.local.transcribe.errors import RecogniserError, bad_request
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment, Word
from deploy.local.transcribe.recognisers.plugin import RecogniserOption
from deploy.local.transcribe.recognition import InlineHost

CELL_SECONDS = 0.01
DAMAGED = "\N{REPLACEMENT CHARACTER}"
"""Appended to a word whose audio is incomplete, doubled or out of order."""

MAX_TEXT_BYTES = 48
MAX_CELLS = 0x3FFF

_SYNC = -21846  # 0xAAAA as a signed sample
_SYNC_BYTES = b"\xaa\xaa"
_OFFSET = 0x4000  # fields of 14 bits are written as 0x4000 + value: never zero, never SYNC
_HEADER_SAMPLES = 6
_FIELD_MASK = 0x3FFF


def encode_markers(
    sentences: Sequence[Sequence[str]],
    sample_rate_hertz: int,
    *,
    word_seconds: float = 0.3,
    pause_seconds: float = 0.7,
    lead_seconds: float = 0.2,
) -> bytes:
    """Return 16-bit little-endian mono PCM in which a `MarkersRecogniser` reads `sentences`.

    Args:
        sentences: The words of each sentence; a word is 1 to 48 bytes of UTF-8.
        sample_rate_hertz: A multiple of 100, at least 8000.
        word_seconds: Length of every word, a multiple of 0.01.
        pause_seconds: Silence after every sentence, a multiple of 0.01.
        lead_seconds: Silence before the first sentence, a multiple of 0.01.

    Raises:
        ValueError: A word, the sample rate or a duration cannot be coded.
    """
    samples = _cell_samples(sample_rate_hertz)
    word_cells = _cell_count(word_seconds)
    silent_cell = bytes(2 * samples)
    parts = [silent_cell * _cell_count(lead_seconds)]
    for sentence in sentences:
        for word in sentence:
            text = word.encode()
            parts += [_encode_cell(text, number, word_cells, samples) for number in range(word_cells)]
        parts.append(silent_cell * _cell_count(pause_seconds))
    return b"".join(parts)


def marked_words(
    sentences: Sequence[Sequence[str]],
    *,
    word_seconds: float = 0.3,
    pause_seconds: float = 0.7,
    lead_seconds: float = 0.2,
) -> tuple[tuple[Word, ...], ...]:
    """Return the words of each sentence with their times in the audio `encode_markers` makes of the same."""
    cell = _cell_count(lead_seconds)
    timeline = []
    for sentence in sentences:
        words = []
        for content in sentence:
            end = cell + _cell_count(word_seconds)
            words.append(Word(content, cell / 100, end / 100))
            cell = end
        timeline.append(tuple(words))
        cell += _cell_count(pause_seconds)
    return tuple(timeline)


def _cell_samples(sample_rate_hertz: int) -> int:
    if sample_rate_hertz < 8000 or sample_rate_hertz % 100:
        message = f"sample_rate_hertz={sample_rate_hertz}: markers need a multiple of 100, at least 8000"
        raise ValueError(message)
    return sample_rate_hertz // 100


def _cell_count(seconds: float) -> int:
    cells = round(seconds / CELL_SECONDS)
    if not 0 <= cells <= MAX_CELLS or abs(cells * CELL_SECONDS - seconds) > 1e-6:
        message = f"{seconds} s: durations of marked audio are multiples of 0.01 s, up to {MAX_CELLS / 100} s"
        raise ValueError(message)
    return cells


@lru_cache(maxsize=4096)
def _encode_cell(text: bytes, number: int, count: int, samples: int) -> bytes:
    """One cell; its bytes depend on the arguments alone, so a received cell can be compared as a whole."""
    if not 1 <= len(text) <= MAX_TEXT_BYTES or not 0 <= number < count <= MAX_CELLS:
        message = f"a marked word is 1 to {MAX_TEXT_BYTES} bytes of text in 1 to {MAX_CELLS} cells"
        raise ValueError(message)
    check = _checksum(number, count, text)
    fields = [number, count, len(text), check >> 14, check & _FIELD_MASK, *text]
    ramp = range(samples - 1 - len(fields))
    values = [_SYNC, *(_OFFSET + value for value in fields), *(_OFFSET + value for value in ramp)]
    return struct.pack(f"<{samples}h", *values)


def _checksum(number: int, count: int, text: bytes) -> int:
    return zlib.crc32(bytes((number >> 8, number & 255, count >> 8, count & 255)) + text) & 0xFFFFFFF


@dataclass(frozen=True, slots=True)
class _Cell:
    text: bytes = field(repr=False)
    number: int
    count: int


def _read_cell(data: bytes, samples: int) -> _Cell | None:
    """The cell that `data` (exactly one cell long) is, or None if it differs from one in any sample."""
    values = [
        int.from_bytes(data[at : at + 2], "little") - _OFFSET for at in range(2, 2 * _HEADER_SAMPLES, 2)
    ]
    number, count, length = values[:3]
    if not (1 <= length <= MAX_TEXT_BYTES and 0 <= number < count <= MAX_CELLS):
        return None
    text = data[2 * _HEADER_SAMPLES : 2 * (_HEADER_SAMPLES + length) : 2]
    if data != _encode_cell(text, number, count, samples):
        return None
    return _Cell(text, number, count)


@dataclass(slots=True)
class _OpenWord:
    """A word being read: cells 0 to `next_number - 1` have come unless it is damaged."""

    cell: _Cell
    start_sample: int
    end_sample: int
    next_number: int
    damaged: bool

    def is_followed_by(self, cell: _Cell, start_sample: int) -> bool:
        return (
            start_sample == self.end_sample
            and cell.number == self.next_number
            and (cell.text, cell.count) == (self.cell.text, self.cell.count)
        )

    def is_complete(self) -> bool:
        return not self.damaged and self.next_number == self.cell.count


class MarkersRecogniser:
    """Reads the words of `encode_markers` out of PCM cut at any byte.

    A partial is reported after each word, the final once `pause_seconds` of silence followed the last word,
    or after as many words as `choose_length` says, which is asked once a segment.
    """

    def __init__(
        self,
        sample_rate_hertz: int,
        *,
        pause_seconds: float = 0.3,
        choose_length: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        self._rate = sample_rate_hertz
        self._samples = _cell_samples(sample_rate_hertz)
        self._pause_samples = round(pause_seconds * sample_rate_hertz)
        self._buffer = b""
        self._position = 0  # sample number of the buffer's first byte
        self._silence_samples = 0
        self._choose_length = choose_length
        self._max_words = choose_length()
        self._segment_index = 0
        self._words: list[Word] = []
        self._open: _OpenWord | None = None
        self._results: list[Segment] = []

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """See `Recogniser.accept`."""
        self._buffer += pcm
        while len(self._buffer) >= 2 and self._step():
            pass
        return self._take_results()

    def finish(self) -> Sequence[Segment]:
        """See `Recogniser.finish`."""
        self._close_segment()
        return self._take_results()

    def _take_results(self) -> Sequence[Segment]:
        results, self._results = self._results, []
        return results

    def _step(self) -> bool:
        """Consume silence, a cell or noise; False when the buffer holds less than the next of them needs."""
        if self._buffer[:2] == b"\0\0":
            self._skip_silence()
            return True
        cell_bytes = 2 * self._samples
        if self._buffer[:2] != _SYNC_BYTES:
            self._skip_noise()
            return True
        if len(self._buffer) < cell_bytes:
            return False
        cell = _read_cell(self._buffer[:cell_bytes], self._samples)
        if cell is None:
            self._consume(2)
        else:
            self._receive_cell(cell)
        return True

    def _consume(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._position += size // 2

    def _skip_silence(self) -> None:
        zeros = len(self._buffer) - len(self._buffer.lstrip(b"\0"))
        self._silence_samples += zeros // 2
        self._consume(zeros // 2 * 2)
        if self._silence_samples >= self._pause_samples:
            self._close_segment()

    def _skip_noise(self) -> None:
        """Skip to the next sample that is silent or may begin a cell."""
        self._silence_samples = 0
        at = 2
        while at + 1 < len(self._buffer) and self._buffer[at : at + 2] not in (_SYNC_BYTES, b"\0\0"):
            at += 2
        self._consume(at)

    def _receive_cell(self, cell: _Cell) -> None:
        start, end = self._position, self._position + self._samples
        self._consume(2 * self._samples)
        self._silence_samples = 0
        word = self._open
        if word is None or not word.is_followed_by(cell, start):
            self._close_word()
            word = self._open = _OpenWord(cell, start, start, 0, damaged=cell.number != 0)
        word.end_sample, word.next_number = end, cell.number + 1
        if word.next_number == cell.count:
            self._close_word()

    def _close_word(self) -> None:
        word, self._open = self._open, None
        if word is None:
            return
        content = word.cell.text.decode(errors="replace") + ("" if word.is_complete() else DAMAGED)
        start, end = word.start_sample / self._rate, word.end_sample / self._rate
        self._words.append(Word(content, round(start, 6), round(end, 6)))
        self._results.append(self._segment(is_partial=True))
        if len(self._words) >= self._max_words:
            self._close_segment()

    def _close_segment(self) -> None:
        self._close_word()
        if self._words:
            self._results.append(self._segment(is_partial=False))
            self._words = []
            self._segment_index += 1
            self._max_words = self._choose_length()

    def _segment(self, *, is_partial: bool) -> Segment:
        confidence = None if is_partial else 1.0
        words = tuple(
            Word(word.content, word.start_seconds, word.end_seconds, confidence) for word in self._words
        )
        return Segment(self._segment_index, is_partial, words[0].start_seconds, words[-1].end_seconds, words)


class MarkersPlugin:
    """The recogniser of tests that compare words and times: it runs inside the event loop."""

    summary = "reads the words that marked test audio holds, exact to the sample"
    options = (RecogniserOption("max-words", "segments end after 1 to so many words, at random"),)

    def open(self, options: Mapping[str, str]) -> InlineHost:
        """See `RecogniserPlugin.open`."""
        text = options.get("max-words")
        if text is not None and not (text.isdecimal() and int(text)):
            raise RecogniserError(f"--recogniser-option max-words={text}: a number from 1 on is needed")
        return InlineHost(partial(_recogniser_for, max_words=None if text is None else int(text)))


PLUGIN = MarkersPlugin()


def _recogniser_for(request: RecognitionRequest, *, max_words: int | None) -> MarkersRecogniser:
    try:
        if max_words is None:
            return MarkersRecogniser(request.sample_rate_hertz)
        return MarkersRecogniser(
            request.sample_rate_hertz, choose_length=partial(random.randint, 1, max_words)
        )
    except ValueError as error:
        raise bad_request(f"The recogniser of marked audio: {error}.") from None
