"""Makes the recordings again: dictations.json -> audio/*.flac and recordings.json.

Run as `python -m deploy.local.recordings.synthesise`. Needs `flite` (Debian package `flite`) and nothing else
beside the project's own dependencies; nobody who runs demo or tests needs it. Each sentence is synthesised by
itself, with faint seeded noise before, between and after, because digital silence between synthetic sentences
is nothing a microphone gives, and an endpointer may not cut there. flite and the noise are deterministic: a
second run gives the same bytes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from deploy.local.recordings import DIRECTORY, MANIFEST
from deploy.local.recordings.spoken import spoken_form

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]

DICTATIONS = DIRECTORY / "dictations.json"

PAUSE_SECONDS = 0.8
NOISE_LSB = 8.0
VOICE_RATE_HERTZ = 16_000
"""The rate of flite's `rms` and `slt` voices."""


def main() -> None:
    """Writes all recordings and the manifest; refuses when flite is not installed."""
    if shutil.which("flite") is None:
        sys.exit("flite is not installed; on Debian or Ubuntu: apt install flite")
    dictations = json.loads(DICTATIONS.read_text(encoding="utf-8"))
    manifest = [synthesise(dictation) for dictation in dictations]
    MANIFEST.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for entry in manifest:
        print(f"{entry['file']}: {entry['seconds']} s, {entry['sample_rate_hertz']} Hz")


def synthesise(dictation: dict[str, Any]) -> dict[str, Any]:
    """Writes one recording's FLAC file; returns its manifest entry."""
    name, rate = dictation["name"], dictation["sample_rate_hertz"]
    samples = _to_rate(_dictate(dictation["sentences"], seed=zlib.crc32(name.encode())), rate)
    file = f"audio/{name}.flac"
    (DIRECTORY / "audio").mkdir(exist_ok=True)
    soundfile.write(DIRECTORY / file, samples, rate, subtype="PCM_16", compression_level=1.0)
    return {
        "name": name,
        "file": file,
        "title": dictation["title"],
        "specialty": dictation["specialty"],
        "type": dictation["type"],
        "sample_rate_hertz": rate,
        "seconds": round(len(samples) / rate, 2),
        "voices": sorted({sentence["voice"] for sentence in dictation["sentences"]}),
        "reference": " ".join(sentence["text"] for sentence in dictation["sentences"]),
    }


def _dictate(sentences: list[dict[str, str]], seed: int) -> Samples:
    """All sentences with pauses around them, over one bed of noise, at the voice's rate."""
    import numpy as np

    pause = np.zeros(round(PAUSE_SECONDS * VOICE_RATE_HERTZ))
    parts = [pause]
    for sentence in sentences:
        parts += [_speak(sentence["voice"], sentence["text"]).astype(float), pause]
    clean = np.concatenate(parts)
    noise = np.random.default_rng(seed).normal(0.0, NOISE_LSB, len(clean))
    return np.clip(np.round(clean + noise), -32768, 32767).astype(np.int16)


def _speak(voice: str, text: str) -> Samples:
    with tempfile.TemporaryDirectory() as directory:
        wav = Path(directory) / "sentence.wav"
        command = ["flite", "-voice", voice, "-t", spoken_form(text), "-o", str(wav)]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(wav, dtype="int16")
    if rate != VOICE_RATE_HERTZ:
        raise ValueError(f"voice {voice} speaks at {rate} Hz, expected {VOICE_RATE_HERTZ}")
    result: Samples = samples
    return result


def _to_rate(samples: Samples, rate: int) -> Samples:
    """Down to the telephone's 8 kHz by a windowed-sinc low-pass and every second sample."""
    import numpy as np

    if rate == VOICE_RATE_HERTZ:
        return samples
    if rate * 2 != VOICE_RATE_HERTZ:
        raise ValueError(f"recordings are made at 16000 or 8000 Hz, not {rate}")
    taps = np.arange(-32, 33)
    low_pass = 0.45 * np.sinc(0.45 * taps) * np.hamming(len(taps))
    filtered = np.convolve(samples.astype(float), low_pass / low_pass.sum(), mode="same")[::2]
    return np.clip(np.round(filtered), -32768, 32767).astype(np.int16)


if __name__ == "__main__":
    main()
