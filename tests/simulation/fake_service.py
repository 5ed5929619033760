"""The service and the way to it: streams that take audio, answer late, and break in every way they can.

A `FakeStream` is what `live_stream.LiveStream` and the service are together: an outbound buffer that is
written at the catch-up rate, and on the other side a recogniser. What it reports goes into the inbox of its
session, where it waits for the next call from Beam.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from connectors.transcribe.model import MedicalResult
from pipeline.elements import AudioFormat
from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind
from tests.simulation.recogniser import Manner, Recogniser
from tests.simulation.scheduler import Scheduler
from tests.simulation.settings import ServiceTrouble
from tests.simulation.speech import RATE_HERTZ

_IDLE_SECONDS = 15.0  # the service ends a stream that gets no audio for so long
_READ_TIMEOUT_SECONDS = 10.0  # a transport gives up a stream that stands still
_CLOSE_SECONDS = 1.0  # the connection of a stream that was dropped takes so long to close
_BURST_SECONDS = 1.0
_PIECE_SAMPLES = RATE_HERTZ // 5

THROTTLED = StreamFailure("LimitExceededException", "too many streams", kind=FailureKind.THROTTLED)
TOO_LONG = StreamFailure(
    "LimitExceededException", "the stream has lived too long", kind=FailureKind.THROTTLED
)
IDLE = StreamFailure("BadRequestException", "no new audio for 15 seconds", kind=FailureKind.REQUEST)
EARLY = StreamFailure("EndedEarly", "the service ended the stream before it was asked to")
REFUSED = StreamFailure("BadRequestException", "never", retryable=False, kind=FailureKind.REQUEST)
UNREACHABLE = StreamFailure("ConnectError", "an outage", kind=FailureKind.NETWORK)
STANDS_STILL = StreamFailure("ReadTimeoutError", "nothing arrived", kind=FailureKind.NETWORK)
FAULTS = (
    StreamFailure("StreamResetError", "reset", kind=FailureKind.NETWORK),
    StreamFailure("ConnectionClosedError", "sent away", kind=FailureKind.NETWORK),
    StreamFailure("TruncatedStreamError", "ended inside a message", kind=FailureKind.NETWORK),
    StreamFailure("InternalFailureException", "failed"),
    StreamFailure("ServiceUnavailableException", "try again later"),
    StreamFailure("ConflictException", "another stream has the same id"),
    StreamFailure("ExpiredTokenException", "expired", kind=FailureKind.ACCESS),
    EARLY,
)
STALL, DEAF = "stall", "deaf"  # takes nothing and says nothing; takes audio and never says a word
Fault = StreamFailure | str


@dataclass(frozen=True, slots=True)
class Opened:
    serial: int
    stream_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    serial: int
    results: tuple[MedicalResult, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    serial: int


@dataclass(frozen=True, slots=True)
class Lost:
    serial: int
    failure: StreamFailure


Report = Opened | Heard | Closed | Lost


class Process(Protocol):
    """The worker process whose loop drives a stream."""

    paused: bool


@dataclass(slots=True)
class ServiceCounts:
    """What became of all streams."""

    opened: int = 0
    lost: int = 0
    throttled: int = 0
    died_of_age: int = 0
    died_idle: int = 0
    most_alive: int = 0


class FakeService:
    """Opens streams and knows which of them live."""

    def __init__(
        self, rng: random.Random, scheduler: Scheduler, trouble: ServiceTrouble, manner: Manner, pace: float
    ) -> None:
        self.rng = rng
        self.scheduler = scheduler
        self.trouble = trouble
        self.manner = manner
        self.catch_up_rate = pace
        self.calm = False
        self.away_until = 0.0
        self.alive: set[FakeStream] = set()
        self.counts = ServiceCounts()

    def open(
        self,
        serial: int,
        audio: AudioFormat,
        report: Callable[[Report], None],
        process: Process,
        ended: Callable[[], None],
    ) -> FakeStream:
        """A stream that begins to connect; `ended` is called when nothing is left of its connection."""
        self.counts.opened += 1
        stream = FakeStream(self, serial, audio, report, process, ended, self._draw_fault())
        self.alive.add(stream)
        self.counts.most_alive = max(self.counts.most_alive, len(self.alive))
        return stream

    def _draw_fault(self) -> tuple[float, Fault] | None:
        """After how many seconds of its life a stream breaks, and how."""
        if self.calm or self.rng.random() >= self.trouble.fault_share:
            return None
        kind: Fault = self.rng.choice(FAULTS)
        if self.rng.random() < 0.3:
            kind = self.rng.choice((STALL, DEAF))
        return self.rng.expovariate(0.3), kind

    def refusal(self) -> StreamFailure | None:
        """Why a stream that connects now is refused, if it is."""
        if self.scheduler.now < self.away_until:
            return UNREACHABLE
        if not self.calm and self.rng.random() < self.trouble.refuse_share:
            return REFUSED
        over_quota = self.trouble.quota is not None and len(self.alive) > self.trouble.quota
        unlucky = not self.calm and self.rng.random() < self.trouble.throttle_share
        if over_quota or unlucky:
            self.counts.throttled += 1
            return THROTTLED
        return None


@dataclass(slots=True)
class _Audio:
    """What a stream was sent and has passed on, in samples per channel."""

    waiting: deque[bytes] = field(default_factory=deque)
    sent_samples: int = 0
    written_samples: int = 0
    credit_seconds: float = _BURST_SECONDS
    credit_at: float = 0.0
    last_at: float = 0.0


class FakeStream:
    """See the module. `alive` until it failed, ended or was dropped."""

    def __init__(
        self,
        service: FakeService,
        serial: int,
        audio: AudioFormat,
        report: Callable[[Report], None],
        process: Process,
        ended: Callable[[], None],
        fault: tuple[float, Fault] | None,
    ) -> None:
        self.serial = serial
        self.alive = True
        self.end_asked = False
        self._service = service
        self._rng = service.rng
        self._scheduler = service.scheduler
        self._format = audio
        self._report = report
        self._process = process
        self._ended = ended
        self._audio = _Audio(credit_at=self._scheduler.now, last_at=self._scheduler.now)
        self.number = service.counts.opened
        self._name = f"stream-{self.number}"
        self._recogniser = Recogniser(self._name, audio.channels, service.manner, self._rng)
        self._outgoing: deque[tuple[float, Report]] = deque()
        self._opens_at = self._scheduler.now + self._rng.uniform(0.01, 0.3)
        self._open = self._end_sent = self._stalled = self._deaf = False
        self._fault = None if fault is None else (self._scheduler.now + fault[0], fault[1])
        self._slow = self._rng.random() < service.trouble.slow_share
        self._next_at = inf
        self._wake()

    # The client's side

    @property
    def written_samples(self) -> int:
        """Samples per channel that have left the outbound buffer."""
        return self._audio.written_samples

    @property
    def outbound_samples(self) -> int:
        """Samples per channel in the outbound buffer."""
        return self._audio.sent_samples - self._audio.written_samples

    def send(self, payload: bytes) -> None:
        """Append audio to the outbound buffer."""
        assert not self.end_asked, "no audio after the closing frame"
        samples = self._format.samples(len(payload))
        assert len(payload) == samples * self._format.bytes_per_sample, "whole samples"
        assert samples, "an event without audio would end the stream"
        self._audio.sent_samples += samples
        size = _PIECE_SAMPLES * self._format.bytes_per_sample
        if len(payload) <= size:
            self._audio.waiting.append(payload)
        else:
            self._audio.waiting.extend(payload[at : at + size] for at in range(0, len(payload), size))
        self._wake()

    def end(self) -> None:
        """Send the closing frame behind the audio."""
        self.end_asked = True
        self._wake()

    def drop(self) -> None:
        """Give up: nothing more is reported."""
        if self.alive:
            self._end(closes_after_seconds=self._rng.uniform(0.0, _CLOSE_SECONDS))

    def break_now(self, fault: Fault) -> None:
        """Let the stream break with its next breath."""
        self._fault = (self._scheduler.now, fault)
        self._wake()

    # The loop's side

    def _wake(self) -> None:
        """There is something to do: take the next breath soon, not when there would have been one."""
        self._breathe_at(self._scheduler.now + self._rng.uniform(0.02, 0.25))

    def _breathe_at(self, moment: float) -> None:
        if moment < self._next_at and self.alive:
            self._next_at = moment
            self._scheduler.at(moment, self._tick, moment)

    def _tick(self, moment: float) -> None:
        if moment != self._next_at or not self.alive:
            return  # another breath was wanted before this one, and has been taken
        self._next_at = inf
        if not self._process.paused:
            self._breathe(moment)
        self._breathe_at(self._next_breath(moment))

    def _breathe(self, now: float) -> None:
        if not self._open:
            if now >= self._opens_at:
                self._connect(now)
            return
        if self._fault is not None and now >= self._fault[0]:
            self._break(self._fault[1])
        if self.alive and not self._stalled:
            self._write(now)
        if self.alive:
            self._deliver(now)
            self._check_time(now)

    def _next_breath(self, now: float) -> float:
        soon = now + self._rng.uniform(0.05, 0.3)
        busy = not self._open or self._audio.waiting or (self.end_asked and not self._end_sent)
        if self._process.paused or (busy and not self._stalled):
            return soon
        moments = [self._audio.last_at + _IDLE_SECONDS + 0.01]
        if self._fault is not None:
            moments.append(self._fault[0])
        if self._outgoing:
            moments.append(self._outgoing[0][0])
        if self._stalled:
            moments.append(self._audio.last_at + _READ_TIMEOUT_SECONDS + 0.01)
        return max(soon, min(moments))

    def _connect(self, now: float) -> None:
        refusal = self._service.refusal()
        if refusal is not None:
            self._lose(refusal)
            return
        self._open = True
        self._audio.credit_at = self._audio.last_at = now
        self._report(Opened(self.serial, self._name))

    def _write(self, now: float) -> None:
        audio = self._audio
        self._earn_credit(now)
        while audio.waiting and audio.credit_seconds > 0.0:
            piece = audio.waiting.popleft()
            samples = self._format.samples(len(piece))
            audio.written_samples += samples
            audio.credit_seconds -= samples / RATE_HERTZ
            audio.last_at = now
            self._answer(self._recogniser.feed(piece), now)
            limit = self._service.trouble.limit_samples
            if limit is not None and audio.written_samples > limit:
                self._service.counts.died_of_age += 1
                self._lose(TOO_LONG)
                return
        if self.end_asked and not self._end_sent and not audio.waiting:
            self._end_sent = True
            self._answer(self._recogniser.finish(), now)
            if not self._deaf:
                self._outgoing.append((self._due(now), Closed(self.serial)))

    def _earn_credit(self, now: float) -> None:
        audio, rate = self._audio, self._service.catch_up_rate
        if self._slow:
            rate = 0.8
        if not rate:
            audio.credit_seconds = _BURST_SECONDS * 100
        else:
            earned = (now - audio.credit_at) * rate
            audio.credit_seconds = min(_BURST_SECONDS, audio.credit_seconds + earned)
        audio.credit_at = now

    def _answer(self, events: list[tuple[MedicalResult, ...]], now: float) -> None:
        if not self._deaf:
            for results in events:
                self._outgoing.append((self._due(now), Heard(self.serial, results)))

    def _due(self, now: float) -> float:
        """When an answer that is given now arrives: late, but never before an earlier one."""
        due = now + self._rng.uniform(*self._service.trouble.latency_seconds)
        return max(due, self._outgoing[-1][0]) if self._outgoing else due

    def _deliver(self, now: float) -> None:
        while self._outgoing and self._outgoing[0][0] <= now:
            report = self._outgoing.popleft()[1]
            if isinstance(report, Closed):
                self._leave(report)
                return
            self._report(report)

    def _check_time(self, now: float) -> None:
        quiet_seconds = now - self._audio.last_at
        if self._stalled and quiet_seconds > _READ_TIMEOUT_SECONDS:
            self._lose(STANDS_STILL)
        elif not self._end_sent and quiet_seconds > _IDLE_SECONDS:
            self._service.counts.died_idle += 1
            self._lose(IDLE)

    def _break(self, fault: Fault) -> None:
        """Break; some of the answers that were on their way may still have come."""
        self._fault = None
        if isinstance(fault, str):
            self._stalled, self._deaf = self._stalled or fault == STALL, True
            self._outgoing.clear()
            return
        for _ in range(self._rng.randint(0, len(self._outgoing))):
            report = self._outgoing.popleft()[1]
            if isinstance(report, Closed):
                self._leave(report)
                return
            self._report(report)
        self._lose(fault)

    def _lose(self, failure: StreamFailure) -> None:
        self._service.counts.lost += 1
        self._leave(Lost(self.serial, failure))

    def _leave(self, last: Report) -> None:
        """Report the end, the connection being closed already."""
        self._end()
        self._report(last)

    def _end(self, closes_after_seconds: float = 0.0) -> None:
        self.alive = False
        self._service.alive.discard(self)
        if closes_after_seconds:
            self._scheduler.after(closes_after_seconds, self._ended)
        else:
            self._ended()
