"""Errors of recordings, files of recorded records.

KafkaConnectorError
+-- RecordingError
    +-- NotARecording
    +-- DamagedRecording         what comes before the damage was given out
    +-- UnwritableRecording
"""

from __future__ import annotations

from connectors.kafka.errors import KafkaConnectorError


class RecordingError(KafkaConnectorError):
    """A recording cannot be read or written; `path` is its file."""

    path: str


class NotARecording(RecordingError):
    """The file is no Avro container of recorded records."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} is no recording: {problem}. medstream record makes one.")
        self.path = path
        self.problem = problem


class DamagedRecording(RecordingError):
    """A recording that is cut short or was changed; `records` before the damage are good."""

    def __init__(self, path: str, records: int, position_bytes: int, problem: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {position_bytes}, after {records} records: {problem}. The records "
            "before are good; copy the file again, or record the topic again."
        )
        self.path = path
        self.records = records
        self.position_bytes = position_bytes
        self.problem = problem


class UnwritableRecording(RecordingError):
    """The file cannot be written; `problem` says why and what to do."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"Cannot write {path}: {problem}")
        self.path = path
        self.problem = problem
