"""The process-wide registry of live sessions, and the event loop their streams live on.

Beam builds, drops and rebuilds DoFn instances as it likes, so nothing live hangs on them: a worker process
has one `Runtime` with one asyncio loop in a thread, and one `LiveSession` per session. A live session
executes the engine's commands; what comes back from the loop and from log reads waits in its inbox until the
next call from Beam (a chunk or the timer). It is a cache: it may be dropped at any moment, and the session is
recovered from its cursor.

A session whose key has moved to another worker is touched no more; its stream is given up after
`ORPHAN_SECONDS`, and the entry with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.log_scan import LogSlice as RecordSlice
from connectors.kafka.records import KafkaRecord
from pipeline.answers import LogSlice, StreamFailure
from pipeline.commands import (
    Command,
    DropStream,
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    EndStream,
    Forget,
    Observe,
    OpenStream,
    ReadLog,
    Reject,
    RejectSession,
    SendAudio,
)
from pipeline.elements import LogEntry
from pipeline.live_stream import (
    LiveStream,
    ResultsArrived,
    StreamClosed,
    StreamLost,
    StreamOpened,
    StreamReport,
)
from pipeline.outputs import PASSED_HEADERS
from pipeline.service import ServiceSettings
from pipeline.session import Session

_LOG = logging.getLogger(__name__)

ORPHAN_SECONDS = 60.0
_END_OF_LOG = 2**62  # beyond any offset; a read ends at the partition's end as it is then

SessionKey = tuple[str, str]  # the transform's instance, the session id


@dataclass(frozen=True, slots=True)
class FailureReport:
    """A stream was lost, the `failures`th in a row; the engine does about it what it does without a word."""

    failure: StreamFailure
    failures: int


Output = (
    EmitFinal | EmitPartial | EmitSessionEnded | Reject | RejectSession | Observe | Forget | FailureReport
)


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
    """Turns records into entries for the engine, one each, in their order: `ChunkDecoder` for Avro."""

    def entries(self, records: Iterable[KafkaRecord]) -> Iterable[LogEntry]: ...


@dataclass(frozen=True, slots=True)
class LogRead:
    """A log read came back, or failed."""

    command: ReadLog
    records: RecordSlice | None


class Runtime:
    """The loop thread and the live sessions of this process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._sessions: dict[SessionKey, LiveSession] = {}
        self._lock = threading.Lock()
        thread = threading.Thread(target=self.loop.run_forever, name="medstream-streams", daemon=True)
        thread.start()
        self.loop.call_soon_threadsafe(self._sweep)

    def get(self, key: SessionKey) -> LiveSession | None:
        """The live session, touched; None when this process has none."""
        with self._lock:
            live = self._sessions.get(key)
            if live is not None:
                live.touched_at = time.monotonic()
            return live

    def put(self, key: SessionKey, live: LiveSession) -> None:
        """Make `live` the session's entry; one that stood there is dropped."""
        with self._lock:
            old = self._sessions.get(key)
            self._sessions[key] = live
        if old is not None:
            old.drop()

    def remove(self, key: SessionKey) -> None:
        """Drop the session's entry, if there is one."""
        with self._lock:
            live = self._sessions.pop(key, None)
        if live is not None:
            live.drop()

    @property
    def live_streams(self) -> int:
        """Streams of the service that this process holds now."""
        with self._lock:
            return sum(live.streaming for live in self._sessions.values())

    def _sweep(self) -> None:
        now = time.monotonic()
        with self._lock:
            orphans = [key for key, live in self._sessions.items() if live.orphaned(now)]
        for key in orphans:
            self.remove(key)
        self.loop.call_later(ORPHAN_SECONDS / 4, self._sweep)


_runtimes: dict[int, Runtime] = {}
_runtimes_lock = threading.Lock()


def runtime() -> Runtime:
    """This process's runtime; a forked child gets its own."""
    with _runtimes_lock:
        found = _runtimes.get(os.getpid())
        if found is None:
            found = _runtimes[os.getpid()] = Runtime()
        return found


