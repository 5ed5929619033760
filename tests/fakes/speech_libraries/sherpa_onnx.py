"""A stand-in for the package sherpa-onnx 2.0.1: its names, argument lists and how an utterance lives.

The directory of the model's `tokens.txt` has a file `heard.json`, which says what is heard whatever the audio
holds: `{"tokens": [[token, seconds, log probability], …]}`, seconds from the first sample; without the file
the model is none. `reset` begins an utterance whose times start at 0 again, as in the library. Each result is
written to standard error past Python, as the library does with tokens it does not know. Tests put this
directory on the path.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DECODED_SECONDS = 0.32  # by one call of decode_stream
constructed: list[tuple[str, dict[str, Any]]] = []
"""Names and arguments of the constructors that were called, for the tests."""


@dataclass
class OnlineRecognizerResult:
    tokens: list[str]
    timestamps: list[float]
    ys_probs: list[float]
    start_time: float


@dataclass
class OnlineStream:
    seconds: float = 0.0
    decoded: float = 0.0
    started: float = 0.0
    finished: bool = False
    rates: set[float] = field(default_factory=set)

    def accept_waveform(self, sample_rate: float, waveform: Any) -> None:
        if len(waveform) and not (
            waveform.dtype == "float32" and -1 <= waveform.min() <= waveform.max() <= 1
        ):
            raise TypeError("samples are 32-bit floats from -1 to 1")
        self.rates.add(sample_rate)
        self.seconds += len(waveform) / sample_rate

    def input_finished(self) -> None:
        self.finished = True


class OnlineRecognizer:
    _tokens: list[tuple[str, float, float | None]]
    _rules: dict[str, float]

    @classmethod
    def from_transducer(
        cls, tokens: str, encoder: str, decoder: str, joiner: str, **rules: Any
    ) -> OnlineRecognizer:
        files = {"encoder": encoder, "decoder": decoder, "joiner": joiner}
        return cls._make("from_transducer", tokens, files, rules)

    @classmethod
    def from_paraformer(cls, tokens: str, encoder: str, decoder: str, **rules: Any) -> OnlineRecognizer:
        return cls._make("from_paraformer", tokens, {"encoder": encoder, "decoder": decoder}, rules)

    @classmethod
    def from_zipformer2_ctc(cls, tokens: str, model: str, **rules: Any) -> OnlineRecognizer:
        return cls._make("from_zipformer2_ctc", tokens, {"model": model}, rules)

    @classmethod
    def _make(cls, name: str, tokens: str, files: dict[str, str], rules: dict[str, Any]) -> OnlineRecognizer:
        constructed.append((name, {"tokens": tokens} | files | rules))
        self = cls()
        for path in (tokens, *files.values()):
            assert Path(path).is_file(), f"{path} does not exist"
        script = Path(tokens).with_name("heard.json")
        if not script.exists():
            raise RuntimeError(f"Load model from {files} failed:Protobuf parsing failed.\nsecond line")
        heard = json.loads(script.read_text())["tokens"]
        self._tokens = [(entry[0], entry[1], entry[2] if len(entry) > 2 else None) for entry in heard]
        defaults = {
            "num_threads": 2,
            "enable_endpoint_detection": False,
            "rule1_min_trailing_silence": 2.4,
            "rule2_min_trailing_silence": 1.2,
            "rule3_min_utterance_length": 20.0,
        }
        assert rules.keys() <= defaults.keys()
        self._rules = defaults | rules
        return self

    def create_stream(self) -> OnlineStream:
        return OnlineStream()

    def is_ready(self, s: OnlineStream) -> bool:
        waiting = s.seconds - s.decoded
        return waiting >= DECODED_SECONDS or (s.finished and waiting > 0)

    def decode_stream(self, s: OnlineStream) -> None:
        assert self.is_ready(s)
        s.decoded = min(s.seconds, s.decoded + DECODED_SECONDS)

    def get_result_all(self, s: OnlineStream) -> OnlineRecognizerResult:
        found = [token for token in self._tokens if s.started <= token[1] < s.decoded]
        text = "".join(token[0] for token in found)
        os.write(2, f"Skip OOV: ? from {text}\n".encode())
        times = [token[1] - s.started for token in found]
        known = [token[2] for token in found if token[2] is not None]
        return OnlineRecognizerResult([token[0] for token in found], times, known, s.started)

    def is_endpoint(self, s: OnlineStream) -> bool:
        if not self._rules["enable_endpoint_detection"]:
            return False
        spoken = [time for _, time, _ in self._tokens if s.started <= time < s.decoded]
        silence = s.decoded - (spoken[-1] if spoken else s.started)
        enough = self._rules[f"rule{2 if spoken else 1}_min_trailing_silence"]
        return silence >= enough or s.decoded - s.started >= self._rules["rule3_min_utterance_length"]

    def reset(self, s: OnlineStream) -> None:
        s.started = s.decoded
