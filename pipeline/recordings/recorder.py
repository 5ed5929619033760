"""A topic's range into a recording: what `medstream record` does once it is set up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange
from connectors.kafka.recordings.recording import RecordingWriter
from connectors.kafka.recordings.time_merge import Place
from connectors.kafka.recordings.topic_reader import TopicReader
from pipeline.errors import SettingsError
from pipeline.recordings.record_selection import session_filter

_FLUSH_SECONDS = 1.0
"""So much of a live topic, at most, is not yet in the file."""


@dataclass(frozen=True, slots=True)
class RecordingRange:
    """What is to be recorded. A resumed recording finds it in its file."""

    topic: str
    partitions: Mapping[int, PartitionRange]
    sessions: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether only an interruption ends it."""
        return any(not offsets.is_bounded for offsets in self.partitions.values())

    @property
    def offsets(self) -> int | None:
        """How many offsets there are to read; None when there is no end."""
        return None if self.is_live else sum(one.stop - one.start for one in self.partitions.values())

    def to_json(self) -> dict[str, Any]:
        """As the recording's header keeps it; a stop of null is none."""
        offsets = {
            str(number): [one.start, one.stop if one.is_bounded else None]
            for number, one in sorted(self.partitions.items())
        }
        return {"topic": self.topic, "offsets": offsets, "sessions": list(self.sessions)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], name: str) -> RecordingRange:
        """What `to_json` made; `name` is the file's. Raises SettingsError."""
        try:
            partitions = {
                int(number): PartitionRange(start, UNBOUNDED if stop is None else stop)
                for number, (start, stop) in fields["offsets"].items()
            }
            return cls(fields["topic"], partitions, tuple(fields["sessions"]))
        except (KeyError, TypeError, ValueError):
            raise SettingsError("--resume", f"{name} does not say what was recorded; begin anew") from None


@dataclass(slots=True)
class Progress:
    """How far a recording is."""

    records: int = 0
    size_bytes: int = 0
    offsets_read: int = 0
    lost_offsets: int = 0


def begin(
    path: Path, wanted: RecordingRange, codec: str, *, resume: bool, overwrite: bool
) -> tuple[RecordingWriter, RecordingRange]:
    """The writer, and the range that it has. Raises UnwritableRecording, NotARecording, SettingsError."""
    if not resume:
        return RecordingWriter.create(path, wanted.to_json(), codec, overwrite=overwrite), wanted
    writer, fields = RecordingWriter.resume(path)
    try:
        found = RecordingRange.from_json(fields, path.name)
        if (found.topic, found.sessions) != (wanted.topic, wanted.sessions):
            raise SettingsError("--resume", f"{path.name}.partial is of another topic or other --sessions")
    except SettingsError:
        writer.close()
        raise
    return writer, found


def record(
    config: ClientConfig,
    range_: RecordingRange,
    writer: RecordingWriter,
    *,
    skip_lost: bool,
    interrupted: Callable[[], bool],
    show: Callable[[Progress], None],
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Read the range, behind what the writer has, until its end or an interruption. The writer stays open.

    Raises KafkaConnectorError.
    """
    wanted = session_filter(range_.sessions)
    reader = TopicReader(config, _rest(range_, writer), skip_lost=skip_lost)
    progress, flushed_at = Progress(), clock()
    first = sum(one.start for one in range_.partitions.values())
    for records in reader:
        for one in records:
            if wanted(one.key):
                writer.write(one)
        if clock() - flushed_at >= _FLUSH_SECONDS:
            writer.flush()
            flushed_at = clock()
        progress.records, progress.size_bytes = writer.records, writer.size_bytes
        progress.offsets_read = sum(reader.positions.values()) - first
        progress.lost_offsets = reader.lost_offsets
        show(progress)
        if interrupted():
            break
    return progress


def _rest(range_: RecordingRange, writer: RecordingWriter) -> dict[Place, PartitionRange]:
    rest = {}
    for number, offsets in range_.partitions.items():
        start = max(offsets.start, writer.next_offsets.get((range_.topic, number), offsets.start))
        rest[range_.topic, number] = PartitionRange(min(start, offsets.stop), offsets.stop)
    return rest