class LiveSession:
    """A session engine with its stream, its inbox and the records at hand. One thread at a time (Beam's rule
    for a key); the lock covers a worker that outlives its bundle.

    `log` reads this session's records again; `decoder` turns records into entries.
    """

    def __init__(
        self,
        session: Session,
        *,
        service: ServiceSettings,
        log: SessionLog,
        topic: str,
        decoder: RecordDecoder,
        loop: asyncio.AbstractEventLoop,
        catch_up_rate: float,
    ) -> None:
        self.session = session
        self.lock = threading.RLock()
        self.touched_at = time.monotonic()
        self.timer_due_at: float | None = None  # monotonic; None: no timer of this process is set
        self._service = service
        self._log = log
        self._topic = topic
        self._decoder = decoder
        self._loop = loop
        self._catch_up_rate = catch_up_rate
        self._inbox: deque[StreamReport | LogRead] = deque()
        self._stream: LiveStream | None = None
        self._records: dict[int, KafkaRecord] = {}
        self._reported: StreamFailure | None = None
        self.trace_headers: dict[str, bytes] = {}

    @property
    def streaming(self) -> bool:
        return self._stream is not None

    def orphaned(self, now: float) -> bool:
        """Untouched although a stream is open, which its timer touches several times a second."""
        allowed_seconds = ORPHAN_SECONDS if self.streaming else 10 * ORPHAN_SECONDS
        return now - self.touched_at > allowed_seconds

    def drop(self) -> None:
        """Give up the stream; the session can be recovered from its cursor at any time."""
        if self._stream is not None:
            self._stream.drop()
            self._stream = None

    # Calls from Beam

    def receive(self, records: Sequence[KafkaRecord], now: float) -> list[Output]:
        """A batch of the session's records from the source, after whatever has arrived meanwhile."""
        outputs = self._drain(now)
        self._keep(records)
        self._note_trace(records[-1])
        self._grant(now, outputs, arriving=True)
        self._execute(self.session.receive_batch(self._decoder.entries(records), now), outputs)
        return outputs

    def handle_timer(self, now: float) -> list[Output]:
        """What has arrived meanwhile, and whatever time brings about."""
        outputs = self._drain(now)
        self._grant(now, outputs)
        self._execute(self.session.handle_timer(now), outputs)
        return outputs

    def _grant(self, now: float, outputs: list[Output], *, arriving: bool = False) -> None:
        if self.session.needs_slot(now, arriving=arriving):
            self._execute(self.session.slot_granted(now), outputs)

    def record(self, offset: int) -> KafkaRecord | None:
        """The record at `offset` among those of the last call's batch and log reads, for its dead letter."""
        return self._records.get(offset)

    def _keep(self, records: Iterable[KafkaRecord]) -> None:
        self._records.update((record.offset, record) for record in records)

    def _note_trace(self, record: KafkaRecord) -> None:
        if record.headers:
            found = {name: record.header(name) for name in PASSED_HEADERS}
            self.trace_headers = {name: value for name, value in found.items() if value is not None}

    # Inbox

    def _drain(self, now: float) -> list[Output]:
        outputs: list[Output] = []
        held = self.session.held_offsets
        self._records = {offset: self._records[offset] for offset in held if offset in self._records}
        while self._inbox:
            self._execute(self._dispatch(self._inbox.popleft(), now), outputs)
        if self._stream is not None:
            progress = self.session.stream_progress(self._stream.serial, self._stream.written_samples, now)
            self._execute(progress, outputs)
        return outputs

    def _dispatch(self, event: StreamReport | LogRead, now: float) -> list[Command]:
        match event:
            case ResultsArrived(serial, results):
                return self.session.receive_results(serial, results, now)
            case StreamOpened(serial, stream_id, request_id):
                return self.session.stream_opened(serial, stream_id, request_id, now)
            case StreamClosed(serial):
                self._forget_stream(serial)
                return self.session.stream_closed(serial, now)
            case StreamLost(serial, failure):
                self._forget_stream(serial)
                return self.session.stream_failed(serial, failure, now)
            case LogRead(command, records):
                if records is None:
                    _LOG.warning("Audio could not be read again from Kafka; it is tried again")
                    return self.session.log_failed(command.read_id, now)
                return self.session.receive_log(command.read_id, self._slice(records, command), now)

    def _forget_stream(self, serial: int) -> None:
        if self._stream is not None and self._stream.serial == serial:
            self._stream = None

    def _slice(self, read: RecordSlice, command: ReadLog) -> LogSlice:
        """The records as entries, no more of them than hold `max_bytes` of PCM: compressed audio grows when
        it is decoded, and there is only so much room for it. The rest is read again.
        """
        self._keep(read.records)
        entries: list[LogEntry] = []
        pcm_bytes = 0
        for entry in self._decoder.entries(read.records):
            pcm_bytes += 0 if entry.chunk is None else len(entry.chunk.payload)
            if entries and pcm_bytes > command.max_bytes:
                return LogSlice(tuple(entries), entry.offset, complete=False, lost=read.lost)
            entries.append(entry)
        # Without an end the range is complete when a read finds nothing more of this session.
        complete = read.complete or (command.end_offset is None and not read.records)
        return LogSlice(tuple(entries), read.next_offset, complete=complete, lost=read.lost)

    # Commands

    def _execute(self, commands: Iterable[Command], outputs: list[Output]) -> None:
        """Carry out what one call of the engine answered, and report a stream that the call gave up."""
        failure = self.session.last_failure
        if failure is not None and failure is not self._reported:
            self._reported = failure
            _LOG.warning("A stream was lost: %s: %s", failure.code, failure.message)
            outputs.append(FailureReport(failure, self.session.failures))
        for command in commands:
            match command:
                case SendAudio(serial, payload):
                    if self._stream is not None and self._stream.serial == serial:
                        self._stream.send(payload)
                case OpenStream():
                    self._open(command)
                case EndStream(serial):
                    if self._stream is not None and self._stream.serial == serial:
                        self._stream.end()
                case DropStream():
                    self.drop()
                case ReadLog():
                    self._read(command)
                case _:
                    outputs.append(command)

    def _open(self, command: OpenStream) -> None:
        self.drop()
        service, audio, settings = self._service, command.format, command.settings
        self._stream = LiveStream(
            command.serial,
            audio,
            lambda stream_id: service.open_stream(audio, settings, stream_id),
            loop=self._loop,
            report=self._inbox.append,
            catch_up_rate=self._catch_up_rate,
            resample_to_hertz=service.resample_to_hertz,
        )

    def _read(self, command: ReadLog) -> None:
        read = self._log.read(
            self._topic,
            self.session.partition,
            self.session.session_id.encode(),
            command.start_offset,
            _END_OF_LOG if command.end_offset is None else command.end_offset,
            max_bytes=command.max_bytes,
        )
        read.add_done_callback(_deliver(self._inbox.append, command))


def _deliver(report: Callable[[LogRead], None], command: ReadLog) -> Callable[[Future[RecordSlice]], None]:
    def done(read: Future[RecordSlice]) -> None:
        try:
            report(LogRead(command, read.result()))
        except KafkaConnectorError:
            report(LogRead(command, None))

    return done
