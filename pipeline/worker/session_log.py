"""Reading a session's records again: what a log is, how it is asked, what the engine gets of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.log_scan import LogSlice as RecordSlice
from connectors.kafka.records import KafkaRecord
from pipeline.elements import LogEntry
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import ReadLog
from pipeline.engine.session import Session

_END_OF_LOG = 2**62  # beyond any offset; a read ends at the partition's end as it is then


class SessionLog(Protocol):
    """Where a session's records can be read again: `AudioLog` for Kafka, which documents the method."""

    def read(
        self,
        topic: str,
        partition: int,
        key: bytes,
        start_offset: int,
        end_offset: int,
        /,
        *,
        max_bytes: int,
    ) -> Future[RecordSlice]: ...


class RecordDecoder(Protocol):
    """Turns records into entries for the engine, one each, in their order: `ChunkDecoder` of a topic."""

    def entries(self, records: Iterable[KafkaRecord]) -> Iterable[LogEntry]: ...


@dataclass(frozen=True, slots=True)
class LogRead:
    """A log read came back, or failed (`records` None)."""

    command: ReadLog
    records: RecordSlice | None


def read_log(
    log: SessionLog, topic: str, session: Session, command: ReadLog, report: Callable[[LogRead], None]
) -> None:
    """Ask `log` for what the engine wants; the answer is reported, from any thread."""

    def done(read: Future[RecordSlice]) -> None:
        try:
            report(LogRead(command, read.result()))
        except KafkaConnectorError:
            report(LogRead(command, None))

    end_offset = _END_OF_LOG if command.end_offset is None else command.end_offset
    key = session.session_id.encode()
    read = log.read(
        topic, session.partition, key, command.start_offset, end_offset, max_bytes=command.max_bytes
    )
    read.add_done_callback(done)


def slice_of(read: RecordSlice, command: ReadLog, decoder: RecordDecoder) -> LogSlice:
    """The records as entries, no more of them than hold `max_bytes` of PCM: compressed audio grows when it is
    decoded, and there is only so much room for it. The rest is read again.
    """
    entries: list[LogEntry] = []
    pcm_bytes = 0
    for entry in decoder.entries(read.records):
        pcm_bytes += 0 if entry.chunk is None else len(entry.chunk.payload)
        if entries and pcm_bytes > command.max_bytes:
            return LogSlice(tuple(entries), entry.offset, complete=False, lost=read.lost)
        entries.append(entry)
    # Without an end the range is complete when a read finds nothing more of this session.
    complete = read.complete or (command.end_offset is None and not read.records)
    return LogSlice(tuple(entries), read.next_offset, complete=complete, lost=read.lost)
