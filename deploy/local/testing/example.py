"""The example that comes with medstream: three synthetic sessions as a recording, and what is heard in them.

The recording is made of the dictations' audio files when it is asked for, the same each time; EXPECTED is
what the pipeline hears in it with pocketsphinx (recordings/PROVENANCE.md says how it was made).
"""

from __future__ import annotations

from pathlib import Path

from connectors.kafka.recordings.recording import RecordingWriter
from deploy.local.recordings import DIRECTORY
from pipeline.audio.audio_file import DeclaredFormat
from pipeline.recordings.audio_recording import audio_records, session_names

EXPECTED = DIRECTORY / "expected.json"
NAMES = ("primary-care-telephone-visit", "radiology-chest", "urology-urinary-infection")
NOTE = (
    "Synthetic speech (PROVENANCE.md). Written by `make expected`: what pocketsphinx hears, errors included."
)
_STARTED_AT_MS = 1_790_000_000_000
_STAGGER_SECONDS = 1.0


def make_recording(path: Path) -> None:
    """Write the example's recording. Raises SettingsError, UnwritableRecording."""
    files = [DIRECTORY / "audio" / f"{name}.flac" for name in NAMES]
    records = audio_records(
        files,
        DeclaredFormat(None, None),
        topic="audio",
        partitions=2,
        started_at_ms=_STARTED_AT_MS,
        stagger_seconds=_STAGGER_SECONDS,
    )
    writer = RecordingWriter.create(path, {"topic": "audio", "sessions": session_names(files)})
    try:
        for record in records:
            writer.write(record)
        writer.finish()
    finally:
        writer.close()
