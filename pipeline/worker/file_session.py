"""One recording through the session engine: the audio source is the log, this process the worker.

What Kafka and Beam are to `medstream run`, `FileSession` is to one recording: it feeds chunks when they are
due, calls the engine's timer when the engine wants it, hands the outputs on, and reads the audio again from
its source when a stream was lost. The engine, the streams and the recovery are the same.

The caller's thread does all of that; the streams live on the event loop of `live_streams.runtime`.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace

from connectors.kafka.log_scan import LogSlice
from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from pipeline.audio.audio_file import AUDIO, AudioSource
from pipeline.audio.playback import CHUNKS_PER_SECOND, UNPACED, catch_up_rate, due_at
from pipeline.backoff import full_jitter
from pipeline.elements import AudioChunk, AudioFormat, LogEntry, SessionSettings
from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import EmitSessionEnded, Observe
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session, opening_cursor
from pipeline.errors import SettingsError
from pipeline.output.transcript_text import Ending
from pipeline.worker.live_outputs import FailureReport, Measured, Output
from pipeline.worker.live_session import LiveSession
from pipeline.worker.live_streams import runtime
from pipeline.worker.service import ServiceSettings

TOPIC = "audio"  # in the `source` of outputs, where offsets count chunks of 100 ms
_END_OF_SESSION = "end_of_session"
_MAX_WAITING_CHUNKS = 600 * CHUNKS_PER_SECOND  # audio taken in while no stream takes it
_MAX_WAIT_SECONDS = 0.1  # so soon an interrupt is noticed
_LAST_RESULTS_SECONDS = 5.0  # after an interrupt
_LIMITS = SessionLimits(
    session_timeout_seconds=math.inf,  # a source that pauses has not ended
    poll_flowing_seconds=0.05,
    poll_paused_seconds=0.05,
)


class PieceDecoder:
    """A `RecordDecoder` for records whose value is bare PCM of one format."""

    def __init__(self, session_id: str, audio: AudioFormat) -> None:
        self._session_id = session_id
        self._format = audio

    def entries(self, records: Iterable[KafkaRecord]) -> Iterator[LogEntry]:
        for record in records:
            yield LogEntry(record.offset, self.chunk(record))

    def chunk(self, record: KafkaRecord) -> AudioChunk:
        return AudioChunk(
            session_id=self._session_id,
            sequence=record.offset,
            payload=record.value or b"",
            format=self._format,
            end_of_session=record.header(_END_OF_SESSION) is not None,
        )


class SourceLog:
    """A `SessionLog` over an audio source; offsets are chunk numbers. Answers at once."""

    def __init__(self, source: AudioSource, session_id: str) -> None:
        self._source = source
        self._key = session_id.encode()
        self._ends_at: int | None = None

    def end_at(self, number: int) -> None:
        """Let the audio end before chunk `number`, whatever the source holds."""
        self._ends_at = number

    def record(self, number: int) -> KafkaRecord | None:
        """Chunk `number` as a record; None when it has not arrived yet. Raises SettingsError."""
        if number == self._ends_at:
            return self._record(number, b"", last=True)
        piece = self._source.piece(number)
        return None if piece is None else self._record(number, piece.payload, last=piece.last)

    def _record(self, number: int, payload: bytes, *, last: bool) -> KafkaRecord:
        headers = ((_END_OF_SESSION, b"true"),) if last else ()
        return KafkaRecord(TOPIC, 0, number, NO_TIMESTAMP, 0, self._key, payload, headers)

    def read(
        self,
        _topic: str,
        _partition: int,
        _key: bytes,
        start_offset: int,
        end_offset: int,
        /,
        *,
        max_bytes: int,
    ) -> Future[LogSlice]:
        """See `AudioLog.read`; this log has one topic, one partition and one key."""
        records: list[KafkaRecord] = []
        size_bytes = 0
        for number in range(start_offset, end_offset):
            record = self.record(number)
            size_bytes += len(record.value or b"") if record is not None else 0
            if record is None or (records and size_bytes > max_bytes):
                break
            records.append(record)
        next_offset = start_offset + len(records)
        answer: Future[LogSlice] = Future()
        answer.set_result(LogSlice(tuple(records), next_offset, complete=next_offset >= end_offset))
        return answer


class FileSession:
    """See the module. `speed` is times real time, or UNPACED.

    `show` gets every output, in order; `tell` a sentence about what happens meanwhile, without any text of
    the transcript. More than `max_retries` failures in a row end the session, as does one that no retry can
    mend. `arrival` is set by whoever has news: the source.
    """

    def __init__(
        self,
        source: AudioSource,
        *,
        service: ServiceSettings,
        settings: SessionSettings,
        speed: float,
        max_retries: int,
        show: Callable[[Output], None],
        tell: Callable[[str], None],
        arrival: threading.Event,
    ) -> None:
        self._source = source
        self._speed = speed
        self._max_retries = max_retries
        self._show = show
        self._tell = tell
        self._arrival = arrival
        self._settings = settings
        self._session_id = str(uuid.uuid4())
        self._log = SourceLog(source, self._session_id)
        self._service = service
        self._next = 0  # number of the chunk to feed
        self._fed_bytes = 0
        self._fed_all = False
        self._held_from = 0  # chunks before it are covered
        self._failure: StreamFailure | None = None
        self._retries = 0
        self._over = False
        self._interrupted = False
        self._give_up_at = math.inf

    def interrupt(self) -> None:
        """The user wants to stop: no more audio goes out, last results are awaited for a few seconds.

        May be called from a signal handler, so it takes no lock: the thread that it interrupts may hold it.
        (Whoever waits for an Event holds its lock for a moment; to set it then would wait for ever.)
        """
        self._interrupted = True

    def run(self) -> Ending:
        """Transcribe to the end; raises SettingsError when the source cannot be read or holds nothing."""
        first = self._first_record()
        if first is None:
            return Ending(0.0, 0.0, 0, 0, 0, interrupted=True)
        self._open(first, time.monotonic())
        try:
            while not self._over:
                self._step(time.monotonic())
        finally:
            self._live.drop()
        return self._ending()

    # Opening

    def _first_record(self) -> KafkaRecord | None:
        """Waits for the first chunk; None after an interrupt."""
        while not self._interrupted:
            self._arrival.clear()
            record = self._log.record(0)
            if record is None:
                self._arrival.wait(_MAX_WAIT_SECONDS)
            elif record.value:
                return record
            else:
                raise SettingsError(AUDIO, "there is no audio in it")
        return None

    def _open(self, first: KafkaRecord, now: float) -> None:
        decoder = PieceDecoder(self._session_id, self._source.format)
        cursor = opening_cursor(decoder.chunk(first), 0, 0, self._settings)
        self._session = Session(
            cursor,
            session_id=self._session_id,
            topic=TOPIC,
            limits=replace(_LIMITS, max_retries=self._max_retries),
            backoff=full_jitter,
            now=now,
        )
        self._live = LiveSession(
            self._session,
            service=self._service,
            log=self._log,
            topic=TOPIC,
            decoder=decoder,
            loop=runtime().loop,
            catch_up_rate=catch_up_rate(self._speed),
        )
        self._started_at = self._timer_at = now

    # One step

    def _step(self, now: float) -> None:
        """Feed a chunk that is due, else let the engine look at the time, else wait."""
        self._arrival.clear()
        self._heed_interrupt(now)
        record = self._due_record(now)
        if record is not None:
            self._feed(record, now)
        elif now >= self._timer_at:
            self._take(self._live.handle_timer(now), now)
        else:
            self._arrival.wait(min(self._wake_at() - now, _MAX_WAIT_SECONDS))

    def _heed_interrupt(self, now: float) -> None:
        if self._interrupted and self._give_up_at == math.inf:
            self._give_up_at = now + _LAST_RESULTS_SECONDS
            self._tell(f"interrupted; waiting up to {_LAST_RESULTS_SECONDS:.0f} s for the last results")
            if not self._fed_all:
                self._log.end_at(self._next)
        self._over = self._over or now >= self._give_up_at

    def _due_record(self, now: float) -> KafkaRecord | None:
        if self._fed_all or now < self._due_at() or not self._may_feed():
            return None
        return self._log.record(self._next)

    def _due_at(self) -> float:
        if self._interrupted:
            return self._started_at
        return due_at(self._next, self._source.format, self._speed, self._started_at)

    def _may_feed(self) -> bool:
        """A live source must not wait for the service, unless that would take more memory than there is."""
        if self._session.wants_audio:
            return True
        return self._speed != UNPACED and self._next - self._held_from < _MAX_WAITING_CHUNKS

    def _wake_at(self) -> float:
        due = self._due_at()
        feeds_later = not self._fed_all and due > time.monotonic()
        return min(self._timer_at, self._give_up_at, due if feeds_later else math.inf)

    def _feed(self, record: KafkaRecord, now: float) -> None:
        self._next += 1
        self._fed_bytes += len(record.value or b"")
        self._fed_all = record.header(_END_OF_SESSION) is not None
        self._take(self._live.receive([record], now), now)

    def _take(self, outputs: list[Output], now: float) -> None:
        """Hand outputs on and keep the books that Beam keeps for a worker: cursor and timer."""
        for output in outputs:
            if isinstance(output, Observe | Measured):
                continue  # this command counts nothing
            self._show(output)
            if isinstance(output, EmitSessionEnded):
                self._over = True
            elif isinstance(output, FailureReport):
                self._judge(output)
        if self._session.dirty:
            self._held_from = self._session.take_snapshot().resume.offset
            self._source.forget_before(self._held_from)
        self._timer_at = self._session.next_timer(now)

    def _judge(self, report: FailureReport) -> None:
        failure = report.failure
        if not failure.retryable or report.failures > self._max_retries:
            self._failure, self._over = failure, True
        else:
            self._retries += 1
            self._tell(
                f"a stream was lost ({failure.code}: {failure.message}); retry {report.failures} of "
                f"{self._max_retries}, from the first audio that no final covers"
            )

    def _ending(self) -> Ending:
        audio = self._source.format
        cursor = self._session.take_snapshot()
        return Ending(
            audio_seconds=audio.seconds(audio.samples(self._fed_bytes)),
            covered_seconds=audio.seconds(cursor.resume.start_sample),
            finals=cursor.next_segment_index,
            streams=cursor.streams,
            retries=self._retries,
            failure=self._failure,
            interrupted=self._interrupted,
        )
