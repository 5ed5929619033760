"""A stand-in for the package vosk 0.3.45: its names, argument lists and JSON, and how an utterance lives.

A "model" is a directory with a file `heard.json`, which says what is heard whatever the audio holds:
`{"words": [[word, start, end, confidence], …], "fails_at": seconds}`, times in seconds from the first sample.
An utterance is over 0.5 s after a word, if no other has begun. Tests put this directory on the path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

END_SILENCE_SECONDS = 0.5
log_levels: list[int] = []
"""What `SetLogLevel` was called with, for the tests."""


def SetLogLevel(level: int) -> None:
    log_levels.append(level)


class Model:
    def __init__(self, model_path: str) -> None:
        if not isinstance(model_path, str):
            raise TypeError("the library encodes the path")
        script = Path(model_path, "heard.json")
        if not script.exists():
            raise Exception("Failed to create a model")
        self.heard = json.loads(script.read_text())


class KaldiRecognizer:
    def __init__(self, *args: Any) -> None:
        model, self.hertz = args
        self._heard = model.heard
        self._samples = 0
        self._next = 0  # word of the script that the utterance begins with
        self._with_words = self._with_partial_words = False

    def SetWords(self, enable_words: bool) -> None:
        self._with_words = enable_words

    def SetPartialWords(self, enable_partial_words: bool) -> None:
        self._with_partial_words = enable_partial_words

    def AcceptWaveform(self, data: bytes) -> int:
        if not isinstance(data, bytes) or len(data) % 2:
            raise TypeError("whole samples of 16 bits are needed")
        self._samples += len(data) // 2
        if self._seconds() >= self._heard.get("fails_at", float("inf")):
            raise Exception("Failed to process waveform")
        words = self._utterance()
        following = self._heard["words"][self._next + len(words) :]
        silent_until = min(self._seconds(), following[0][1] if following else float("inf"))
        return int(bool(words) and silent_until - words[-1][2] >= END_SILENCE_SECONDS)

    def PartialResult(self) -> str:
        words = self._utterance()
        result: dict[str, Any] = {"partial": " ".join(word[0] for word in words)}
        if words and self._with_partial_words:
            result["partial_result"] = _entries(words)
        return json.dumps(result)

    def Result(self) -> str:
        words = self._utterance()
        self._next += len(words)
        result: dict[str, Any] = {"text": " ".join(word[0] for word in words)}
        if words and self._with_words:
            result["result"] = _entries(words)
        return json.dumps(result)

    def FinalResult(self) -> str:
        return self.Result()

    def _seconds(self) -> float:
        return float(self._samples / self.hertz)

    def _utterance(self) -> list[list[Any]]:
        """The words begun since the last result."""
        return [word for word in self._heard["words"][self._next :] if word[1] < self._seconds()]


def _entries(words: list[list[Any]]) -> list[dict[str, Any]]:
    return [{"conf": conf, "end": end, "start": start, "word": word} for word, start, end, conf in words]
