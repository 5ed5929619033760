"""Speech recognition with Vosk (Kaldi) and a model directory of the user's.

Audio goes to `KaldiRecognizer` in pieces of 0.2 s, a partial is asked for after each; Vosk says when an
utterance is over (the rules are the model's), and speech that never pauses is cut as for every recogniser.
Words come with times, counted by Vosk from the first sample, and confidences. One `Model` serves all streams;
the library releases the interpreter, so each stream runs in a thread.

Vosk brings audio down to the model's sample rate but never up, so telephone audio for a model of 16 kHz is
resampled here. Its log is cut to failed assertions once the model is loaded: warnings are about the audio at
hand.

Written against vosk 0.3.45.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment, Word
from deploy.local.transcribe.recognisers.plugin import (
    DEFAULT_WORKERS,
    MODEL,
    WORKERS,
    load_library,
    read_count,
    read_directory,
)
from deploy.local.transcribe.recognisers.resampling import LinearResampler
from deploy.local.transcribe.recognisers.segment_writer import (
    MAX_SEGMENT_SECONDS,
    PARTIAL_SECONDS,
    SegmentWriter,
)
from deploy.local.transcribe.recognition_threads import ThreadedHost

HOLDS = "a Vosk model (am/final.mdl, conf/model.conf and what belongs to them)"
_LAYOUTS = (("am/final.mdl", "conf/model.conf"), ("final.mdl", "mfcc.conf"))  # of Vosk's two generations
_FEATURE_FILES = ("conf/mfcc.conf", "mfcc.conf", "conf/fbank.conf", "fbank.conf")
_KALDI_HERTZ = 16_000  # unless the feature file says otherwise
_LOG_ERRORS, _LOG_ASSERTIONS = -2, -3  # Kaldi's severities


class VoskPlugin:
    """Vosk models, recognised in threads."""

    summary = "real, offline recognition by the package vosk, with a model of yours"
    options = (MODEL, WORKERS)

    def open(self, options: Mapping[str, str]) -> ThreadedHost:
        """See `RecogniserPlugin.open`."""
        workers = read_count(options, WORKERS.name, DEFAULT_WORKERS)
        vosk = load_library("vosk", "vosk", "vosk")
        directory = read_directory(options, MODEL.name, HOLDS)
        model = load_model(vosk, directory)
        model_hertz = read_model_hertz(directory)

        def make(request: RecognitionRequest) -> VoskRecogniser:
            return VoskRecogniser(vosk, model, model_hertz, request.sample_rate_hertz)

        return ThreadedHost(make, workers)


PLUGIN = VoskPlugin()


def load_model(vosk: Any, directory: Path) -> Any:
    """Load the model; raises `SpeechError` if files are missing or not what Vosk reads."""
    lacking = [[name for name in layout if not (directory / name).is_file()] for layout in _LAYOUTS]
    if all(lacking):
        nearest = min(lacking, key=len)
        raise SpeechError(f"--model {directory}: {' and '.join(nearest)} missing; it must hold {HOLDS}")
    vosk.SetLogLevel(_LOG_ERRORS)
    try:
        model = vosk.Model(str(directory))
    except Exception as error:  # Vosk raises the class itself
        raise SpeechError(f"--model {directory}: Vosk cannot load it ({error})") from error
    vosk.SetLogLevel(_LOG_ASSERTIONS)
    return model


def read_model_hertz(directory: Path) -> int:
    """The sample rate the model was trained with."""
    for name in _FEATURE_FILES:
        path = directory / name
        if path.is_file():
            found = re.search(r"^\s*--sample-frequency=(\d+)", path.read_text(errors="replace"), re.MULTILINE)
            return int(found[1]) if found else _KALDI_HERTZ
    return _KALDI_HERTZ


class VoskRecogniser:
    """Recognises one channel of one stream."""

    def __init__(self, vosk: Any, model: Any, model_hertz: int, sample_rate_hertz: int) -> None:
        hertz = max(model_hertz, sample_rate_hertz)
        self._kaldi = vosk.KaldiRecognizer(model, float(hertz))
        self._kaldi.SetWords(True)
        self._kaldi.SetPartialWords(True)
        self._resampler = LinearResampler(sample_rate_hertz, hertz)
        self._piece_bytes = 2 * round(PARTIAL_SECONDS * hertz)
        self._buffer = b""
        self._bytes_per_second = 2 * hertz
        self._heard_bytes = 0
        self._writer = SegmentWriter()

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """See `Recogniser.accept`."""
        self._buffer += self._resampler.resample(pcm)
        while len(self._buffer) >= self._piece_bytes:
            piece, self._buffer = self._buffer[: self._piece_bytes], self._buffer[self._piece_bytes :]
            self._hear(piece)
        return self._writer.take()

    def finish(self) -> Sequence[Segment]:
        """See `Recogniser.finish`."""
        rest = self._buffer[: len(self._buffer) // 2 * 2]
        if rest:
            self._hear(rest)
        self._end_utterance(self._kaldi.FinalResult())
        return self._writer.take()

    def _hear(self, piece: bytes) -> None:
        self._heard_bytes += len(piece)
        if self._kaldi.AcceptWaveform(piece):
            self._end_utterance(self._kaldi.Result())
            return
        words = _words(json.loads(self._kaldi.PartialResult()).get("partial_result", ()))
        self._writer.partial(words)
        heard_seconds = self._heard_bytes / self._bytes_per_second
        if words and heard_seconds - words[0].start_seconds >= MAX_SEGMENT_SECONDS:
            self._end_utterance(self._kaldi.Result())

    def _end_utterance(self, result: str) -> None:
        self._writer.final(_words(json.loads(result).get("result", ())))


def _words(entries: Iterable[Mapping[str, Any]]) -> list[Word]:
    """Vosk's words; what it could not recognise ("[unk]", "<UNK>") is left out."""
    return [
        Word(
            entry["word"],
            round(entry["start"], 3),
            round(entry["end"], 3),
            round(min(entry["conf"], 1.0), 3),
        )
        for entry in entries
        if entry["word"][:1] not in "[<"
    ]
