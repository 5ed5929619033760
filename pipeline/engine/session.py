"""The session engine: one pure state machine per session; events and `now` in, commands out.

Kafka is the log; the cursor says from where it must be read again; the stream of the service is a cache that
may vanish at any moment. A session therefore has three parts: its state (`session_state` has the table), its
feed of audio (`feed`: live, or behind and reading the log) and its stream (`stream_view`). A lost stream, a
killed worker, a restored checkpoint and a full outbound buffer all lead to the same place: behind.

Events never block and touch nothing outside; the shell (`live_session`) executes the commands in order. `now`
is seconds of any monotonic clock, the same one for every call of a session's life in a process.

The shell also lends slots, for only so many streams may live at once. It asks `needs_slot` before each call,
says `slot_granted`, and takes the slot back when `holds_slot` is no longer true.
"""

from __future__ import annotations

from collections.abc import Iterable

from connectors.transcribe.model import MedicalResult
from pipeline.elements import RETRIES_EXHAUSTED, SESSION_REFUSED, AudioChunk, LogEntry, SessionSettings
from pipeline.engine.answers import LogSlice, StreamFailure
from pipeline.engine.commands import Command, DropStream, Forget, Reject
from pipeline.engine.cursor import SessionCursor, SessionStatus
from pipeline.engine.failures import FailureKind
from pipeline.engine.feed import after_end
from pipeline.engine.hearing import Hearing
from pipeline.engine.session_actions import SessionActions
from pipeline.engine.session_state import SessionEvent, SessionState
from pipeline.engine.stream_state import StreamEvent, StreamState
from pipeline.engine.stream_view import StreamView
from pipeline.engine.timeline import Position
from pipeline.errors import ChunkRejected

END_OF_SESSION = "END_OF_SESSION"
SESSION_TIMEOUT = "SESSION_TIMEOUT"
REJECTED = "REJECTED"

_LIVE = (SessionState.IDLE, SessionState.OPENING, SessionState.STREAMING)


def opening_cursor(
    chunk: AudioChunk, offset: int, partition: int, defaults: SessionSettings
) -> SessionCursor:
    """The cursor of a session whose first chunk at hand is `chunk`, at `offset`; sequences count from 0."""
    captured_at_ms, media_offset_ms = chunk.captured_at_ms, chunk.media_offset_ms or 0
    return SessionCursor(
        version=0,
        status=SessionStatus.ACTIVE,
        partition=partition,
        resume=Position(offset, 0, 0, 0),
        channel_end_times={},
        next_segment_index=0,
        format=chunk.format,
        settings=defaults.overridden(chunk.settings),
        opened_offset=offset,
        origin_ms=None if captured_at_ms is None else captured_at_ms - media_offset_ms,
    )


