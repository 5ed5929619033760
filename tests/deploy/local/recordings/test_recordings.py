"""The recordings in the repository: whole, as the manifest says, and small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from deploy.local.recordings import DIRECTORY, MANIFEST, RecordingError, load_recordings


def test_every_listed_recording_loads_with_its_length() -> None:
    manifest = json.loads(MANIFEST.read_text())
    recordings = load_recordings()
    assert len(recordings) == len(manifest) >= 4
    for recording, entry in zip(recordings, manifest, strict=True):
        assert recording.duration_seconds == pytest.approx(entry["seconds"], abs=0.01)
        assert 15 <= recording.duration_seconds <= 25


def test_recordings_cover_the_cases_the_demo_shows() -> None:
    recordings = load_recordings()
    said = "The patient was in and out of sinus rhythm with a heart rate of 75 beats per minute."
    assert any(said in recording.reference for recording in recordings)
    assert {recording.sample_rate_hertz for recording in recordings} == {8_000, 16_000}
    assert {recording.type for recording in recordings} == {"CONVERSATION", "DICTATION"}
    assert len({recording.specialty for recording in recordings}) == len(recordings)


def test_no_file_lies_unlisted_and_all_together_are_small() -> None:
    listed = {entry["file"] for entry in json.loads(MANIFEST.read_text())}
    assert listed == {f"audio/{path.name}" for path in (DIRECTORY / "audio").iterdir()}
    size_bytes = sum(
        path.stat().st_size for path in DIRECTORY.rglob("*") if path.suffix != ".pyc" and path.is_file()
    )
    assert size_bytes < 3_000_000


def test_audio_and_text_stay_out_of_repr() -> None:
    recording = load_recordings()[0]
    assert "sinus" not in repr(recording)
    assert "pcm" not in repr(recording)


def test_a_recording_of_another_rate_than_listed_is_refused(tmp_path: Path) -> None:
    manifest = _manifest_of_silence(tmp_path, rate=16_000, channels=1)
    with pytest.raises(RecordingError, match=r"one\.flac has 1 channel\(s\) at 16000 Hz"):
        load_recordings(manifest)


def test_a_stereo_recording_is_refused(tmp_path: Path) -> None:
    manifest = _manifest_of_silence(tmp_path, rate=8_000, channels=2)
    with pytest.raises(RecordingError, match=r"2 channel\(s\)"):
        load_recordings(manifest)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    manifest = _manifest_of_silence(tmp_path, rate=8_000, channels=1)
    assert len(load_recordings(manifest)) == 1
    (tmp_path / "one.flac").write_bytes(b"not audio")
    with pytest.raises(RecordingError, match=r"one\.flac"):
        load_recordings(manifest)
    (tmp_path / "one.flac").unlink()
    with pytest.raises(RecordingError, match=r"one\.flac"):
        load_recordings(manifest)


def _manifest_of_silence(directory: Path, rate: int, channels: int) -> Path:
    soundfile.write(directory / "one.flac", [[0.0] * channels] * 160, rate)
    manifest = directory / "recordings.json"
    entry = {"name": "one", "title": "", "specialty": "UROLOGY", "type": "DICTATION", "reference": ""}
    manifest.write_text(json.dumps([entry | {"file": "one.flac", "sample_rate_hertz": 8_000}]))
    return manifest
