"""The Beam job: source position, state and timers, which belong to a checkpoint, and whose key lies where.

A bundle is one batch of one session, or one timer; what it emits is published, and its state is written with
it; finals and ends also go, with the cursor, to the sink. What the source reads at once reaches one session
after the other, with timers between. A checkpoint is taken when all of it has arrived and can be restored at
any later time, by workers that may have survived it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.elements import AudioChunk, LogEntry, SessionSettings
from pipeline.engine.commands import Command, Forget, ReadLog, Reject
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.hearing import hear
from pipeline.engine.session import Session, opening_cursor
from pipeline.worker.timer_schedule import firing_to_set
from schemas.serde import SingleObjectSerde
from tests.simulation.fake_log import FakeLog, Record
from tests.simulation.fake_sink import FakeSink, step_of
from tests.simulation.fake_worker import FakeLive, FakeWorker, LogRead
from tests.simulation.scheduler import Scheduler
from tests.simulation.settings import WorldSettings

_CURSORS = SingleObjectSerde("session_cursor")
_BACKOFF_SECONDS = 5.0
_BATCH_RECORDS = 24
_OLD_SECONDS, _WHOLE_SHARE = 2.0, 0.5  # what has waited for a broker is read at once, now and then
_LATE_SHARE, _LATE_SECONDS = 0.2, 0.5
_DRAIN_SLACK_SECONDS = 6.0  # for a stream that is just being opened


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a runner restores. `published`: by session, how many finals came before it."""

    position: int
    state: dict[str, SessionCursor]
    timers: dict[str, float]
    published: dict[str, int]


