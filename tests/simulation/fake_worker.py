"""A worker process: its registry of live sessions, its slots, and the shell that carries out commands.

It does what `live_streams` and the stateful transform do, without threads and sockets: whatever arrives waits
in a session's inbox until the next call from Beam, the commands of one call are executed in order, a session
that nobody touches any more loses its stream to the orphan sweep.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from pipeline.elements import LogEntry
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import (
    Command,
    DropStream,
    EndStream,
    Observe,
    OpenStream,
    ReadLog,
    Reject,
    SendAudio,
    StreamOver,
)
from pipeline.engine.failures import FailureKind
from pipeline.engine.hearing import Hearing
from pipeline.engine.session import Session
from pipeline.worker.live_session import ORPHAN_SECONDS
from pipeline.worker.shared_slots import SharedSlots, SlotClaim
from tests.simulation.fake_service import Closed, FakeService, FakeStream, Heard, Lost, Opened, Report
from tests.simulation.scheduler import Scheduler

_MANY_OPENINGS_PER_SECOND = 1000.0  # the ramp has tests of its own


@dataclass(frozen=True, slots=True)
class LogRead:
    """A log read came back, or failed."""

    read_id: int
    log: LogSlice | None


Engine = Callable[..., list[Command]]


class FakeWorker:
    """One process. `paused`: it stands still, its streams with it (SIGSTOP, or a machine that swaps).

    `seen` counts what engines have observed, by the name of the metric.
    """

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        service: FakeService,
        slots: int | None,
        seen: Counter[str],
    ) -> None:
        self.name = name
        self.seen = seen
        self.paused = False
        self.sessions: dict[str, FakeLive] = {}
        self.service = service
        self.scheduler = scheduler
        self.connections = 0
        self.source: Hearing | None = None  # of the input, in this process
        self.slots: SharedSlots | None = None
        self._max_slots = slots
        self._clock_offset_seconds = 0.0
        self._life = 0  # grows with every kill: what belonged to an earlier process counts no more
        self.start()

    def start(self) -> None:
        """Begin with nothing, as a process does that has just been started."""
        self.sessions, self.connections, self.source = {}, 0, None
        self._life += 1
        self._clock_offset_seconds = self.service.rng.uniform(0.0, 1e6)
        if self._max_slots is not None:
            self.slots = SharedSlots(self._max_slots, _MANY_OPENINGS_PER_SECOND, lambda: self.now)

    @property
    def now(self) -> float:
        """Seconds of this process's monotonic clock, which has nothing to do with that of another."""
        return self.scheduler.now + self._clock_offset_seconds

    def kill(self) -> None:
        """The process is gone; its connections break, and another process takes its place."""
        for live in self.sessions.values():
            if live.stream is not None:
                live.stream.drop()
        self.paused = False
        self.start()

    def get(self, session_id: str) -> FakeLive | None:
        """The live session, touched."""
        live = self.sessions.get(session_id)
        if live is not None:
            live.touched_at = self.now
        return live

    def put(self, session_id: str, live: FakeLive) -> None:
        """Make `live` the session's entry; one that stood there is dropped."""
        old = self.sessions.get(session_id)
        self.sessions[session_id] = live
        if old is not None:
            old.drop()

    def remove(self, session_id: str) -> None:
        """Drop the session's entry, if there is one."""
        live = self.sessions.pop(session_id, None)
        if live is not None:
            live.drop()

    def sweep(self) -> None:
        """Drop what nobody has touched for long; comes again and again."""
        if not self.paused:
            for session_id, live in list(self.sessions.items()):
                if live.orphaned(self.now):
                    self.remove(session_id)
        self.scheduler.after(ORPHAN_SECONDS / 4, self.sweep)

    @property
    def busy(self) -> bool:
        """Whether this process holds a stream, a connection that is closing, or a slot."""
        holds_stream = any(live.stream is not None for live in self.sessions.values())
        return holds_stream or self.connections > 0 or (self.slots is not None and self.slots.levels.live > 0)

    def connect(self, opening: OpenStream, live: FakeLive, claim: SlotClaim | None) -> FakeStream:
        """Open a stream of the service; never more of them than slots, those that are closing included."""
        self.connections += 1
        assert self._max_slots is None or self.connections <= self._max_slots, "more streams than slots"
        if claim is not None:
            claim.stream_begins()

        def report(event: Report) -> None:
            live.take_report(claim, event)

        def ended(life: int = self._life) -> None:
            if life == self._life:
                self.connections -= 1
                if claim is not None:
                    claim.stream_ended()

        return self.service.open(opening.serial, opening.format, report, self, ended)


