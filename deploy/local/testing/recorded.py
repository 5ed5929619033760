"""What a recording has in it, as far as a test run must know before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.recordings.recording import RecordingReader
from pipeline.audio.decoding import ChunkDecoder
from pipeline.errors import SettingsError
from pipeline.recordings.recording_report import RecordingReport
from schemas.serdes import SerdeSettings


@dataclass(frozen=True, slots=True)
class Recorded:
    """`sessions`: their names; `unended`: those without an end mark. `partitions`: how many a topic needs to
    have for it. `longest_seconds`: audio of the longest session.
    """

    records: int
    sessions: tuple[str, ...]
    unended: tuple[str, ...]
    partitions: int
    longest_seconds: float


def read_recorded(path: Path, serdes: SerdeSettings) -> Recorded:
    """Reads all of it. Raises RecordingError, RegistryError, SettingsError when it is empty."""
    report = RecordingReport(ChunkDecoder(serdes.reader("audio_chunk")).decode)
    with RecordingReader(path) as reader:
        for record in reader:
            report.add(record)
    if not report.records:
        raise SettingsError("RECORDING", f"{path} has no records")
    sessions = report.sessions.values()
    return Recorded(
        records=report.records,
        sessions=tuple(session.session for session in sessions if session.chunks),
        unended=tuple(session.session for session in sessions if session.chunks and not session.complete),
        partitions=1 + max(partition for _, partition in report.partitions),
        longest_seconds=max(session.audio_seconds for session in sessions),
    )
