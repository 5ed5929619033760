"""A small world for the session engine: a log, a service that hears words, a worker that can die; all seeded.

Audio: a word is a run of `WORD_SAMPLES` samples of its own value, silence is zero. The service therefore
notices a word that was cut, doubled or moved, and reports it as damaged. It makes a segment of the words
between two pauses, with partials on the way, and answers after a random delay.

One seeded `random.Random` decides what happens next: a batch arrives, an answer arrives, the timer fires, a
checkpoint is taken, the stream breaks, the worker is killed, a job is restored under a surviving worker.
`World.run` plays until the session has ended, at which point everything published must say exactly what was
recorded.
"""

from __future__ import annotations

import array
import random
from collections import deque
from dataclasses import dataclass, field

from connectors.transcribe.model import MedicalAlternative, MedicalItem, MedicalResult
from pipeline.answers import LogSlice, StreamFailure
from pipeline.commands import (
    Command,
    DropStream,
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    EndStream,
    OpenStream,
    ReadLog,
    Reject,
    SendAudio,
)
from pipeline.cursor import SessionCursor
from pipeline.elements import (
    AudioChunk,
    AudioFormat,
    FinalTranscript,
    LogEntry,
    PartialTranscript,
    SessionSettings,
    SessionSummary,
)
from pipeline.limits import SessionLimits
from pipeline.session import Session, opening_cursor

RATE = 800  # lower than any real rate, to make many runs cheap
FORMAT = AudioFormat(RATE)
CHUNK_SAMPLES = RATE // 10
LEAD_SAMPLES = 160
WORD_SAMPLES = 200
SHORT_PAUSE_SAMPLES = 40
SENTENCE_PAUSE_SAMPLES = 480
HEARD_PAUSE_SAMPLES = 400  # silence after which the service calls a segment final
LIMITS = SessionLimits(outbound_seconds=3.0, idle_close_seconds=5.0, drain_timeout_seconds=8.0)
MAX_STEPS = 20_000
MAX_TROUBLES = 60  # then calm: the session must come to its end


def word_name(number: int) -> str:
    return f"w{number}"


@dataclass(frozen=True, slots=True)
class Recording:
    """What the session says: sentences of word numbers (from 1), and the samples that say it."""

    sentences: tuple[tuple[int, ...], ...]

    @classmethod
    def random(cls, rng: random.Random) -> Recording:
        numbers = iter(range(1, 1000))
        return cls(
            tuple(tuple(next(numbers) for _ in range(rng.randint(1, 5))) for _ in range(rng.randint(1, 8)))
        )

    def samples(self) -> array.array[int]:
        out = array.array("h", [0] * LEAD_SAMPLES)
        for sentence in self.sentences:
            for number in sentence:
                out.extend([number] * WORD_SAMPLES)
                out.extend([0] * SHORT_PAUSE_SAMPLES)
            out.extend([0] * SENTENCE_PAUSE_SAMPLES)
        return out

    def words(self) -> list[tuple[str, float, float]]:
        """(word, start, end) in seconds on the session's timeline."""
        found, at = [], LEAD_SAMPLES
        for sentence in self.sentences:
            for number in sentence:
                found.append((word_name(number), at / RATE, (at + WORD_SAMPLES) / RATE))
                at += WORD_SAMPLES + SHORT_PAUSE_SAMPLES
            at += SENTENCE_PAUSE_SAMPLES
        return found

    def chunks(self, session_id: str) -> list[AudioChunk]:
        samples = self.samples()
        parts = [samples[i : i + CHUNK_SAMPLES] for i in range(0, len(samples), CHUNK_SAMPLES)]
        return [
            AudioChunk(session_id, number, part.tobytes(), FORMAT, end_of_session=number == len(parts) - 1)
            for number, part in enumerate(parts)
        ]


