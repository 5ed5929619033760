"""A session engine with what its commands move: its stream, its slot, its log, the records at hand.

A live session executes the engine's commands; what comes back from the event loop and from log reads waits
in its inbox until the next call from Beam (a chunk or the timer). It is a cache: it may be dropped at any
moment, and the session is recovered from its cursor. `live_streams` keeps it.

Before each call of the engine the session asks for a slot if the engine needs one, and after it the slot, or
the place in the queue, is given back if the engine needs it no more.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from pipeline.elements import FinalTranscript
from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import (
    Command,
    DropStream,
    EmitFinal,
    EndStream,
    OpenStream,
    ReadLog,
    SendAudio,
    StreamOver,
)
from pipeline.engine.failures import FailureKind
from pipeline.engine.hearing import Hearing, hear
from pipeline.engine.session import Session
from pipeline.engine.session_state import SessionState
from pipeline.observability.tracing import NO_SPAN, StreamSpan, stream_spans
from pipeline.output.outputs import PASSED_HEADERS
from pipeline.worker.live_outputs import FailureReport, Measured, Output
from pipeline.worker.live_stream import (
    LiveStream,
    ResultsArrived,
    StreamClosed,
    StreamLost,
    StreamOpened,
    StreamReport,
)
from pipeline.worker.service import ServiceSettings
from pipeline.worker.session_log import LogRead, RecordDecoder, SessionLog, read_log, slice_of
from pipeline.worker.shared_slots import SharedSlots, SlotClaim

_LOG = logging.getLogger(__name__)

ORPHAN_SECONDS = 60.0
_SAMPLE_SECONDS = 1.0  # between two samples of the audio that waits for the wire


class LiveSession:
    """A session engine with its stream, its inbox and the records at hand. One thread at a time (Beam's rule
    for a key); the lock covers a worker that outlives its bundle.

    `log` reads this session's records again; `decoder` turns records into entries. `slots` are those of the
    worker; None: the session may always have a stream. `heard` says what this worker has heard of each
    partition; the session keeps its own partition's entry.
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
        slots: SharedSlots | None = None,
        heard: dict[int, Hearing] | None = None,
    ) -> None:
        self.session = session
        self.lock = threading.RLock()
        self.touched_at = time.monotonic()
        self.timer_due_at: float | None = None  # monotonic; None: no timer of this process is set
        self.ends_with_input = False  # whether Beam's timer for the end of input is known to be set
        self.end_polled_at = -math.inf
        self.stored: bytes | None = None  # the cursor as this one wrote it to the state last
        self._service = service
        self._log = log
        self._topic = topic
        self._decoder = decoder
        self._loop = loop
        self._catch_up_rate = catch_up_rate
        self._slots = slots
        self._heard = {} if heard is None else heard
        self._claim: SlotClaim | None = None
        self._dropped = False
        self._inbox: deque[StreamReport | LogRead] = deque()
        self._stream: LiveStream | None = None
        self._records: dict[int, KafkaRecord] = {}
        self._reported: StreamFailure | None = None
        self._sample_at = -math.inf
        self._restored = session.state is SessionState.WAITING
        self._lost_at: float | None = None
        self._waits_since_ms: int | None = None  # timestamp of the first record that waits in the log
        self._span: StreamSpan = NO_SPAN
        self.trace_headers: dict[str, bytes] = {}

    @property
    def streaming(self) -> bool:
        return self._stream is not None

    def lag_seconds(self, now_ms: int) -> float:
        """Age of the oldest audio that is known here and not on the wire, by the records' timestamps (Unix
        time); 0 without. May be read by any thread.
        """
        stream, since_ms = self._stream, self._waits_since_ms
        in_log_seconds = 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000
        return in_log_seconds + (0.0 if stream is None else stream.waiting_seconds)

    def orphaned(self, now: float) -> bool:
        """Untouched although it has a stream or waits for one, which its timer touches every half second."""
        allowed_seconds = ORPHAN_SECONDS if self.streaming or self._claim is not None else 10 * ORPHAN_SECONDS
        return now - self.touched_at > allowed_seconds

    def drop(self) -> None:
        """Give up stream and slot for good; the session can be recovered from its cursor at any time."""
        self._dropped = True
        self._drop_stream()
        self._span.end(None)
        self._leave_slot()

    # Calls from Beam

    def receive(self, records: Sequence[KafkaRecord], now: float) -> list[Output]:
        """A batch of the session's records from the source, after whatever has arrived meanwhile."""
        self._hear_of(records[-1], now)
        outputs = self._drain(now)
        self._keep(records)
        self._note_trace(records[-1])
        entries = self._decoder.entries(records)
        self._call(partial(self.session.receive_batch, entries, now), now, outputs, arriving=True)
        if self._waits_since_ms is None or not self.session.behind:
            self._note_waiting(records[:1])
        return outputs

    def _hear_of(self, record: KafkaRecord, now: float) -> None:
        age_ms = 0 if record.timestamp_ms == NO_TIMESTAMP else max(0, _now_ms() - record.timestamp_ms)
        partition = self.session.partition
        self._heard[partition] = hear(self._heard.get(partition), now, age_ms / 1000)

    def handle_timer(self, now: float) -> list[Output]:
        """What has arrived meanwhile, and whatever time brings about."""
        outputs = self._drain(now)
        source = self._heard.get(self.session.partition)
        self._call(partial(self.session.handle_timer, now, source=source), now, outputs)
        return outputs

    def suspend(self, now: float) -> list[Output]:
        """Instead of `handle_timer`, when the job is drained, until the session is `at_rest`."""
        outputs = self._drain(now)
        self._call(partial(self.session.suspend, now), now, outputs)
        return outputs

    def record(self, offset: int) -> KafkaRecord | None:
        """The record at `offset`, for its dead letter: among those of the last call's batch and log reads,
        and those whose chunks the engine still holds to put them in order.
        """
        return self._records.get(offset)

    def _note_waiting(self, records: Sequence[KafkaRecord]) -> None:
        """Audio waits in the log from about the last of `records` on, if any waits."""
        if not self.session.behind:
            self._waits_since_ms = None
        elif records:
            written_ms = records[-1].timestamp_ms
            self._waits_since_ms = _now_ms() if written_ms == NO_TIMESTAMP else written_ms

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
            self._call(partial(self._dispatch, self._inbox.popleft(), now), now, outputs)
        stream = self._stream
        if stream is not None:
            progress = partial(self.session.stream_progress, stream.serial, stream.written_samples, now)
            self._call(progress, now, outputs)
            self._sample(stream, now, outputs)
        return outputs

    def _sample(self, stream: LiveStream, now: float, outputs: list[Output]) -> None:
        if now >= self._sample_at:
            self._sample_at = now + _SAMPLE_SECONDS
            outputs.append(Measured("outbound_ms", round(1000 * stream.waiting_seconds)))

    def _time_recovery(self, now: float, outputs: list[Output]) -> None:
        """Measure from the loss of a stream, or a restore, until audio flows live again."""
        if self.session.state in (SessionState.WAITING, SessionState.RECOVERING):
            if self._lost_at is None and (self._restored or self.session.failures):
                self._lost_at = now
        elif self.session.state not in (SessionState.OPENING, SessionState.BEHIND):
            if self._lost_at is not None and not self.session.state.finished:
                outputs.append(Measured("recovery_ms", round(1000 * (now - self._lost_at))))
            self._restored, self._lost_at = False, None

    def _dispatch(self, event: StreamReport | LogRead, now: float) -> list[Command]:
        match event:
            case ResultsArrived(serial, results):
                return self.session.receive_results(serial, results, now)
            case StreamOpened(serial, stream_id, request_id):
                self._span.opened(stream_id, request_id)
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
                self._keep(records.records)
                commands = self.session.receive_log(
                    command.read_id, slice_of(records, command, self._decoder), now
                )
                self._note_waiting(records.records)
                return commands

    def _forget_stream(self, serial: int) -> None:
        if self._stream is not None and self._stream.serial == serial:
            self._stream = None

    # Slots

    def _call(
        self, event: Callable[[], list[Command]], now: float, outputs: list[Output], *, arriving: bool = False
    ) -> None:
        """Hand one event to the engine, with a slot if it needs one and there is one, and do as it answers.

        `arriving`: the event is a batch of records.
        """
        if self.session.needs_slot(now, arriving=arriving) and self._gets_slot(outputs):
            self._execute(self.session.slot_granted(now), outputs)
        self._execute(event(), outputs)
        self._time_recovery(now, outputs)
        claim = self._claim
        if claim is None or self.session.holds_slot:
            return
        if claim.granted or not self.session.needs_slot(now):
            self._leave_slot()

    def _gets_slot(self, outputs: list[Output]) -> bool:
        granted = True
        if self._slots is not None:
            claim = self._claim = self._claim or self._slots.claim()
            granted = claim.ask()
            if granted:
                outputs.append(Measured("slot_wait_ms", round(1000 * claim.waited_seconds)))
        if self._dropped:  # maybe just now, by another thread, which did not see this claim
            self._leave_slot()
        return granted and not self._dropped

    def _leave_slot(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.leave()

    # Commands

    def _execute(self, commands: Iterable[Command], outputs: list[Output]) -> None:
        """Carry out what one call of the engine answered, and report a stream that the call gave up."""
        self._report_failure(outputs)
        for command in commands:
            match command:
                case SendAudio() | EndStream():
                    self._hand_over(command)
                case OpenStream():
                    self._open(command)
                case DropStream():
                    self._drop_stream()
                case ReadLog():
                    self._read(command)
                case EmitFinal(final):
                    outputs += [*_latency(final), command]
                case StreamOver():
                    self._span.end(command)
                case _:
                    outputs.append(command)

    def _hand_over(self, command: SendAudio | EndStream) -> None:
        """To the stream that it is meant for; one that was given up takes nothing."""
        stream = self._stream
        if stream is None or stream.serial != command.serial:
            return
        if isinstance(command, SendAudio):
            stream.send(command.payload)
        else:
            stream.end()

    def _report_failure(self, outputs: list[Output]) -> None:
        failure = self.session.last_failure
        if failure is not None and failure is not self._reported:
            self._reported = failure
            fields = {"code": failure.code, "kind": failure.kind.value, "failures": self.session.failures}
            _LOG.warning("A stream was lost: %s: %s", failure.code, failure.message, extra=fields)
            outputs.append(FailureReport(failure, self.session.failures))

    def _open(self, command: OpenStream) -> None:
        self._drop_stream()
        service, audio, settings, claim = self._service, command.format, command.settings, self._claim
        place = (self._topic, self.session.partition)
        self._span.end(None)
        self._span = stream_spans().begin(service, audio, place, self.trace_headers)
        if claim is not None:
            claim.stream_begins()
        self._stream = LiveStream(
            command.serial,
            audio,
            lambda stream_id: service.open_stream(audio, settings, stream_id),
            loop=self._loop,
            report=partial(self._take_report, claim),
            catch_up_rate=self._catch_up_rate,
            resample_to_hertz=service.resample_to_hertz,
            ended=_nothing if claim is None else claim.stream_ended,
        )
        if self._dropped:  # maybe just now, by another thread, which did not see this stream
            self._drop_stream()
            self._span.end(None)

    def _take_report(self, claim: SlotClaim | None, report: StreamReport) -> None:
        """Called on the loop: the slots hear at once what the engine hears with the next call from Beam."""
        if claim is not None:
            if isinstance(report, StreamOpened):
                claim.stream_opened()
            elif isinstance(report, StreamLost) and report.failure.kind is FailureKind.THROTTLED:
                claim.stream_throttled()
        self._inbox.append(report)

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.drop()
            self._stream = None

    def _read(self, command: ReadLog) -> None:
        read_log(self._log, self._topic, self.session, command, self._inbox.append)


def _latency(final: FinalTranscript) -> Iterator[Measured]:
    """From the final's last word until now, if it is known when that was spoken."""
    if final.spoken_at_ms is not None:
        yield Measured("final_latency_ms", max(0, _now_ms() - final.spoken_at_ms))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _nothing() -> None:
    """What there is to do without a slot."""
