"""The Beam transforms: thin shells that hand elements to the session engine and its outputs on.

`TranscribeSessions` is keyed by session id. Its state is one cell, the session's cursor, written only when
the engine says so; its one timer collects results while no audio drives it. Everything live is in
`live_streams`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.drain_requests import drain_watch
from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from pipeline.audio.decoding import ChunkDecoder
from pipeline.backoff import full_jitter
from pipeline.elements import AudioChunk
from pipeline.engine.commands import (
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    Forget,
    Observe,
    Reject,
    RejectSession,
)
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.session import Session, opening_cursor
from pipeline.errors import ChunkRejected
from pipeline.keying import DEAD_LETTERS
from pipeline.letters.letter_selection import range_message
from pipeline.observability.job_metrics import count, measure, show_levels
from pipeline.observability.log_policy import pin_beam_loggers
from pipeline.output.encoding import OutputEncoder, OutputRecord, now_ms
from pipeline.output.outputs import final_record, session_ended_record, stage_of
from pipeline.output.progress import Opening, SessionStep
from pipeline.output.unfinished_sessions import UnfinishedSessions, unfinished_sessions
from pipeline.settings import JobSettings
from pipeline.worker.bundle_metrics import report_no_zeros, sample_no_times
from pipeline.worker.heap_policy import bound_heap
from pipeline.worker.live_outputs import Measured, Output
from pipeline.worker.live_session import LiveSession
from pipeline.worker.live_streams import Runtime, runtime
from pipeline.worker.state_weights import weigh_plain_values_plainly
from pipeline.worker.timer_schedule import firing_to_set
from pipeline.worker.worker_setup import set_up_worker
from schemas.serde import shared_serde

pin_beam_loggers()
bound_heap()
weigh_plain_values_plainly()
report_no_zeros()
sample_no_times()

STEPS = "steps"
PARTIALS = "partials"

_END_OF_TIME = GlobalWindow().max_timestamp()
_END_POLL_SECONDS = 0.05
_END_ROUND_SECONDS = 0.2  # a session is not asked more often; while there are few, that is waited for


@lru_cache(maxsize=8)
def audio_log(config: ClientConfig) -> AudioLog:
    """One reader of the log per process and cluster, so that recoveries of one partition share a scan."""
    return AudioLog(config)


class TranscribeFn(beam.DoFn):
    """The stateful shell of the session engine; see the module."""

    CURSOR = ReadModifyWriteStateSpec("cursor", BytesCoder())
    POLL = TimerSpec("poll", TimeDomain.REAL_TIME)
    END_OF_INPUT = TimerSpec("end_of_input", TimeDomain.WATERMARK)

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        settings = self._settings
        set_up_worker(settings)
        self._runtime: Runtime = runtime()
        self._slots = self._runtime.slots(
            settings.job_id, settings.max_live_streams, settings.max_stream_opens_per_second
        )
        self._decoder = ChunkDecoder(settings.serdes.reader("audio_chunk"), settings.chunk_format)
        self._encoder = OutputEncoder(settings.topics, settings.serdes)
        self._cursors = shared_serde("session_cursor")
        self._unfinished: UnfinishedSessions = unfinished_sessions(settings)
        self._checked: set[str] = set()

    def start_bundle(self) -> None:
        self._checked = set()  # state may have been restored between bundles

    def process(
        self,
        element: tuple[str, Sequence[Any]],
        cursor: Any = beam.DoFn.StateParam(CURSOR),  # noqa: B008 - Beam's way to declare state
        poll: Any = beam.DoFn.TimerParam(POLL),  # noqa: B008
        end: Any = beam.DoFn.TimerParam(END_OF_INPUT),  # noqa: B008
    ) -> Iterator[Any]:
        session_id, fields = element
        records = [KafkaRecord.from_tuple(f) for f in fields]
        now = time.monotonic()
        live = self._live(session_id, cursor, now)
        if live is None:
            live = self._open(session_id, records, now)
            if live is None:
                yield from self._reject_all(session_id, records)
                return
        if not live.ends_with_input:
            live.ends_with_input = True
            end.set(_END_OF_TIME)
        yield from self._step(live, lambda: live.receive(records, now), cursor, (poll, end), now)

    @on_timer(POLL)
    def on_poll(
        self,
        session_id: Any = beam.DoFn.KeyParam,
        cursor: Any = beam.DoFn.StateParam(CURSOR),  # noqa: B008
        poll: Any = beam.DoFn.TimerParam(POLL),  # noqa: B008
        end: Any = beam.DoFn.TimerParam(END_OF_INPUT),  # noqa: B008
    ) -> Iterator[Any]:
        now = time.monotonic()
        live = self._live(session_id, cursor, now)
        if live is not None:
            live.timer_due_at = None
            yield from self._step(live, lambda: live.handle_timer(now), cursor, (poll, end), now)

    @on_timer(END_OF_INPUT)
    def on_end_of_input(
        self,
        session_id: Any = beam.DoFn.KeyParam,
        cursor: Any = beam.DoFn.StateParam(CURSOR),  # noqa: B008
        poll: Any = beam.DoFn.TimerParam(POLL),  # noqa: B008
        end: Any = beam.DoFn.TimerParam(END_OF_INPUT),  # noqa: B008
    ) -> Iterator[Any]:
        """There is no more input, and runners fire timers in event time only: so this one takes the place of
        POLL, again and again, until the session is over, or, when the job is drained, until it rests: it goes
        on with the next job, from its marker.
        """
        poll.clear()
        now = time.monotonic()
        live = self._live(session_id, cursor, now)
        if live is None or live.session.at_rest:
            return
        time.sleep(max(0.0, min(_END_POLL_SECONDS, live.end_polled_at + _END_ROUND_SECONDS - now)))
        live.end_polled_at = now
        go_on = live.suspend if self._is_drained() else live.handle_timer
        yield from self._step(live, lambda: go_on(now), cursor, None, now)
        end.set(_END_OF_TIME)

    def _is_drained(self) -> bool:
        """Whether the input has ended although it has no end: someone asked, or the runner stops the job."""
        return self._settings.stop_at is None or self._drain_request is not None

    @property
    def _drain_request(self) -> str | None:
        place = self._settings.drain
        return None if place is None else drain_watch(self._settings.kafka, place).request_id

    # Finding the live session

    def _live(self, session_id: str, cursor: Any, now: float) -> LiveSession | None:
        """The session as this process has it, if it agrees with the state; else restored from the state."""
        key = (self._settings.job_id, session_id)
        live = self._runtime.get(key)
        if live is not None and session_id in self._checked:
            return live
        self._checked.add(session_id)
        stored = cursor.read()
        if stored is None:
            self._runtime.remove(key)  # opened by a bundle that was never committed
            return None
        self._unfinished.discard(session_id)
        if live is not None and live.stored == stored:
            return live
        return self._restore(session_id, stored, now)

    def _restore(self, session_id: str, stored: bytes, now: float) -> LiveSession:
        count("recoveries")
        return self._install(session_id, SessionCursor.from_record(self._cursors.decode(stored)), now)

    def _open(self, session_id: str, records: Sequence[KafkaRecord], now: float) -> LiveSession | None:
        """A session without state: one that another job had begun goes on, else a new one is begun by the
        first usable chunk; None when there is none.
        """
        begun = self._unfinished.take(records[0], session_id)
        if begun is not None and begun.cursor is not None:
            return self._restore(session_id, begun.cursor, now)
        for record in records:
            chunk = self._usable(record)
            if chunk is not None:
                count("sessions_opened")
                defaults = self._settings.session_defaults
                opening = opening_cursor(chunk, record.offset, record.partition, defaults)
                return self._install(session_id, opening, now)
        return None

    def _usable(self, record: KafkaRecord) -> AudioChunk | None:
        try:
            return self._decoder.decode(record)
        except ChunkRejected:
            return None

    def _install(self, session_id: str, cursor: SessionCursor, now: float) -> LiveSession:
        settings = self._settings
        topic = settings.topics.audio
        session = Session(
            cursor,
            session_id=session_id,
            topic=topic,
            limits=settings.limits,
            backoff=full_jitter,
            now=now,
            owner=secrets.token_hex(8),
            required=settings.required_settings,
        )
        live = LiveSession(
            session,
            service=settings.service,
            log=audio_log(settings.kafka),
            topic=topic,
            decoder=self._decoder,
            loop=self._runtime.loop,
            catch_up_rate=settings.catch_up_rate,
            slots=self._slots,
            heard=self._runtime.heard(settings.job_id),
        )
        self._runtime.put((settings.job_id, session_id), live)
        return live

    # One step of the engine

    def _step(
        self,
        live: LiveSession,
        call: Callable[[], list[Output]],
        cursor: Any,
        timers: tuple[Any, Any] | None,
        now: float,
    ) -> Iterator[Any]:
        """`timers`: POLL and END_OF_INPUT, to be kept; None when the input has ended."""
        key = (self._settings.job_id, live.session.session_id)
        # A step that fails half way (the registry is down, say) leaves a session whose outputs are lost:
        # whoever retries the bundle begins from the state.
        with live.lock, self._dropping(key):
            outputs = call()
            forget = any(isinstance(output, Forget) for output in outputs)
            step = self._take_step(live, outputs)
            if forget:
                cursor.clear()
                self._runtime.remove(key)
                if timers is not None:
                    timers[1].clear()
            elif step is not None:
                live.stored = step.cursor
                cursor.write(step.cursor)
            if not forget and timers is not None:
                self._schedule(live, timers[0], now)
            encoded = [tagged for output in outputs for tagged in self._encode(live, output)]
        levels = self._slots.due_levels()
        if levels is not None:
            show_levels(levels)
        yield from encoded
        if step is not None:
            yield beam.pvalue.TaggedOutput(STEPS, step.as_tuple())

    def _take_step(self, live: LiveSession, outputs: Sequence[Output]) -> SessionStep | None:
        """What is to be published with the cursor that goes to the state; None when the cursor stays."""
        if not live.session.dirty:
            return None
        snapshot = live.session.take_snapshot()
        ended = [
            session_ended_record(output.summary, ended_at_ms=now_ms())
            for output in outputs
            if isinstance(output, EmitSessionEnded)
        ]
        return SessionStep(
            session_id=live.session.session_id,
            opening=Opening(
                self._settings.topics.audio,
                self._settings.audio_topic_id,
                snapshot.partition,
                snapshot.opened_offset,
            ),
            resume_offset=snapshot.resume.offset,
            covered_sample=snapshot.resume.start_sample,
            cursor=self._cursors.encode(snapshot.to_record()),
            finals=tuple(final_record(output.final) for output in outputs if isinstance(output, EmitFinal)),
            ended=ended[-1] if ended else None,
            passed=live.trace_headers,
        )

    @contextmanager
    def _dropping(self, key: tuple[str, str]) -> Iterator[None]:
        """Drop the live session if the block fails."""
        try:
            yield
        except Exception:
            self._runtime.remove(key)
            raise

    def _schedule(self, live: LiveSession, poll: Any, now: float) -> None:
        unix_now = time.time()
        firing_at = firing_to_set(live.session.next_timer(now), live.timer_due_at, now, unix_now=unix_now)
        if firing_at is not None:
            live.timer_due_at = firing_at
            poll.set(Timestamp.of(unix_now + firing_at - now))

    # Outputs

    def _encode(self, live: LiveSession, output: Output) -> Iterator[Any]:
        match output:
            case EmitPartial(partial):
                if self._settings.topics.partials is not None:
                    position = (self._settings.topics.audio, live.session.partition)
                    yield _tagged(PARTIALS, self._encoder.partial(partial, position))
            case EmitSessionEnded():
                count("sessions_ended")
            case Reject(offset, rejection):
                record = live.record(offset)
                if record is not None:
                    yield self._dead_letter(record, rejection, live.session.session_id)
            case RejectSession(start_offset, end_offset, rejection):
                count("sessions_rejected")
                yield self._dead_letter(
                    self._position_of(live, start_offset),
                    ChunkRejected(
                        rejection.error_class, range_message(start_offset, end_offset, rejection.reason)
                    ),
                    live.session.session_id,
                )
            case Observe(name, value, label):
                count(name, value, label)
            case Measured(name, value):
                measure(name, value)

    def _position_of(self, live: LiveSession, offset: int) -> KafkaRecord:
        """A record without value that names where a refused session's audio begins."""
        key = live.session.session_id.encode()
        topic = self._settings.topics.audio
        return KafkaRecord(topic, live.session.partition, offset, NO_TIMESTAMP, 0, key, None)

    def _dead_letter(self, record: KafkaRecord, rejection: ChunkRejected, session_id: str | None) -> Any:
        count("dead_letters", label=rejection.error_class)
        letter = self._encoder.dead_letter(record, stage_of(rejection.error_class), rejection, session_id)
        return _tagged(DEAD_LETTERS, letter)

    def _reject_all(self, session_id: str, records: Iterable[KafkaRecord]) -> Iterator[Any]:
        """Dead letters for records that open no session; each of them has a rejection."""
        for record in records:
            try:
                self._decoder.decode(record)
            except ChunkRejected as rejection:
                yield self._dead_letter(record, rejection, session_id)


class TranscribeSessions(beam.PTransform):
    """Keyed batches of audio records to a dictionary of outputs: steps (what a session has to publish for
    good, `SessionStep.as_tuple`), partials and dead letters.

    Input: `(session_id, records)` with records as plain tuples (`KafkaRecord.as_tuple`), in the order of
    their offsets. One live stream of Amazon Transcribe Medical is kept per session.
    """

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, keyed_batches: Any) -> Any:
        tags = (STEPS, PARTIALS, DEAD_LETTERS)
        outputs = keyed_batches | beam.ParDo(TranscribeFn(self._settings)).with_outputs(*tags)
        return {tag: outputs[tag] for tag in tags}


def _tagged(tag: str, record: OutputRecord) -> Any:
    return beam.pvalue.TaggedOutput(tag, record)
