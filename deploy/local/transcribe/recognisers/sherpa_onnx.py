"""Speech recognition with sherpa-onnx and a directory with a streaming model of the user's.

Audio goes to an `OnlineStream` in pieces of 0.2 s and is decoded at once; the library resamples it, finds
where an utterance ends (`END_SILENCE_SECONDS` after the last word) and cuts speech that never pauses. What it
hears are tokens, pieces of words, each with a time from the utterance's start. A token that begins with a
space (written "▁" by some models) begins a word. A word starts with its first token and ends where the next
word starts, but at most `LAST_TOKEN_SECONDS` after its last token; its confidence is that of its least sure
token, or none for models without token probabilities. Models that know capitals only are read as lower case.

One `OnlineRecognizer` serves all streams; the library releases the interpreter, so each stream runs in a
thread. It cannot be told to log nothing, so native output is silenced once the model is loaded.

Written against sherpa-onnx 2.0.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment, Word, native_output
from deploy.local.transcribe.recognisers.plugin import (
    DEFAULT_WORKERS,
    MODEL,
    WORKERS,
    load_library,
    read_count,
    read_directory,
)
from deploy.local.transcribe.recognisers.segment_writer import (
    MAX_SEGMENT_SECONDS,
    PARTIAL_SECONDS,
    SegmentWriter,
)
from deploy.local.transcribe.recognisers.sherpa_onnx_model import (
    CTC,
    HOLDS,
    PRECISION,
    find_model,
    writes_capitals_only,
)
from deploy.local.transcribe.recognition_threads import ThreadedHost

END_SILENCE_SECONDS = 0.8
LAST_TOKEN_SECONDS = 0.3
_PADDING_SECONDS = 0.5  # silence after the end, so that the model sees the last word whole
_WORD_START = " ▁"
_PUNCTUATION = ".,?!"


class SherpaOnnxPlugin:
    """Streaming sherpa-onnx models, recognised in threads."""

    summary = "real, offline recognition by the package sherpa-onnx, with a streaming model of yours"
    options = (MODEL, WORKERS, PRECISION, CTC)

    def open(self, options: Mapping[str, str]) -> ThreadedHost:
        """See `RecogniserPlugin.open`."""
        workers = read_count(options, WORKERS.name, DEFAULT_WORKERS)
        library = load_library("sherpa-onnx", "sherpa_onnx", "sherpa-onnx")
        directory = read_directory(options, MODEL.name, HOLDS)
        recogniser = load_recogniser(library, directory, options)
        native_output.silence()
        lower = writes_capitals_only(directory / "tokens.txt")

        def make(request: RecognitionRequest) -> SherpaOnnxRecogniser:
            return SherpaOnnxRecogniser(recogniser, request.sample_rate_hertz, lower=lower)

        return ThreadedHost(make, workers)


PLUGIN = SherpaOnnxPlugin()


def load_recogniser(library: Any, directory: Path, options: Mapping[str, str]) -> Any:
    """Load the model; raises `SpeechError` if files are missing or not what sherpa-onnx reads."""
    model = find_model(directory, options)
    construct = getattr(library.OnlineRecognizer, model.constructor)
    try:
        return construct(
            **model.files,
            num_threads=1,  # the streams are what runs side by side
            enable_endpoint_detection=True,
            rule2_min_trailing_silence=END_SILENCE_SECONDS,
            rule3_min_utterance_length=MAX_SEGMENT_SECONDS,
        )
    except Exception as error:  # AssertionError, RuntimeError and others, about the files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SpeechError(f"--model {directory}: sherpa-onnx cannot load it ({reason})") from error


class SherpaOnnxRecogniser:
    """Recognises one channel of one stream."""

    def __init__(self, recogniser: Any, sample_rate_hertz: int, *, lower: bool) -> None:
        self._recogniser = recogniser
        self._lower = lower
        self._hertz = sample_rate_hertz
        self._stream = recogniser.create_stream()
        self._piece_bytes = 2 * round(PARTIAL_SECONDS * sample_rate_hertz)
        self._buffer = b""
        self._heard_bytes = 0
        self._writer = SegmentWriter()

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """See `Recogniser.accept`."""
        self._buffer += pcm
        while len(self._buffer) >= self._piece_bytes:
            piece, self._buffer = self._buffer[: self._piece_bytes], self._buffer[self._piece_bytes :]
            self._hear(piece)
        return self._writer.take()

    def finish(self) -> Sequence[Segment]:
        """See `Recogniser.finish`."""
        if len(self._buffer) >= 2:
            self._hear(self._buffer[: len(self._buffer) // 2 * 2])
        self._stream.accept_waveform(self._hertz, np.zeros(round(_PADDING_SECONDS * self._hertz), np.float32))
        self._stream.input_finished()
        self._decode()
        self._writer.final(self._words(self._result()))
        return self._writer.take()

    def _hear(self, piece: bytes) -> None:
        self._heard_bytes += len(piece)
        self._stream.accept_waveform(self._hertz, np.frombuffer(piece, "<i2").astype(np.float32) / 32_768)
        self._decode()
        result = self._result()
        if self._recogniser.is_endpoint(self._stream):
            self._recogniser.reset(self._stream)
            self._writer.final(self._words(result, until_seconds=self._result().start_time))
        else:
            self._writer.partial(self._words(result))

    def _decode(self) -> None:
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)

    def _result(self) -> Any:
        return self._recogniser.get_result_all(self._stream)

    def _words(self, result: Any, until_seconds: float = math.inf) -> list[Word]:
        """The words of a result; none ends after the audio, or after the next utterance has begun."""
        tokens = [token.lower() for token in result.tokens] if self._lower else result.tokens
        times = [result.start_time + time for time in result.timestamps]
        heard_seconds = self._heard_bytes / 2 / self._hertz
        return read_words(tokens, times, result.ys_probs, min(heard_seconds, until_seconds))


def read_words(
    tokens: Sequence[str], times: Sequence[float], log_probabilities: Sequence[float], heard_seconds: float
) -> list[Word]:
    """The words that tokens make.

    Args:
        tokens: Pieces of words; one that begins a word has a space before it.
        times: Seconds from the stream's first sample, for each token.
        log_probabilities: For each token, or none.
        heard_seconds: How much audio there was; no word ends later.
    """
    groups = _group(tokens)
    starts = [times[group[0]] for group in groups] + [math.inf]
    words: list[Word] = []
    for group, (start, next_start) in zip(groups, pairwise(starts), strict=True):
        text = "".join(tokens[number] for number in group).strip(_WORD_START)
        end = min(next_start, times[group[-1]] + LAST_TOKEN_SECONDS, max(heard_seconds, start))
        confidence = None
        if log_probabilities:
            confidence = round(math.exp(min(log_probabilities[number] for number in group)), 3)
        words += _split_punctuation(text, round(start, 3), round(end, 3), confidence)
    return words


def _group(tokens: Sequence[str]) -> list[list[int]]:
    """The numbers of the tokens of each word; special tokens such as "<unk>" belong to none."""
    groups: list[list[int]] = []
    for number, token in enumerate(tokens):
        if token.startswith("<") and token.endswith(">"):
            continue
        if not groups or token[:1] in _WORD_START:
            groups.append([])
        groups[-1].append(number)
    return [group for group in groups if "".join(tokens[n] for n in group).strip(_WORD_START)]


def _split_punctuation(text: str, start: float, end: float, confidence: float | None) -> list[Word]:
    """A word, and the punctuation mark that the model wrote behind it as an item of its own."""
    content = text.rstrip(_PUNCTUATION)
    words = [Word(content, start, end, confidence)] if content else []
    if len(content) < len(text):
        words.append(Word(text[len(content) :], end, end, None, is_punctuation=True))
    return words
