"""What kind of sherpa-onnx model a directory holds, and which of its files are used.

    kind         files                                              constructor of OnlineRecognizer
    transducer   encoder*.onnx, decoder*.onnx, joiner*.onnx         from_transducer
    paraformer   encoder*.onnx, decoder*.onnx                       from_paraformer
    CTC          one other *.onnx                                   by the option `ctc`, since the file does
                                                                    not tell: zipformer2, nemo, wenet or t-one

and `tokens.txt` with each. Models are published with float and int8 files beside each other. Where both are
there, int8 is used for encoder, joiner and CTC, which take most of the time, and float for the decoder, as in
sherpa-onnx's own examples; `precision=float` uses the float files only. Other variants (fp16) are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.transcribe.errors import RecogniserError, SpeechError
from deploy.local.transcribe.recognisers.plugin import RecogniserOption

PRECISION = RecogniserOption("precision", "int8 (the default, where the model has such files) or float")
CTC = RecogniserOption("ctc", "family of a CTC model: zipformer2, nemo, wenet or t-one")
HOLDS = (
    "a streaming sherpa-onnx model: tokens.txt with encoder*.onnx, decoder*.onnx and joiner*.onnx "
    "(a transducer), without joiner (a paraformer), or with one CTC model"
)

_CTC_CONSTRUCTORS = {
    "zipformer2": "from_zipformer2_ctc",
    "nemo": "from_nemo_ctc",
    "wenet": "from_wenet_ctc",
    "t-one": "from_t_one_ctc",
}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A constructor of `OnlineRecognizer` and its arguments that are files."""

    constructor: str
    files: Mapping[str, str]


def find_model(directory: Path, options: Mapping[str, str]) -> ModelFiles:
    """The model in `directory`. Raises `SpeechError` naming what is missing, and `RecogniserError`."""
    precision = _choice(options, PRECISION.name, ("int8", "float"))
    family = _choice(options, CTC.name, tuple(_CTC_CONSTRUCTORS))
    if not (directory / "tokens.txt").is_file():
        raise SpeechError(f"--model {directory}: tokens.txt is missing; it must hold {HOLDS}")
    models = _Models(directory, prefers_int8=precision != "float")
    parts = {part: models.one(part) for part in ("encoder", "decoder", "joiner")}
    found = {part: str(path) for part, path in parts.items() if path is not None}
    tokens = {"tokens": str(directory / "tokens.txt")}
    if len(found) == 3:
        return ModelFiles("from_transducer", tokens | found)
    if set(found) == {"encoder", "decoder"}:
        return ModelFiles("from_paraformer", tokens | found)
    other = None if found else models.one("")
    if other is None:
        missing = " and ".join(f"{part}*.onnx" for part in ("encoder", "decoder") if part not in found)
        raise SpeechError(f"--model {directory}: {missing} is missing; it must hold {HOLDS}")
    if family is None:
        families = ", ".join(_CTC_CONSTRUCTORS)
        message = f"--model {directory} holds a CTC model: say of which family by --recogniser-option ctc="
        raise RecogniserError(f"{message}FAMILY, one of {families}")
    return ModelFiles(_CTC_CONSTRUCTORS[family], tokens | {"model": str(other)})


def writes_capitals_only(tokens: Path) -> bool:
    """Whether no token of a model, special ones such as "<unk>" apart, has a small letter."""
    symbols = [line.split()[0] for line in tokens.read_text(errors="replace").splitlines() if line.strip()]
    return not any(letter.islower() for symbol in symbols if symbol[0] != "<" for letter in symbol)


def _choice(options: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = options.get(name)
    if value is not None and value not in allowed:
        raise RecogniserError(f"--recogniser-option {name}={value}: one of {', '.join(allowed)} is needed")
    return value


class _Models:
    """The model files of a directory."""

    def __init__(self, directory: Path, *, prefers_int8: bool) -> None:
        self._directory = directory
        self._prefers_int8 = prefers_int8
        self._paths = sorted(directory.glob("*.onnx"))

    def one(self, part: str) -> Path | None:
        """The file of a model's part, None if there is none; an error if several could be meant."""
        paths = [path for path in self._paths if path.name.startswith(part)]
        int8 = [path for path in paths if path.name.endswith(".int8.onnx")]
        plain = [path for path in paths if path not in int8 and not path.name.endswith(".fp16.onnx")]
        if self._prefers_int8 and part != "decoder":
            chosen = int8 or plain
        else:
            chosen = plain or (int8 if self._prefers_int8 else [])
        if len(chosen) > 1:
            names = ", ".join(path.name for path in chosen)
            raise SpeechError(f"--model {self._directory}: leave one of {names}")
        return chosen[0] if chosen else None
