"""Real, offline speech recognition with PocketSphinx: an endpointer finds speech, a decoder recognises it.

Frames of 30 ms pass through the endpointer (voice activity over a window of 0.3 s); while it hears speech
the decoder is fed and a partial is reported after every 200 ms; when it stops, the utterance is decoded
to its end and becomes the final. Speech that never pauses is cut after `MAX_SEGMENT_SECONDS`. Word times
are the start of the utterance plus the decoder's frames of 10 ms; confidence is the posterior of the
word, which ranks words but is not calibrated.

The decoder needs 16 kHz; other rates are brought there (`resampling.py`). PocketSphinx's own log is off: it
would hold hypotheses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pocketsphinx import Decoder, Endpointer

from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.recognisers.resampling import LinearResampler
from deploy.local.transcribe.recognisers.segment_writer import (
    MAX_SEGMENT_SECONDS,
    PARTIAL_SECONDS,
    SegmentWriter,
)

DECODER_HERTZ = 16_000

_VARIANT = re.compile(r"\(\d+\)$")  # "was(2)": the second pronunciation of "was"
_FAST = {"ds": 2, "topn": 2, "maxwpf": 10, "pl_window": 10, "maxhmmpf": 3000}
"""Settings measured to halve the processor time of the defaults at a small loss of accuracy."""


def load_decoder(language_model: Path | None, dictionary: Path | None) -> Decoder:
    """Load the en-US acoustic model with the given (or PocketSphinx's own) language model and dictionary.

    Raises:
        SpeechError: A file is missing or not what PocketSphinx can read.
    """
    files = {"lm": language_model, "dict": dictionary}
    for option, path in files.items():
        if path is not None and not path.is_file():
            raise SpeechError(f"--{option} {path}: there is no such file")
    given = {option: str(path) for option, path in files.items() if path is not None}
    try:
        return Decoder(**given, **_FAST, loglevel="FATAL")
    except RuntimeError as error:
        named = ", ".join(f"--{option} {path}" for option, path in given.items()) or "its own model"
        raise SpeechError(f"PocketSphinx cannot read {named}") from error


class PocketSphinxRecogniser:
    """Recognises one stream with a decoder that nobody else uses meanwhile."""

    def __init__(self, decoder: Decoder, sample_rate_hertz: int) -> None:
        self._decoder = decoder
        self._endpointer = Endpointer(sample_rate=DECODER_HERTZ)
        self._resampler = LinearResampler(sample_rate_hertz, DECODER_HERTZ)
        self._frame_bytes: int = self._endpointer.frame_bytes
        self._buffer = b""
        self._start_seconds = 0.0
        self._speech_bytes = 0  # of the open utterance
        self._partial_due_bytes = 0
        self._in_utterance = False
        self._writer = SegmentWriter()

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """See `Recogniser.accept`."""
        self._buffer += self._resampler.resample(pcm)
        while len(self._buffer) >= self._frame_bytes:
            frame, self._buffer = self._buffer[: self._frame_bytes], self._buffer[self._frame_bytes :]
            speech = self._endpointer.process(frame)
            if speech is not None:
                self._hear(speech)
        return self._writer.take()

    def finish(self) -> Sequence[Segment]:
        """See `Recogniser.finish`."""
        if self._endpointer.in_speech:
            rest = self._buffer[: len(self._buffer) // 2 * 2] or bytes(2)  # an empty frame is refused
            speech = self._endpointer.end_stream(rest)
            if speech is not None:
                self._hear(speech)
        self._end_utterance()
        return self._writer.take()

    def _hear(self, speech: bytes) -> None:
        if not self._in_utterance:
            self._begin_utterance(self._endpointer.speech_start)
        self._decoder.process_raw(speech)
        self._speech_bytes += len(speech)
        if not self._endpointer.in_speech:
            self._end_utterance()
        elif self._heard_seconds() >= MAX_SEGMENT_SECONDS:
            resumed_at = self._start_seconds + self._heard_seconds()
            self._end_utterance()
            self._begin_utterance(resumed_at)
        elif self._speech_bytes >= self._partial_due_bytes:
            self._partial_due_bytes += int(PARTIAL_SECONDS * 2 * DECODER_HERTZ)
            self._writer.partial(self._words())

    def _heard_seconds(self) -> float:
        return self._speech_bytes / (2 * DECODER_HERTZ)

    def _begin_utterance(self, start_seconds: float) -> None:
        self._decoder.start_utt()
        self._in_utterance = True
        self._start_seconds = start_seconds
        self._speech_bytes = 0
        self._partial_due_bytes = int(PARTIAL_SECONDS * 2 * DECODER_HERTZ)

    def _end_utterance(self) -> None:
        if self._in_utterance:
            self._in_utterance = False
            self._decoder.end_utt()
            # The utterance reaches a little beyond its last word.
            self._writer.final(self._words(), round(self._start_seconds + self._heard_seconds(), 2))

    def _words(self) -> list[Word]:
        """The current hypothesis; silence and noise are no words."""
        words = []
        for segment in self._decoder.seg() or ():
            text = _VARIANT.sub("", segment.word)
            if text[:1] in "<[+":  # <s>, <sil>, [NOISE], ++SPN++
                continue
            start = round(self._start_seconds + segment.start_frame / 100, 2)
            end = round(self._start_seconds + (segment.end_frame + 1) / 100, 2)
            words.append(Word(text, start, end, round(min(segment.prob, 1.0), 3)))
        return words
