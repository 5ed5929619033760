"""Synthetic dictations for demo and tests: audio, what is said in it, and a language model of the domain.

`load_recordings()` reads what `recordings.json` lists; PROVENANCE.md says where every file comes from and how
to make it again. LANGUAGE_MODEL and DICTIONARY are plain files which `pocketsphinx.Decoder(lm=..., dict=...)`
takes as they are (`medstream endpoint --recogniser pocketsphinx --lm ... --dict ...`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).parent
MANIFEST = DIRECTORY / "recordings.json"
LANGUAGE_MODEL = DIRECTORY / "model" / "medical.lm"
DICTIONARY = DIRECTORY / "model" / "medical.dict"


@dataclass(frozen=True, slots=True)
class Recording:
    """One synthetic session: mono PCM (signed 16 bit, little endian) and the text that is said in it."""

    name: str
    title: str
    specialty: str
    type: str
    sample_rate_hertz: int
    pcm: bytes = field(repr=False)
    reference: str = field(repr=False)

    @property
    def duration_seconds(self) -> float:
        return len(self.pcm) / 2 / self.sample_rate_hertz


class RecordingError(Exception):
    """A recording is missing or is not what the manifest says; a retry cannot help."""

    retryable = False


def count_recordings(manifest: Path = MANIFEST) -> int:
    """How many there are, without decoding them, which takes the better part of a second."""
    return len(json.loads(manifest.read_text(encoding="utf-8")))


def load_recordings(manifest: Path = MANIFEST) -> list[Recording]:
    """All recordings of `manifest`, in its order; audio files are looked up beside it.

    Raises RecordingError when a file is missing, is not mono or has another rate than the manifest says.
    """
    return [_load(entry, manifest.parent) for entry in json.loads(manifest.read_text(encoding="utf-8"))]


def _load(entry: dict[str, str | int | float], directory: Path) -> Recording:
    sample_rate_hertz = int(entry["sample_rate_hertz"])
    return Recording(
        name=str(entry["name"]),
        title=str(entry["title"]),
        specialty=str(entry["specialty"]),
        type=str(entry["type"]),
        sample_rate_hertz=sample_rate_hertz,
        pcm=_read_pcm(directory / str(entry["file"]), sample_rate_hertz),
        reference=str(entry["reference"]),
    )


def _read_pcm(path: Path, sample_rate_hertz: int) -> bytes:
    import soundfile  # with numpy half a second to import: only who plays audio pays for it

    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise RecordingError(
            f"Recording {path.name} cannot be read ({error}); restore it from the repository."
        ) from error
    if rate != sample_rate_hertz or samples.shape[1] != 1:
        raise RecordingError(
            f"Recording {path.name} has {samples.shape[1]} channel(s) at {rate} Hz; "
            f"the manifest says one at {sample_rate_hertz} Hz."
        )
    pcm: bytes = samples.astype("<i2").tobytes()
    return pcm