class Job:
    """See the module. `publish` is called with a session's id and each of its outputs.

    `tear`: what happens to the next bundle in its midst, when part of its outputs is published and nothing of
    its state is written (None: nothing).
    """

    live_type = FakeLive

    def __init__(
        self,
        rng: random.Random,
        scheduler: Scheduler,
        log: FakeLog,
        settings: WorldSettings,
        workers: list[FakeWorker],
        publish: Callable[[str, Command], None],
    ) -> None:
        self.position = 0
        self.sink = FakeSink()
        self.state: dict[str, SessionCursor] = {}
        self.timers: dict[str, float] = {}
        self._in_flight: deque[tuple[str, list[Record]]] = deque()
        self.owners: dict[str, FakeWorker] = {}
        self.workers = workers
        self.after_bundle: Callable[[FakeLive], None] | None = None
        self.broker_away_until = 0.0
        self.tear: Callable[[FakeWorker], None] | None = None
        self._drained: Callable[[], None] | None = None
        self._rng = rng
        self._scheduler = scheduler
        self._log = log
        self._settings = settings
        self._publish = publish
        self._installed = 0
        self._epoch = 0  # grows with every restore, so that old timers and polls stay silent
        self._scheduler.after(0.0, self._poll, 0)

    # The source

    def _poll(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        now = self._scheduler.now
        held_up = self.broker_away_until > now or any(owner.paused for owner in self.owners.values())
        if held_up:
            # A broker that is away, or a worker that stands still.
            self._scheduler.after(self._rng.uniform(0.1, 0.9), self._poll, epoch)
            return
        count = self._log.count(now)
        if self.position < count:
            end = min(count, self.position + self._rng.randint(1, _BATCH_RECORDS))
            old = now - self._log.records[self.position].write.at > _OLD_SECONDS
            if old and self._rng.random() < _WHOLE_SHARE:
                end = count
            batches: dict[str, list[Record]] = {}
            for record in self._log.records[self.position : end]:
                batches.setdefault(record.write.session_id, []).append(record)
            self._in_flight.extend(batches.items())
            self.position = end
        self._hand_over(epoch)

    @property
    def in_flight(self) -> bool:
        """Whether something was read that has not reached its session yet; no checkpoint is taken then."""
        return bool(self._in_flight)

    def _hand_over(self, epoch: int) -> None:
        """What was read reaches one session after the other, some of them a little later."""
        while epoch == self._epoch and self._in_flight:
            session_id, _ = self._in_flight[0]
            if self._owner(session_id).paused or self._rng.random() < _LATE_SHARE:
                self._scheduler.after(self._rng.uniform(0.0, _LATE_SECONDS), self._hand_over, epoch)
                return
            self._process(*self._in_flight.popleft())
        if epoch == self._epoch:  # otherwise torn: the job has gone back to a checkpoint
            self._schedule_poll()

    def _schedule_poll(self) -> None:
        if self.position < len(self._log.records):
            available_at = self._log.records[self.position].write.at
            wait = self._rng.uniform(*self._settings.poll_seconds)
            self._scheduler.at(max(available_at, self._scheduler.now) + wait, self._poll, self._epoch)

    # Bundles

    def _process(self, session_id: str, records: list[Record]) -> None:
        entries = [record.entry for record in records]
        worker = self._owner(session_id)
        now = worker.now
        worker.source = hear(worker.source, now, self._scheduler.now - records[-1].write.at)
        live = self._live(session_id) or self._open(session_id, entries)
        if live is None:
            for entry in entries:
                assert entry.rejection is not None
                self._publish(session_id, Reject(entry.offset, entry.rejection))
            return
        self._step(session_id, live, live.receive(entries, now), timers=self._drained is None)
        if self._drained is not None and session_id in self.state:
            self.timers.setdefault(session_id, self._scheduler.now)  # the next job's

    def _on_timer(self, session_id: str, due: float, epoch: int) -> None:
        if epoch != self._epoch or self.timers.get(session_id) != due:
            return
        if self._owner(session_id).paused:
            self._scheduler.after(0.5, self._on_timer, session_id, due, epoch)
            return
        del self.timers[session_id]
        live = self._live(session_id)
        if live is not None:
            live.timer_due_at = None
            self._step(session_id, live, live.handle_timer(live.worker.now))

    def _owner(self, session_id: str) -> FakeWorker:
        if session_id not in self.owners:
            awake = [worker for worker in self.workers if not worker.paused]
            self.owners[session_id] = self._rng.choice(awake or self.workers)
        return self.owners[session_id]

    def _live(self, session_id: str) -> FakeLive | None:
        """The session as its worker has it, if it agrees with the state; else restored from the state."""
        worker = self._owner(session_id)
        live = worker.get(session_id)
        stored = self.state.get(session_id)
        if stored is None:
            worker.remove(session_id)
            return None
        if live is not None and live.session.cursor == stored:
            return live
        restored = _CURSORS.decode(_CURSORS.encode(stored.to_record()))
        return self._install(session_id, SessionCursor.from_record(restored))

    def _open(self, session_id: str, entries: list[LogEntry]) -> FakeLive | None:
        for entry in entries:
            if entry.chunk is not None:
                return self._install(session_id, opening(entry.chunk, entry.offset))
        return None

    def _install(self, session_id: str, cursor: SessionCursor) -> FakeLive:
        self._installed += 1
        worker = self._owner(session_id)
        session = Session(
            cursor,
            session_id=session_id,
            topic="audio",
            limits=self._settings.limits,
            backoff=self._backoff,
            now=worker.now,
            owner=f"live-session-{self._installed}",
        )
        live = self.live_type(session, worker, self._read)
        worker.put(session_id, live)
        return live

    def _backoff(self, failures: int) -> float:
        return self._rng.uniform(0.0, min(_BACKOFF_SECONDS, 0.2 * 2 ** min(failures, 10)))

    def _step(self, session_id: str, live: FakeLive, outputs: list[Command], *, timers: bool = True) -> None:
        if self.tear is not None:
            self._tear(session_id, live, outputs, self.tear)
            return
        if any(isinstance(output, Forget) for output in outputs):
            self.state.pop(session_id, None)
            self._owner(session_id).remove(session_id)
        else:
            if live.session.dirty:
                self.write_state(session_id, live)
                self.sink.write(step_of(session_id, self.state[session_id], outputs))
            if timers:
                self._schedule(session_id, live)
        for output in outputs:
            self._publish(session_id, output)
        if self.after_bundle is not None:
            self.after_bundle(live)

    def _tear(
        self, session_id: str, live: FakeLive, outputs: list[Command], tear: Callable[[FakeWorker], None]
    ) -> None:
        published = outputs[: self._rng.randint(0, len(outputs))]
        for output in published:
            self._publish(session_id, output)
        if live.session.dirty and len(published) == len(outputs):
            self.sink.write(step_of(session_id, live.session.take_snapshot(), outputs))
        self.tear = None
        tear(self._owner(session_id))

    def write_state(self, session_id: str, live: FakeLive) -> None:
        """Write the session's cursor into its state cell."""
        self.state[session_id] = live.session.take_snapshot()

    def _schedule(self, session_id: str, live: FakeLive) -> None:
        now = live.worker.now
        firing_at = firing_to_set(
            live.session.next_timer(now), live.timer_due_at, now, unix_now=self._scheduler.now
        )
        if firing_at is not None:
            live.timer_due_at = firing_at
            self._set_timer(session_id, self._scheduler.now + firing_at - now)

    def _set_timer(self, session_id: str, due: float) -> None:
        self.timers[session_id] = due
        late = self._rng.uniform(0.0, 0.05)
        self._scheduler.at(due + late, self._on_timer, session_id, due, self._epoch)

    # The log

    def _read(self, live: FakeLive, read: ReadLog) -> None:
        self._scheduler.after(self._rng.uniform(0.01, 0.4), self._answer_read, live, read)

    def _answer_read(self, live: FakeLive, read: ReadLog) -> None:
        """The log as it is when the read reaches it; some reads fail."""
        if live.dropped:
            return
        away = self._scheduler.now < self.broker_away_until
        if away or self._rng.random() < self._settings.worker.read_failure_share:
            live.deliver(LogRead(read.read_id, None))
            return
        log = self._log.read(live.session.session_id, read, self._scheduler.now)
        got_bytes = sum(len(entry.chunk.payload) for entry in log.entries if entry.chunk is not None)
        assert len(log.entries) <= 1 or got_bytes <= read.max_bytes, "a read is bounded"
        live.max_read_bytes = max(live.max_read_bytes, read.max_bytes)
        live.deliver(LogRead(read.read_id, log))

    # The end of a job, and the beginning of the next

    def drain(self, drained: Callable[[], None]) -> None:
        """The source stops, sessions say what is left to say and rest; then `drained` is called, in a world
        whose workers have nothing of this job. A job that is restored meanwhile goes on with it.
        """
        self._drained = drained
        self._epoch += 1
        self._scheduler.after(0.0, self._suspend, self._epoch, self._scheduler.now)

    def _suspend(self, epoch: int, since: float) -> None:
        if epoch != self._epoch or self._drained is None:
            return
        while self._in_flight and not self._owner(self._in_flight[0][0]).paused:
            self._process(*self._in_flight.popleft())
            if epoch != self._epoch:
                return
        restless = self.in_flight
        for session_id in list(self.state):
            if self._owner(session_id).paused:
                restless, since = True, self._scheduler.now
                continue
            live = self._live(session_id)
            assert live is not None, "a session with state is restored"
            if not live.session.at_rest:
                restless = True
                self._step(session_id, live, live.suspend(live.worker.now), timers=False)
                if epoch != self._epoch:
                    return
        if not restless:
            self._end()
            return
        allowed_seconds = self._settings.limits.drain_timeout_seconds + _DRAIN_SLACK_SECONDS
        assert self._scheduler.now - since < allowed_seconds, "a drain comes to an end"
        self._scheduler.after(self._rng.uniform(0.05, 0.5), self._suspend, epoch, since)

    def _end(self) -> None:
        assert self._drained is not None
        drained, self._drained = self._drained, None
        for worker in self.workers:
            worker.kill()  # its process ends with the job
        drained()

    # Checkpoints

    def checkpoint(self, published: dict[str, int]) -> Checkpoint:
        """What could be restored later as of now."""
        return Checkpoint(self.position, dict(self.state), dict(self.timers), published)

    def restore(self, checkpoint: Checkpoint, owners: dict[str, FakeWorker]) -> None:
        """Go back to a checkpoint, with keys on the workers given (others: on any)."""
        self._epoch += 1
        self._in_flight.clear()
        self.position = checkpoint.position
        self.state, self.owners = dict(checkpoint.state), dict(owners)
        self.timers = {}
        if self._drained is not None:
            self.timers = dict(checkpoint.timers)
            self._scheduler.after(0.0, self._suspend, self._epoch, self._scheduler.now)
            return
        for session_id, due in checkpoint.timers.items():
            self._set_timer(session_id, max(due, self._scheduler.now))
        self._schedule_poll()


def opening(chunk: AudioChunk, offset: int) -> SessionCursor:
    """The cursor of a session that begins with `chunk`."""
    return opening_cursor(
        chunk, offset, 0, SessionSettings(enable_channel_identification=chunk.format.channels > 1)
    )
