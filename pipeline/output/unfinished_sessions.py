"""Sessions that a job without checkpoint goes on with: those whose markers say that more is to come.

A job that starts from committed offsets has no state. The markers of the progress topic hold each session's
cursor, so its audio is read again from where finals end, and its timeline and numbers go on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from connectors.kafka.compacted import read_table
from connectors.kafka.delivery import PROGRESS_TOPIC
from connectors.kafka.reading.drain_requests import DRAIN_KEY
from connectors.kafka.records import KafkaRecord
from pipeline.output.progress import SessionProgress
from pipeline.settings import JobSettings
from schemas.serde import shared_serde


class UnfinishedSessions:
    """The markers as they were when this worker process began, each good for one use. Thread-safe."""

    def __init__(self, settings: JobSettings, markers: Iterable[SessionProgress]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._found = {marker.session_id: marker for marker in markers}

    def take(self, record: KafkaRecord, session_id: str) -> SessionProgress | None:
        """The marker of the session that `record` belongs to, None when it begins another or has begun here.

        A record that finals cover belongs to a session that has ended, too: it is read once more.
        """
        with self._lock:
            marker = self._found.pop(session_id, None)
        if marker is None or marker.cursor is None or not is_of_input(self._settings, marker):
            return None
        same = marker.opening.partition == record.partition and marker.opening.offset <= record.offset
        goes_on = marker.ended_at_ms is None or record.offset < marker.resume_offset
        return marker if same and goes_on else None

    def discard(self, session_id: str) -> None:
        """The session has state; the marker is of no use any more."""
        if self._found:
            with self._lock:
                self._found.pop(session_id, None)


def read_markers(settings: JobSettings) -> list[SessionProgress]:
    """All markers of the job's progress topic. Raises KafkaConnectorError."""
    serde = shared_serde("session_progress")
    table = read_table(settings.kafka, settings.topics.progress, setting=PROGRESS_TOPIC)
    values = (
        value for partition in table.values.values() for key, value in partition.items() if key != DRAIN_KEY
    )
    return [SessionProgress.from_record(serde.decode(value)) for value in values]


def resume_offsets(settings: JobSettings) -> Mapping[tuple[str, int], int]:
    """By input topic and partition: the first offset that an unfinished session needs."""
    offsets: dict[tuple[str, int], int] = {}
    for marker in read_markers(settings):
        if marker.ended_at_ms is None and is_of_input(settings, marker):
            place = marker.opening.topic, marker.opening.partition
            offsets[place] = min(marker.resume_offset, offsets.get(place, marker.resume_offset))
    return offsets


def is_of_input(settings: JobSettings, marker: SessionProgress) -> bool:
    """Whether the session's audio is on the job's input topic, and not on one of the same name before it."""
    opening = marker.opening
    return (opening.topic, opening.topic_id) == (settings.topics.audio, settings.audio_topic_id)


_SHARED: dict[str, UnfinishedSessions] = {}
_SHARED_LOCK = threading.Lock()


def unfinished_sessions(settings: JobSettings) -> UnfinishedSessions:
    """The process's, read once for each job. Raises KafkaConnectorError."""
    with _SHARED_LOCK:
        if settings.job_id not in _SHARED:
            _SHARED[settings.job_id] = UnfinishedSessions(settings, read_markers(settings))
        return _SHARED[settings.job_id]
