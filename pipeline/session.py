"""The session engine: one pure state machine per session; events and `now` in, commands out.

Kafka is the log; the cursor says from where it must be read again; the stream of the service is a cache that
may vanish at any moment. A session therefore has two simple parts:

- its stream (`stream_state` has the table): none, opening, open, ending;
- its feed (`feed`): live, or behind and reading the log. A lost stream, a killed worker, a restored
  checkpoint and
  a full outbound buffer all lead to the same place: behind.

Events never block and touch nothing outside; the shell (`live_streams`) executes the commands in order. `now`
is seconds of any monotonic clock, the same one for every call of a session's life in a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connectors.transcribe.model import MedicalResult
from pipeline.answers import LogSlice, StreamFailure
from pipeline.books import SessionBooks
from pipeline.commands import (
    Command,
    DropStream,
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    EndStream,
    Forget,
    OpenStream,
    ReadLog,
    Reject,
    RejectSession,
    SendAudio,
)
from pipeline.cursor import SessionCursor, SessionStatus
from pipeline.elements import (
    LOST_OFFSETS,
    SESSION_REFUSED,
    AudioChunk,
    LogEntry,
    PartialTranscript,
    SessionSettings,
)
from pipeline.errors import ChunkRejected
from pipeline.feed import AudioFeed
from pipeline.limits import SessionLimits
from pipeline.reassembly import Reassembler, covered_seconds
from pipeline.stream_state import StreamEvent, StreamState, next_state
from pipeline.timeline import Position

END_OF_SESSION = "END_OF_SESSION"
SESSION_TIMEOUT = "SESSION_TIMEOUT"
REJECTED = "REJECTED"

_RECORD_OVERHEAD = 1.2  # Avro fields and headers beside the payload, when a log read is sized in bytes


def opening_cursor(
    chunk: AudioChunk, offset: int, partition: int, defaults: SessionSettings
) -> SessionCursor:
    """The cursor of a session whose first chunk is `chunk`, at `offset`."""
    return SessionCursor(
        version=0,
        status=SessionStatus.ACTIVE,
        partition=partition,
        resume=Position(offset, chunk.sequence, 0),
        channel_end_times={},
        next_segment_index=0,
        format=chunk.format,
        settings=defaults.overridden(chunk.settings),
        opened_offset=offset,
        origin_ms=chunk.captured_at_ms,
    )


class Session:
    """See the module. A cursor of version 0 opens a new session; any other is restored, and so begins behind.

    `backoff` maps the number of failures in a row (from 1) to the seconds until the next stream. `failures`
    is that number now (a final ends the row), `last_failure` why the last stream was lost.
    """

    def __init__(
        self,
        cursor: SessionCursor,
        *,
        session_id: str,
        topic: str,
        limits: SessionLimits,
        backoff: Callable[[int], float],
        now: float,
    ) -> None:
        self.session_id = session_id
        self._format = cursor.format
        self._status = cursor.status
        self._limits = limits
        self._backoff = backoff
        self._books = SessionBooks(cursor, session_id=session_id, topic=topic)
        self._feed = AudioFeed(cursor)
        self._stream = StreamState.NONE
        self._serial, self._stream_id, self._request_id = 0, "", ""
        self._reassembler = Reassembler(0.0, self._books.ends)
        self._sent_samples, self._written_samples = 0, 0
        self.failures, self._retry_at = 0, now
        self.last_failure: StreamFailure | None = None
        self._last_audio_at, self._last_answer_at, self._ended_at = now, now, now
        if cursor.version == 0:
            self._feed.open_live()
            self._books.dirty = True

    # Events: audio

    def receive_batch(self, entries: Iterable[LogEntry], now: float) -> list[Command]:
        """Records of this session from the source, in the order of their offsets."""
        commands: list[Command] = []
        self._last_audio_at = now
        for entry in entries:
            rejection = self._feed.see(entry, self._status)
            if rejection is not None:
                commands.append(Reject(entry.offset, rejection))
            elif (
                entry.chunk is not None and self._feed.is_new(entry) and self._status is SessionStatus.ACTIVE
            ):
                self._take_or_fall_behind(entry.offset, entry.chunk, commands)
        self._advance(commands, now)
        return commands

    def _take_or_fall_behind(self, offset: int, chunk: AudioChunk, commands: list[Command]) -> None:
        if self._feed.behind or not self._can_take():
            self._feed.behind = True
        else:
            self._take(offset, chunk, commands)

    def _can_take(self) -> bool:
        if self._stream is StreamState.NONE:
            return self.failures == 0
        return (
            self._stream is not StreamState.ENDING and self._outbound_seconds < self._limits.outbound_seconds
        )

    def receive_log(self, read_id: int, log: LogSlice, now: float) -> list[Command]:
        """The answer to ReadLog."""
        if not self._feed.awaits(read_id):
            return []
        commands: list[Command] = []
        if log.lost is not None:
            self._books.enter_gap(LOST_OFFSETS, self._feed)
        for entry in log.entries:
            if entry.chunk is None or not self._feed.is_new(entry):
                continue
            rejection = self._feed.judge(entry.chunk)
            if rejection is None:
                self._take(entry.offset, entry.chunk, commands)
            elif not self._feed.is_reported(entry.offset):
                commands.append(Reject(entry.offset, rejection))
        self._feed.finish_read(log.next_offset, complete=log.complete)
        self._advance(commands, now)
        return commands

    def log_failed(self, read_id: int, now: float) -> list[Command]:
        """A log read did not succeed (the broker is away); it is tried again after a backoff."""
        if self._feed.awaits(read_id):
            self._feed.abandon_read()
            self._note_failure(now)
        return []

    def _take(self, offset: int, chunk: AudioChunk, commands: list[Command]) -> None:
        span = self._feed.place(offset, chunk)
        if span is None:
            return
        start = max(span.start_sample, self._covered_sample())
        if start >= span.end_sample:
            return
        if self._stream is StreamState.NONE:
            self._open_stream(start, commands)
        self._sent_samples += span.end_sample - start
        skipped_bytes = (start - span.start_sample) * self._format.bytes_per_sample
        commands.append(SendAudio(self._serial, chunk.payload[skipped_bytes:]))

    def _covered_sample(self) -> int:
        seconds = covered_seconds(self._format.channels, self._books.ends, self._reassembler.open_results)
        return round(seconds * self._format.sample_rate_hertz)

    @property
    def _outbound_seconds(self) -> float:
        return self._format.seconds(self._sent_samples - self._written_samples)

    # Events: the stream

    def _open_stream(self, base_sample: int, commands: list[Command]) -> None:
        self._stream = next_state(self._stream, StreamEvent.OPEN)
        self._serial += 1
        self._books.streams += 1
        self._sent_samples, self._written_samples = 0, 0
        self._reassembler = Reassembler(self._format.seconds(base_sample), self._books.ends)
        commands.append(OpenStream(self._serial, self._format, self._books.cursor.settings))

    def stream_opened(self, serial: int, stream_id: str, request_id: str | None, now: float) -> list[Command]:
        """The service accepted the stream."""
        if self._is_current(serial):
            self._stream = next_state(self._stream, StreamEvent.OPENED)
            self._stream_id, self._request_id = stream_id, request_id or ""
            self._last_answer_at = now
        return []

    def stream_progress(self, serial: int, written_samples: int, now: float) -> list[Command]:
        """`written_samples` of this stream's audio have left the outbound buffer so far."""
        commands: list[Command] = []
        if self._is_current(serial):
            self._written_samples = written_samples
            self._advance(commands, now)
        return commands

    def receive_results(self, serial: int, results: Iterable[MedicalResult], now: float) -> list[Command]:
        """Results of the stream in the order of arrival."""
        if not self._is_current(serial):
            return []
        self._last_answer_at = now
        commands: list[Command] = []
        for result in results:
            placed = self._reassembler.receive(result)
            if placed is not None:
                commands.append(self._partial(placed) if placed.is_partial else self._final(placed))
        return commands

    def _final(self, result: MedicalResult) -> EmitFinal:
        final = self._books.enter_final(result, self._stream_id, self._request_id or None, self._feed)
        self._feed.timeline.cover(self._covered_sample())
        self.failures = 0
        return EmitFinal(final)

    def _partial(self, result: MedicalResult, *, superseded: bool = False) -> EmitPartial:
        partial = PartialTranscript(
            session_id=self.session_id,
            result_id=result.result_id,
            channel_id=result.channel_id,
            start_time=result.start_time,
            end_time=result.end_time,
            alternatives=result.alternatives,
            stream_id=self._stream_id,
            superseded=superseded,
        )
        return EmitPartial(partial)

    def stream_closed(self, serial: int, now: float) -> list[Command]:
        """The service ended the stream without error, after everything was sent."""
        if not self._is_current(serial):
            return []
        if self._stream is not StreamState.ENDING:
            early = StreamFailure("EndedEarly", "the service ended the stream before it was asked to")
            return self.stream_failed(serial, early, now)
        commands = self._leave_stream(StreamEvent.CLOSED)
        self._books.enter_stream_end(self._feed)
        self.failures = 0
        self._advance(commands, now)
        return commands

    def stream_failed(self, serial: int, failure: StreamFailure, now: float) -> list[Command]:
        """The stream is lost; what finals do not cover will be read again and sent to another one."""
        if not self._is_current(serial):
            return []
        commands = self._leave_stream(StreamEvent.FAILED)
        self._feed.rewind()
        self._books.retries += 1
        self.last_failure = failure
        self._note_failure(now)
        if not failure.retryable:
            self._refuse(failure, commands, now)
        self._advance(commands, now)
        return commands

    def _leave_stream(self, event: StreamEvent) -> list[Command]:
        """No stream from here on; whatever was shown of unfinished segments is withdrawn."""
        self._stream = next_state(self._stream, event)
        self._sent_samples, self._written_samples = 0, 0
        withdrawn: list[Command] = [self._partial(r, superseded=True) for r in self._reassembler.open_results]
        self._reassembler = Reassembler(0.0, self._books.ends)
        return withdrawn

    def _note_failure(self, now: float) -> None:
        self.failures += 1
        self._retry_at = now + self._backoff(self.failures)

    def _is_current(self, serial: int) -> bool:
        return serial == self._serial and self._stream is not StreamState.NONE

    # Events: time

    def handle_timer(self, now: float) -> list[Command]:
        """Whatever time alone brings about; call it at `next_timer` or later."""
        commands: list[Command] = []
        if self._status is not SessionStatus.ACTIVE:
            forget = now >= self._ended_at + self._limits.ended_retention_seconds
            return [Forget()] if forget else []
        if self._stream is StreamState.ENDING:
            self._check_drain(commands, now)
        elif self._stream is not StreamState.NONE and self._idle(now):
            self._end_stream(commands, now)
        self._advance(commands, now)
        return commands

    def _idle(self, now: float) -> bool:
        quiet_seconds = now - self._last_audio_at
        return not self._feed.behind and quiet_seconds >= self._limits.idle_close_seconds

    def _check_drain(self, commands: list[Command], now: float) -> None:
        if now - self._last_answer_at >= self._limits.drain_timeout_seconds:
            commands.append(DropStream(self._serial))
            late = StreamFailure("DrainTimeout", "no last results after the closing frame")
            commands.extend(self.stream_failed(self._serial, late, now))

    def next_timer(self, now: float) -> float:
        """When `handle_timer` should be called if nothing else happens before."""
        if self._status is not SessionStatus.ACTIVE:
            return self._ended_at + self._limits.ended_retention_seconds
        if self._stream is not StreamState.NONE or self._feed.reading:
            recent = now - self._last_audio_at < self._limits.poll_flowing_seconds
            flowing = recent and self._stream is not StreamState.ENDING
            return now + (self._limits.poll_flowing_seconds if flowing else self._limits.poll_paused_seconds)
        if self._feed.behind:
            return max(self._retry_at, now + self._limits.poll_paused_seconds)
        return self._last_audio_at + self._limits.session_timeout_seconds

    # What follows from the state as it is

    def _advance(self, commands: list[Command], now: float) -> None:
        if self._status is not SessionStatus.ACTIVE or self._feed.reading:
            return
        if self._feed.behind:
            self._catch_up(commands, now)
        if self._feed.behind:
            return
        if self._feed.end_marked:
            self._end_session(END_OF_SESSION, commands, now)
        elif now - self._last_audio_at >= self._limits.session_timeout_seconds:
            self._end_session(SESSION_TIMEOUT, commands, now)

    def _catch_up(self, commands: list[Command], now: float) -> None:
        room_seconds = self._limits.outbound_seconds - self._outbound_seconds
        waits = now < self._retry_at or self._stream is StreamState.ENDING
        if waits or room_seconds < self._limits.outbound_seconds / 2:
            return
        read = self._feed.next_read()
        if read is not None:
            bytes_per_second = self._format.sample_rate_hertz * self._format.bytes_per_sample
            commands.append(ReadLog(*read, max_bytes=int(room_seconds * bytes_per_second * _RECORD_OVERHEAD)))

    def _end_session(self, reason: str, commands: list[Command], now: float) -> None:
        if self._stream in (StreamState.OPENING, StreamState.OPEN):
            self._end_stream(commands, now)
        elif self._stream is StreamState.NONE:
            self._status = SessionStatus.ENDED
            self._close(reason, commands, now)

    def _end_stream(self, commands: list[Command], now: float) -> None:
        self._stream = next_state(self._stream, StreamEvent.END)
        self._last_answer_at = now
        commands.append(EndStream(self._serial))

    def _refuse(self, failure: StreamFailure, commands: list[Command], now: float) -> None:
        self._status = SessionStatus.REFUSED
        rejection = ChunkRejected(SESSION_REFUSED, f"{failure.code}: {failure.message}")
        start_offset = self._feed.timeline.resume.offset
        commands.append(RejectSession(start_offset, max(start_offset, self._feed.seen_offset - 1), rejection))
        self._close(REJECTED, commands, now)

    def _close(self, reason: str, commands: list[Command], now: float) -> None:
        self._ended_at = now
        commands.append(EmitSessionEnded(self._books.close(reason, self._feed)))

    # The cursor

    @property
    def cursor(self) -> SessionCursor:
        """The last cursor taken: that of Beam state, unless one of the two is ahead or of another worker."""
        return self._books.cursor

    @property
    def dirty(self) -> bool:
        """Whether the cursor has to be written."""
        return self._books.dirty

    @property
    def wants_audio(self) -> bool:
        """For a source that can wait: whether a chunk would go on now, instead of being read again later."""
        return not self._feed.behind and (self._stream is StreamState.NONE or self._can_take())

    @property
    def partition(self) -> int:
        return self._books.cursor.partition

    def take_snapshot(self) -> SessionCursor:
        """The cursor to write now; its version is one more than the last."""
        return self._books.take_snapshot(self._status, self._feed)