class FakeLive:
    """A session engine with its stream, its inbox and the offsets of the records at hand."""

    def __init__(
        self, session: Session, worker: FakeWorker, read: Callable[[FakeLive, ReadLog], None]
    ) -> None:
        self.session = session
        self.stream: FakeStream | None = None
        self.timer_due_at: float | None = None
        self.touched_at = worker.now
        self.dropped = False
        self.max_read_bytes = 0
        self.worker = worker
        self._claim: SlotClaim | None = None
        self._read = read
        self._inbox: deque[Report | LogRead] = deque()
        self._records: set[int] = set()

    def orphaned(self, now: float) -> bool:
        """Untouched for longer than any timer would leave it."""
        busy = self.stream is not None or self._claim is not None
        allowed_seconds = ORPHAN_SECONDS if busy else 10 * ORPHAN_SECONDS
        return now - self.touched_at > allowed_seconds

    def drop(self) -> None:
        """Give up stream and slot; the session can be recovered from its cursor at any time."""
        self.dropped = True
        self._drop_stream()
        self._leave_slot()

    def _drop_stream(self) -> None:
        if self.stream is not None:
            self.stream.drop()
            self.stream = None

    def deliver(self, read: LogRead) -> None:
        """A log read came back."""
        self._inbox.append(read)

    def take_report(self, claim: SlotClaim | None, report: Report) -> None:
        """Called from the loop: the slots hear at once what the engine hears with the next call from Beam."""
        if claim is not None:
            if isinstance(report, Opened):
                claim.stream_opened()
            elif isinstance(report, Lost) and report.failure.kind is FailureKind.THROTTLED:
                claim.stream_throttled()
        self._inbox.append(report)

    # Calls from Beam

    def receive(self, entries: list[LogEntry], now: float) -> list[Command]:
        """A batch of the session's records from the source, after whatever has arrived meanwhile."""
        outputs: list[Command] = []
        self._drain(outputs, now)
        self._keep(entries)
        self._call(self.session.receive_batch, (entries,), outputs, now, arriving=True)
        return outputs

    def handle_timer(self, now: float) -> list[Command]:
        """What has arrived meanwhile, and whatever time brings about."""
        outputs: list[Command] = []
        self._drain(outputs, now)
        self._call(partial(self.session.handle_timer, source=self.worker.source), (), outputs, now)
        return outputs

    def suspend(self, now: float) -> list[Command]:
        """The job is drained."""
        outputs: list[Command] = []
        self._drain(outputs, now)
        self._call(self.session.suspend, (), outputs, now)
        return outputs

    def _keep(self, entries: Iterable[LogEntry]) -> None:
        self._records.update(entry.offset for entry in entries)

    def _drain(self, outputs: list[Command], now: float) -> None:
        self._records = set(self.session.held_offsets)
        while self._inbox:
            self._dispatch(self._inbox.popleft(), outputs, now)
        if self.stream is not None:
            progress = (self.stream.serial, self.stream.written_samples)
            self._call(self.session.stream_progress, progress, outputs, now)

    def _dispatch(self, event: Report | LogRead, outputs: list[Command], now: float) -> None:
        session = self.session
        match event:
            case Heard(serial, results):
                self._call(session.receive_results, (serial, results), outputs, now)
            case Opened(serial, stream_id):
                self._call(session.stream_opened, (serial, stream_id, "request"), outputs, now)
            case Closed(serial):
                self._forget_stream(serial)
                self._call(session.stream_closed, (serial,), outputs, now)
            case Lost(serial, failure):
                self._forget_stream(serial)
                self._call(session.stream_failed, (serial, failure), outputs, now)
            case LogRead(read_id, None):
                self._call(session.log_failed, (read_id,), outputs, now)
            case LogRead(read_id, log):
                assert log is not None
                self._keep(log.entries)
                self._call(session.receive_log, (read_id, log), outputs, now)

    def _is_current(self, serial: int) -> bool:
        return self.stream is not None and self.stream.serial == serial

    def _forget_stream(self, serial: int) -> None:
        if self._is_current(serial):
            self.stream = None

    # The engine and its commands

    def _call(
        self,
        engine: Engine,
        arguments: tuple[object, ...],
        outputs: list[Command],
        now: float,
        *,
        arriving: bool = False,
    ) -> None:
        session = self.session
        if session.needs_slot(now, arriving=arriving) and self._gets_slot():
            self._execute(session.slot_granted(now), outputs)
        self._execute(engine(*arguments, now), outputs)
        claim = self._claim
        if claim is None or session.holds_slot:
            return
        if claim.granted or not session.needs_slot(now):
            self._leave_slot()

    def _gets_slot(self) -> bool:
        slots = self.worker.slots
        if slots is None:
            return True
        self._claim = self._claim or slots.claim()
        return self._claim.ask()

    def _leave_slot(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.leave()

    def _execute(self, commands: list[Command], outputs: list[Command]) -> None:
        for command in commands:
            match command:
                case SendAudio(serial, payload):
                    self._send(serial, payload)
                case ReadLog():
                    self._read(self, command)
                case Observe(name, value):
                    self.worker.seen[name] += value
                case StreamOver(cause=cause):
                    assert cause, "it is known why a stream ended"
                case OpenStream() | EndStream() | DropStream():
                    self._change_stream(command)
                case _:
                    if isinstance(command, Reject):
                        assert command.offset in self._records, "the shell has no record to reject there"
                    outputs.append(command)

    def _change_stream(self, command: OpenStream | EndStream | DropStream) -> None:
        if isinstance(command, OpenStream):
            assert self.stream is None, "a session has one stream at a time"
            assert self.session.holds_slot, "a stream needs a slot"
            self.stream = self.worker.connect(command, self, self._claim)
        elif self.stream is not None and self._is_current(command.serial):
            if isinstance(command, EndStream):
                self.stream.end()
            else:
                self._drop_stream()

    def _send(self, serial: int, payload: bytes) -> None:
        """A stream that broke meanwhile takes nothing; the engine will hear of it."""
        if self.stream is not None and self._is_current(serial):
            self.stream.send(payload)