@dataclass(slots=True)
class FakeStream:
    """The service's side of one stream."""

    serial: int
    rng: random.Random
    samples: array.array[int] = field(default_factory=lambda: array.array("h"))
    opened: bool = False
    end_sent: bool = False
    ended: bool = False
    segment: int = 0
    heard: int = 0  # samples already made into finals
    outbox: deque[tuple[str, object]] = field(default_factory=deque)
    waiting: deque[bytes] = field(default_factory=deque)
    written: int = 0

    def take(self) -> None:
        """Move some of what the client has sent over the wire, and answer."""
        for _ in range(self.rng.randint(1, 6)):
            if self.waiting:
                payload = self.waiting.popleft()
                self.samples.frombytes(payload)
                self.written += len(payload) // 2
        self._answer(final=False)
        if self.ended and not self.waiting:
            self._answer(final=True)
            self.outbox.append(("closed", None))
            self.ended = False

    def _answer(self, *, final: bool) -> None:
        while True:
            words, end, complete = self._next_segment()
            if not words:
                return
            if complete or final:
                self.outbox.append(("results", (self._result(words, end, partial=False),)))
                self.segment += 1
                self.heard = end
                continue
            shown = words[: self.rng.randint(1, len(words))]  # partials repeat and shrink
            self.outbox.append(("results", (self._result(shown, end, partial=True),)))
            return

    def _next_segment(self) -> tuple[list[tuple[str, int, int]], int, bool]:
        """Words from `heard` on, where the segment ends, and whether a pause has finished it."""
        words: list[tuple[str, int, int]] = []
        at, silence, end = self.heard, 0, self.heard
        samples = self.samples
        while at < len(samples):
            value, start = samples[at], at
            while at < len(samples) and samples[at] == value:
                at += 1
            if value:
                whole = at - start == WORD_SAMPLES
                if whole or at < len(samples):
                    words.append((word_name(value) if whole else "DAMAGED", start, at))
                end, silence = at, 0
            else:
                silence = at - start
                if words and silence >= HEARD_PAUSE_SAMPLES:
                    return words, end, True
        return words, end, False

    def _result(self, words: list[tuple[str, int, int]], end: int, *, partial: bool) -> MedicalResult:
        items = tuple(
            MedicalItem(
                start_time=round(start / RATE, 3),
                end_time=round(stop / RATE, 3),
                type="pronunciation",
                content=word,
                confidence=None if partial else 0.9,
            )
            for word, start, stop in words
        )
        text = " ".join(item.content for item in items)
        return MedicalResult(
            result_id=f"{self.serial}-{self.segment}",
            start_time=items[0].start_time,
            end_time=round(end / RATE, 3),
            is_partial=partial,
            alternatives=(MedicalAlternative(transcript=text, items=items, entities=()),),
            channel_id=None,
        )