class Session(SessionActions):
    """See the module. A cursor of version 0 opens a new session; any other is restored, and so begins behind.

    `backoff` maps the number of failures in a row (from 1) to the seconds until the next stream. `owner` is
    an id that no other object of this class has, in whatever process; it marks the cursors this one wrote.
    """

    def _begin(self, now: float) -> None:
        self._now, self._commands = now, []

    def _answer(self) -> list[Command]:
        """Draw the conclusions from what has changed; returns the commands of the event."""
        self._advance()
        return self._commands

    # Slots

    def needs_slot(self, now: float, *, arriving: bool = False) -> bool:
        """Whether the session would open a stream if it might; `arriving`: a batch is at hand."""
        wants = self.state is SessionState.WAITING or (arriving and self.state is SessionState.IDLE)
        return wants and not self.holds_slot and not self._suspended and now >= self._retry.retry_at

    def slot_granted(self, now: float) -> list[Command]:
        """One stream may be opened: by the log that waits, or by the batch that follows at once."""
        self._begin(now)
        self.holds_slot = True
        return self._answer() if self.state is SessionState.WAITING else []

    # Audio

    def receive_batch(self, entries: Iterable[LogEntry], now: float) -> list[Command]:
        """Records of this session from the source, in the order of their offsets."""
        self._begin(now)
        self._last_audio_at = now
        for entry in entries:
            self._receive(entry)
        commands = self._answer()
        if self.state is SessionState.IDLE:
            self.holds_slot = False
        return commands

    def _receive(self, entry: LogEntry) -> None:
        behind = self._feed.behind
        self._feed.see(entry.offset)
        if entry.rejection is not None:
            self._commands.append(Reject(entry.offset, entry.rejection))
        if not self._feed.is_new(entry):
            return
        if self.state.finished:
            self._refuse_late(entry)
        elif not behind and (entry.chunk is None or self._feed.end_marked or self._can_take):
            self._take(entry)
        elif not behind:
            self._leave()

    @property
    def _can_take(self) -> bool:
        if self._stream is None:
            return self.holds_slot
        return self._stream.state is not StreamState.ENDING and self._room_seconds > 0

    def _leave(self) -> None:
        """A record was seen and stays in the log; while a stream ends that is no news."""
        if self._stream is not None and self._stream.state is not StreamState.ENDING:
            self._observe("outbound_overflows")

    def _refuse_late(self, entry: LogEntry) -> None:
        if entry.chunk is None or self._feed.is_duplicate(entry.chunk):
            return
        refused = ChunkRejected(SESSION_REFUSED, "this session was given up; see its first dead letter")
        ended = self.state is SessionState.ENDED
        self._commands.append(Reject(entry.offset, after_end(entry.chunk) if ended else refused))

    @property
    def wants_audio(self) -> bool:
        """For a source that can wait: whether a chunk would go on now, instead of being read again later."""
        return not self._feed.behind and (self._stream is None or self._can_take)

    @property
    def held_offsets(self) -> list[int]:
        """Offsets of records that wait for others before them; they may still be rejected."""
        return self._feed.held_offsets

    # The log

    def receive_log(self, read_id: int, log: LogSlice, now: float) -> list[Command]:
        """The answer to ReadLog."""
        if not self._feed.awaits(read_id):
            return []
        self._begin(now)
        self._excuse_producer()
        if log.lost is not None:
            self._feed.note_lost()
        next_offset, complete = log.next_offset, log.complete
        for entry in log.entries:
            if self._room_seconds <= 0:  # gaps had taken more of it than the read was sized for
                next_offset, complete = entry.offset, False
                break
            if self._feed.is_new(entry):
                self._last_audio_at = now
                self._take(entry)
        self._carry_out(self._feed.finish_read(next_offset, complete=complete))
        return self._answer()

    def log_failed(self, read_id: int, now: float) -> list[Command]:
        """A log read did not succeed (the broker is away); it is tried again after a backoff."""
        if self._feed.awaits(read_id):
            self._feed.abandon_read()
            self._retry.note(now)
            self._broker_was_away = True
        return []

    # The stream

    @property
    def failures(self) -> int:
        return self._retry.failures

    @property
    def last_failure(self) -> StreamFailure | None:
        return self._retry.last_failure

    def _current(self, serial: int) -> StreamView | None:
        return self._stream if self._stream is not None and self._stream.serial == serial else None

    def stream_opened(self, serial: int, stream_id: str, request_id: str | None, now: float) -> list[Command]:
        """The service accepted the stream."""
        stream = self._current(serial)
        if stream is None:
            return []
        self._begin(now)
        stream.opened(stream_id, request_id, now)
        if self.state is SessionState.OPENING:
            self._go(SessionEvent.OPENED)
        return self._answer()

    def stream_progress(self, serial: int, written_samples: int, now: float) -> list[Command]:
        """`written_samples` of this stream's audio have left the outbound buffer so far."""
        stream = self._current(serial)
        if stream is None:
            return []
        self._begin(now)
        stream.wrote(written_samples)
        if stream.healthy(self._limits, now):
            self._retry.forget()
        return self._answer()

    def receive_results(self, serial: int, results: Iterable[MedicalResult], now: float) -> list[Command]:
        """Results of the stream in the order of arrival."""
        stream = self._current(serial)
        if stream is None:
            return []
        self._begin(now)
        stream.last_answer_at = now
        for result in results:
            placed = stream.heard(result, now)
            if placed is None:
                continue
            if placed.is_partial:
                self._show(placed, stream)
            elif stream.reaches_seam(placed):
                self._show(placed, stream, superseded=True)
            else:
                self._publish(placed, stream)
        self._rotate_if_due()
        return self._commands

    def stream_closed(self, serial: int, now: float) -> list[Command]:
        """The service ended the stream without error, after everything was sent."""
        stream = self._current(serial)
        if stream is None:
            return []
        early = self._why_too_early(stream)
        if early is not None:
            return self.stream_failed(serial, early, now)
        self._begin(now)
        self._believe(stream)
        self._retry.forget()
        self.holds_slot = self.state is SessionState.ROTATING and not self._suspended
        self._go(SessionEvent.CLOSED)
        return self._answer()

    def _why_too_early(self, stream: StreamView) -> StreamFailure | None:
        if stream.state is not StreamState.ENDING:
            return StreamFailure("EndedEarly", "the service ended the stream before it was asked to")
        if self.state is SessionState.DRAINING and stream.reassembler.open_results and not self.failures:
            # Heard once more: a segment without a final may have lost it by accident.
            return StreamFailure("EndedEarly", "the service ended the stream before a segment's final")
        return None

    def stream_failed(self, serial: int, failure: StreamFailure, now: float) -> list[Command]:
        """The stream is lost; what finals do not cover will be read again and sent to another one."""
        if self._current(serial) is None:
            return []
        self._begin(now)
        self._lose_stream(failure)
        return self._answer()

    def _lose_stream(self, failure: StreamFailure) -> None:
        self._leave_stream(StreamEvent.FAILED, failure)
        self._feed.rewind()
        self.holds_slot = False
        self._books.retries += 1
        self._retry.note_stream(failure, self._now)
        if failure.kind is FailureKind.THROTTLED:
            self._observe("throttles")
        else:
            self._observe("stream_retries", label=failure.kind.value)
        if not failure.retryable:
            self._give_up(SESSION_REFUSED, REJECTED, failure)
        elif self._retry.exhausted:
            self._give_up(RETRIES_EXHAUSTED, RETRIES_EXHAUSTED, failure)
        else:
            self._go(SessionEvent.LOST)

    # Time

    def handle_timer(self, now: float, *, source: Hearing | None = None) -> list[Command]:
        """Whatever time alone brings about; call it at `next_timer` or later.

        `source`: what was heard of the partition: it tells whose pause it is, else the log is read.
        """
        self._begin(now)
        self._source = source
        if self.state.finished:
            return [Forget()] if now >= self._forget_at else []
        self._look_at_stream()
        if self._feed.hole_is_due(now):
            self._feed.check_log()
        return self._answer()

    def _look_at_stream(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if stream.state is StreamState.ENDING:
            if self._now - stream.last_answer_at >= self._limits.drain_timeout_seconds:
                self._commands.append(DropStream(stream.serial))
                self._lose_stream(StreamFailure("DrainTimeout", "no last results after the closing frame"))
        elif not self._has_more and self._is_quiet_for(self._limits.idle_close_seconds):
            self._observe("streams_closed_idle")
            self._end_stream(stream, SessionEvent.END, "idle")
        elif self._suspended:
            self._cut(stream)
        else:
            self._rotate_if_due()

    def suspend(self, now: float) -> list[Command]:
        """Instead of `handle_timer`, when the job is drained, until `at_rest`: what was sent to a stream gets
        its finals, but for the seam; the rest stays in the log, for the next job.
        """
        self._suspended = True
        if self._stream is None:
            self._feed.abandon_read()
            self.holds_slot = False
        return self.handle_timer(now)

    @property
    def at_rest(self) -> bool:
        """Whether a suspended session has nothing more to say."""
        return self.state.finished or (self._suspended and self._stream is None)

    @property
    def _forget_at(self) -> float:
        """Not while its producer goes on: it would begin anew, under the ids of its old finals."""
        return max(self._ended_at, self._last_audio_at) + self._limits.ended_retention_seconds

    def next_timer(self, now: float) -> float:
        """When `handle_timer` should be called if nothing else happens before."""
        limits = self._limits
        if self.state.finished:
            return self._forget_at
        if self.state is SessionState.WAITING:
            return max(self._retry.retry_at, now + limits.poll_waiting_seconds)
        if self._stream is not None or self._feed.reading:
            if self.state in (SessionState.DRAINING, SessionState.ROTATING):
                return now + limits.poll_paused_seconds
            return now + limits.poll_seconds(now - self._last_audio_at, behind=self._feed.behind)
        if self._feed.behind:
            return max(self._retry.retry_at, now + limits.poll_paused_seconds)
        hole_since = self._feed.hole_since
        if hole_since is not None:
            return max(now, hole_since + limits.reorder_wait_seconds)
        return self._last_audio_at + limits.session_timeout_seconds

    # What follows from the state as it is

    @property
    def _has_more(self) -> bool:
        """Whether audio is known that was not sent yet."""
        return self._feed.behind or self._feed.hole_since is not None

    def _advance(self) -> None:
        if self.state.finished or self._feed.reading:
            return
        if self.state is SessionState.WAITING and not self._feed.behind:
            self._go(SessionEvent.NOTHING_LEFT)
        if self.state in _LIVE and self._feed.behind:
            self._go(SessionEvent.AUDIO_LEFT)
        if self.state is SessionState.WAITING and self.holds_slot:
            self._go(SessionEvent.SLOT)
        is_next_jobs = self._suspended and self._feed.behind  # audio that stays in the log
        if self.state in (SessionState.RECOVERING, SessionState.BEHIND) and not is_next_jobs:
            self._catch_up()
        if self._has_more:
            return
        if self._feed.end_marked:
            self._end_session(END_OF_SESSION)
        elif not self._suspended and self._is_quiet_for(self._limits.session_timeout_seconds):
            self._end_session(SESSION_TIMEOUT)

    def _catch_up(self) -> None:
        """Read the log as there is room, until everything seen was sent.

        After a failure the stream comes first: an outage costs neither reads nor memory.
        """
        stream = self._stream
        if not self._feed.behind:
            self._caught_up(stream)
        elif self._now < self._retry.retry_at:
            return
        elif self.failures and stream is None:
            self._open_stream()
        elif not self.failures or stream is None or stream.state is not StreamState.OPENING:
            self._read_log()

    def _caught_up(self, stream: StreamView | None) -> None:
        if stream is None:
            self._go(SessionEvent.NOTHING_LEFT)
            self.holds_slot = False
        elif stream.state is StreamState.OPEN:
            self._go(SessionEvent.CAUGHT_UP)

    def _end_session(self, reason: str) -> None:
        stream = self._stream
        if stream is not None and stream.state is not StreamState.ENDING:
            self._end_stream(stream, SessionEvent.END, reason.lower())
        elif self.state is SessionState.IDLE:
            self._go(SessionEvent.DONE)
            self._close(reason)