class World:
    """See the module. `trouble`: how often, of a hundred steps, something breaks."""

    def __init__(self, seed: int, trouble: int = 4) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a reproducible simulation
        self.trouble = trouble
        self.now = 100.0
        self.recording = Recording.random(self.rng)
        self.log = [(offset * 3 + 5, chunk) for offset, chunk in enumerate(self.recording.chunks("session"))]
        self.written_to_log = 0  # records the producer has written so far
        self.position = 0  # index of the next record the source delivers
        self.state: SessionCursor | None = None
        self.checkpoint: tuple[int, SessionCursor | None] = (0, None)
        self.live: Session | None = None
        self.stream: FakeStream | None = None
        self.reads: deque[ReadLog] = deque()
        self.timer_at: float | None = None
        self.finals: list[FinalTranscript] = []
        self.partials: list[PartialTranscript] = []
        self.ended: list[SessionSummary] = []
        self.rejected: list[Reject] = []
        self.streams_opened = 0
        self.kills = 0
        self.troubles = 0

    def run(self) -> None:
        """Play until the session has ended and nothing is left to deliver."""
        for _ in range(MAX_STEPS):
            if self.ended and self.position == len(self.log):
                return
            self.now += self.rng.uniform(0.005, 0.1)
            self._step()
        raise AssertionError(f"not ended after {MAX_STEPS} steps: {self._describe()}")

    def _describe(self) -> str:
        return f"position {self.position}/{len(self.log)}, {len(self.finals)} finals, {self.kills} kills"

    def _step(self) -> None:
        if self.written_to_log < len(self.log) and self.rng.random() < 0.5:
            self.written_to_log += self.rng.randint(1, 3)
            self.written_to_log = min(self.written_to_log, len(self.log))
        if self.troubles < MAX_TROUBLES and self.rng.randint(1, 100) <= self.trouble:
            self.troubles += 1
            self.rng.choice((self._break_stream, self._break_stream, self._kill, self._restore_under))()
            return
        choices = [
            self._deliver,
            self._serve,
            self._serve,
            self._report,
            self._report,
            self._read,
            self._tick,
        ]
        if self.rng.random() < 0.05:
            choices.append(self._take_checkpoint)
        self.rng.choice(choices)()

    # What can happen

    def _deliver(self) -> None:
        available = self.log[self.position : self.written_to_log]
        if not available:
            return
        batch = available[: self.rng.randint(1, 5)]
        entries = [LogEntry(offset, chunk) for offset, chunk in batch]
        live = self._live() or self._open(*batch[0])
        self._execute(live.receive_batch(entries, self.now))
        self.position += len(batch)
        self._commit()

    def _serve(self) -> None:
        if self.stream is None:
            return
        if not self.stream.opened:
            self.stream.opened = True
            self.stream.outbox.append(("opened", None))
        self.stream.take()

    def _report(self) -> None:
        """Beam calls; what has arrived is handed to the engine, as `live_streams` does."""
        live, stream = self._live(), self.stream
        if live is None or stream is None:
            return
        for _ in range(self.rng.randint(0, 3)):
            if stream.outbox and self.stream is stream:
                kind, value = stream.outbox.popleft()
                self._execute(self._dispatch(live, stream, kind, value))
        if self.stream is stream:
            self._execute(live.stream_progress(stream.serial, stream.written, self.now))
        self._commit()

    def _dispatch(self, live: Session, stream: FakeStream, kind: str, value: object) -> list[Command]:
        if kind == "opened":
            return live.stream_opened(stream.serial, f"id-{stream.serial}", "request", self.now)
        if kind == "results":
            return live.receive_results(stream.serial, value, self.now)  # type: ignore[arg-type]
        self.stream = None
        if kind == "closed" or (kind == "ended_early" and not stream.end_sent):
            return live.stream_closed(stream.serial, self.now)
        failure = value if isinstance(value, StreamFailure) else StreamFailure("EndedEarly", "early end")
        return live.stream_failed(stream.serial, failure, self.now)

    def _read(self) -> None:
        live = self._live()
        if not self.reads or live is None:
            return
        read = self.reads.popleft()
        if self.rng.random() < 0.1:
            self._execute(live.log_failed(read.read_id, self.now))
            return
        end = self.log[self.written_to_log - 1][0] + 1 if self.written_to_log else 0
        stop = end if read.end_offset is None else min(end, read.end_offset)
        entries, size, next_offset = [], 0, stop
        for offset, chunk in self.log[: self.written_to_log]:
            if read.start_offset <= offset < stop:
                if entries and size + len(chunk.payload) > read.max_bytes:
                    next_offset = offset
                    break
                entries.append(LogEntry(offset, chunk))
                size += len(chunk.payload)
        complete = next_offset == stop
        log = LogSlice(tuple(entries), next_offset, complete=complete)
        self._execute(live.receive_log(read.read_id, log, self.now))
        self._commit()

    def _tick(self) -> None:
        live = self._live()
        if live is not None and self.now >= live.next_timer(self.now - 0.6):
            self._execute(live.handle_timer(self.now))
            self._commit()

    def _break_stream(self) -> None:
        stream = self.stream
        if stream is None:
            return
        keep = self.rng.randint(0, len(stream.outbox))  # answers on the way may be lost with it
        while len(stream.outbox) > keep:
            stream.outbox.pop()
        failure = StreamFailure(
            self.rng.choice(("Reset", "LimitExceededException")), "broken by the simulation"
        )
        early = self.rng.random() < 0.2 and not stream.end_sent
        stream.outbox.append(("ended_early", None) if early else ("failed", failure))
        stream.waiting.clear()

    def _take_checkpoint(self) -> None:
        self.checkpoint = (self.position, self.state)

    def _kill(self) -> None:
        """The worker dies; the job goes back to its last checkpoint. What was published stays published."""
        self.kills += 1
        self.live, self.stream = None, None
        self.reads.clear()
        self.position, self.state = self.checkpoint

    def _restore_under(self) -> None:
        """The job is restored, the worker process survives with a registry that may be ahead of the state."""
        self.kills += 1
        self.position, self.state = self.checkpoint

    # The shell, as `transforms` and `live_streams` do it

    def _live(self) -> Session | None:
        if self.live is not None and self.live.cursor == self.state:
            return self.live
        self.live, self.stream = None, None
        self.reads.clear()
        if self.state is None:
            return None
        self.live = self._session(self.state)
        return self.live

    def _open(self, offset: int, chunk: AudioChunk) -> Session:
        self.live = self._session(opening_cursor(chunk, offset, 0, SessionSettings()))
        return self.live

    def _session(self, cursor: SessionCursor) -> Session:
        return Session(
            cursor,
            session_id="session",
            topic="audio",
            limits=LIMITS,
            backoff=lambda failures: self.rng.uniform(0.0, 0.2 * failures),
            now=self.now,
        )

    def _commit(self) -> None:
        if self.live is not None and self.live.dirty:
            self.state = self.live.take_snapshot()

    def _execute(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case OpenStream(serial):
                    assert self.stream is None, "a session has one stream at a time"
                    self.streams_opened += 1
                    self.stream = FakeStream(serial, self.rng)
                case SendAudio(serial, payload):
                    self._send(serial, payload)
                case EndStream(serial) if self.stream is not None and self.stream.serial == serial:
                    self.stream.ended = self.stream.end_sent = True
                case DropStream():
                    self.stream = None
                case ReadLog():
                    self.reads.append(command)
                case _:
                    self._publish(command)

    def _publish(self, command: Command) -> None:
        match command:
            case EmitFinal(final):
                self.finals.append(final)
            case EmitPartial(partial):
                self.partials.append(partial)
            case EmitSessionEnded(summary):
                self.ended.append(summary)
            case Reject():
                self.rejected.append(command)
            case EndStream():
                pass  # the stream broke meanwhile; the engine will hear of it
            case _:
                raise AssertionError(f"unexpected {type(command).__name__}")

    def _send(self, serial: int, payload: bytes) -> None:
        stream = self.stream
        if stream is None or stream.serial != serial:
            return  # broken meanwhile; the engine will hear of it
        assert not stream.end_sent, "no audio after the closing frame"
        stream.waiting.append(payload)
        waiting_seconds = sum(len(p) for p in stream.waiting) / 2 / RATE
        assert waiting_seconds <= LIMITS.outbound_seconds + 1.5, "the outbound buffer is bounded"
