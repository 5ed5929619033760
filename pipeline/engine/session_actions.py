"""What a session does, event by event in `session`: take audio, open and end streams, publish, cover, close.

Actions change the parts of a session together (its state, feed, stream, books) and note the commands that
follow from it; they do not decide when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connectors.transcribe.model import MedicalResult
from pipeline.elements import LogEntry
from pipeline.engine.answers import StreamFailure
from pipeline.engine.books import SessionBooks
from pipeline.engine.commands import (
    Command,
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    EndStream,
    Observe,
    OpenStream,
    ReadLog,
    Reject,
    RejectSession,
    SendAudio,
    StreamOver,
)
from pipeline.engine.cursor import SessionCursor, SessionStatus
from pipeline.engine.feed import AudioFeed, Placed, Taken
from pipeline.engine.hearing import Hearing
from pipeline.engine.limits import SessionLimits
from pipeline.engine.reassembly import covered_seconds
from pipeline.engine.retry_budget import RetryBudget
from pipeline.engine.session_state import SessionEvent, SessionState, next_state
from pipeline.engine.stream_state import StreamEvent, StreamState
from pipeline.engine.stream_view import StreamView
from pipeline.errors import ChunkRejected

_RECORD_OVERHEAD = 1.2  # Avro fields and headers beside the payload, when a log read is sized in bytes
_SLOW_READ_SECONDS = 2.0  # longer than a broker takes that is there
_STATES = {
    SessionStatus.ACTIVE: SessionState.WAITING,
    SessionStatus.ENDED: SessionState.ENDED,
    SessionStatus.REFUSED: SessionState.REJECTED,
}
_STATUSES = {state: status for status, state in _STATES.items()}


class SessionActions:
    """The parts of a session and what can be done with them; see the module.

    `now` is the moment of the event that is being handled.
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
        owner: str = "",
        required: Mapping[str, Any] | None = None,
    ) -> None:
        self.session_id = session_id
        self.state = _STATES[cursor.status]
        self.holds_slot = False
        self._now = self._last_audio_at = self._ended_at = now
        self._commands: list[Command] = []
        self._format = cursor.format
        self._limits = limits
        self._retry = RetryBudget(limits.max_retries, backoff, now)
        self._books = SessionBooks(cursor, session_id=session_id, topic=topic, owner=owner, required=required)
        self._feed = AudioFeed(cursor, limits)
        self._stream: StreamView | None = None
        self._serial = 0
        self._covered_sample = self._covered()
        if cursor.format.channels > 1:  # a segment of another channel may have begun before
            self._covered_sample = min(self._covered_sample, cursor.resume.start_sample)
        self._suspended = False  # the job is being drained
        self._stuck = False  # since the last rotation, which covered nothing of much, there was no final
        self._source: Hearing | None = None
        self._excused_at: float | None = None  # the producer's pause began there by a broker's fault
        self._broker_was_away = False  # when the log was to be read last
        # Also a restored one is written at once: whoever finds the same cursor in the state later knows that
        # nobody else has had the session meanwhile.
        self._books.dirty = True
        if cursor.version == 0:
            self.state = SessionState.IDLE
            self._feed.open_live()

    def _go(self, event: SessionEvent) -> None:
        self.state = next_state(self.state, event)

    def _observe(self, name: str, value: int = 1, label: str = "") -> None:
        self._commands.append(Observe(name, value, label))

    # Audio

    def _take(self, entry: LogEntry) -> None:
        """Take the next record of the log."""
        if entry.chunk is not None and entry.chunk.settings and not self._books.streams:
            self._books.enter_settings(entry.chunk.settings)
        again = self._feed.is_reported(entry.offset)
        self._carry_out(self._feed.take(entry, self._now), again=again)

    def _carry_out(self, taken: Taken, *, again: bool = False) -> None:
        """`again`: the record was looked at before a rewind, and counted then."""
        for offset, rejection in taken.rejected:
            if not self._feed.is_reported(offset):
                self._commands.append(Reject(offset, rejection))
                self._feed.note_reported(offset)
        if not again:
            self._commands.extend(Observe(name) for name in taken.observed)
        for placed in taken.placed:
            self._send(placed)

    def _send(self, placed: Placed) -> None:
        span = placed.span
        if span.end_sample <= max(span.start_sample, self._covered_sample):
            return
        if span.gap and self._stream is None:
            return  # the next stream begins behind it
        stream = self._stream or self._open_stream()
        payload = stream.take(span, placed.payload, self._covered_sample, self._limits)
        if payload:
            self._commands.append(SendAudio(stream.serial, payload))

    @property
    def _room_seconds(self) -> float:
        """Audio that may be sent now."""
        if self._stream is None:
            return self._limits.outbound_seconds
        return self._stream.room_seconds(self._covered_sample, self._limits)

    def _read_log(self) -> None:
        """Ask for as much of the log as there is room for, if that is worth a read."""
        room_seconds = self._room_seconds
        if room_seconds < self._limits.outbound_seconds / 2:
            return
        read = self._feed.next_read(self._now)
        if read is not None:
            bytes_per_second = self._format.sample_rate_hertz * self._format.bytes_per_sample
            max_bytes = int(room_seconds * bytes_per_second * _RECORD_OVERHEAD)
            self._commands.append(ReadLog(*read, max_bytes=max_bytes))

    # The producer's pause

    def _is_quiet_for(self, seconds: float) -> bool:
        """Whether the producer has sent nothing for so long; when in doubt the log is read first.

        A worker that stood still, or a source without broker, must not take it for the producer's pause.
        """
        quiet_since = self._last_audio_at
        if self._now - quiet_since < seconds:
            return False
        if self._feed.checked_at >= quiet_since + seconds:
            return True
        if self._source is not None and self._source.is_current(self._now):
            return self._source.has_settled(self._now)
        self._feed.check_log()
        return False

    def _excuse_producer(self) -> None:
        """A read after others that failed, or one that took long, finds a broker that was away. The producer
        had none either, so its pause begins now. (Reads may be slow for other reasons: that counts once in a
        pause.)
        """
        slow = self._now - self._feed.asked_at > _SLOW_READ_SECONDS
        if self._broker_was_away or (slow and self._excused_at != self._last_audio_at):
            self._last_audio_at = self._excused_at = self._now
            self._broker_was_away = False

    # The stream

    def _open_stream(self) -> StreamView:
        self._serial += 1
        self._books.streams += 1
        self._stream = StreamView(self._serial, self._format, self._books.ends, self._now)
        if self.state is SessionState.IDLE:
            self._go(SessionEvent.OPEN)
        self._observe("streams_opened")
        self._commands.append(OpenStream(self._serial, self._format, self._books.settings))
        return self._stream

    def _end_stream(self, stream: StreamView, why: SessionEvent, cause: str) -> None:
        """`cause` as in `StreamOver`."""
        stream.move(StreamEvent.END)
        stream.ending = cause
        stream.last_answer_at = self._now
        self._feed.abandon_read()
        self._go(why)
        self._commands.append(EndStream(stream.serial))

    def _leave_stream(self, event: StreamEvent, failure: StreamFailure | None = None) -> None:
        """No stream from here on; whatever was shown of unfinished segments is withdrawn."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.move(event)
            for result in stream.reassembler.open_results:
                self._show(result, stream, superseded=True)
            cause, code = (stream.ending, None) if failure is None else (failure.kind.value, failure.code)
            over = StreamOver(stream.serial, cause, stream.finals, stream.sent_seconds, code)
            self._commands.append(over)

    def _rotate_if_due(self) -> None:
        stream = self._stream
        if stream is not None and stream.wants_rotation(self._covered_sample, self._limits, self._now):
            self._cut(stream)

    def _cut(self, stream: StreamView) -> None:
        """End an open stream wherever it is; what is near the seam will be heard again on the next."""
        if stream.state is StreamState.OPEN:
            stream.cut(stuck=self._stuck)
            self._observe("rotations")
            self._end_stream(stream, SessionEvent.ROTATE, "rotation")

    def _believe(self, stream: StreamView) -> None:
        """The stream has come to a good end: what it did not speak of holds no speech."""
        covered_before = self._covered_sample
        rotating = self.state is SessionState.ROTATING
        if rotating:
            heard_seconds = stream.seam_cover_seconds()
        else:
            heard_seconds = self._format.seconds(self._feed.timeline.next.start_sample)
        self._books.enter_heard(heard_seconds)
        self._leave_stream(StreamEvent.CLOSED)
        self._cover(round(heard_seconds * self._format.sample_rate_hertz))
        if rotating:
            long = stream.uncovered_seconds(covered_before) >= self._limits.max_segment_seconds
            self._stuck = long and self._covered_sample <= covered_before
            self._feed.rewind()

    # Results

    def _show(self, result: MedicalResult, stream: StreamView, *, superseded: bool = False) -> None:
        self._commands.append(
            EmitPartial(self._books.partial(result, stream.stream_id, superseded=superseded))
        )

    def _publish(self, result: MedicalResult, stream: StreamView) -> None:
        final = self._books.enter_final(result, stream.stream_id, stream.request_id or None, self._feed)
        self._commands.append(EmitFinal(final))
        self._retry.forget()
        self._stuck = False
        self._cover(self._covered())

    def _covered(self) -> int:
        """Up to which sample finals speak for the session on every channel."""
        stream = self._stream
        channels, ends = self._format.channels, self._books.ends
        if stream is None:
            seconds = covered_seconds(channels, ends, {})
        else:
            heard = stream.reassembler
            seconds = covered_seconds(channels, ends, heard.open_starts, heard.heard_seconds)
        if stream is not None and stream.unbelieved_seconds is not None:
            seconds = min(seconds, stream.unbelieved_seconds)
        return round(seconds * self._format.sample_rate_hertz)

    def _cover(self, sample: int) -> None:
        """No audio before `sample` is needed any more."""
        self._covered_sample = max(sample, self._covered_sample)
        gaps = self._feed.cover(self._covered_sample)
        self._books.enter_gaps(gaps)
        for gap in gaps:
            gap_seconds = self._format.seconds(gap.end_sample - gap.start_sample)
            self._observe("gaps", label=gap.gap)
            self._observe("gap_ms", round(1000 * gap_seconds), gap.gap)

    @property
    def unfinal_seconds(self) -> float:
        """Audio that was sent to the present stream and has no final yet; any thread may ask."""
        stream = self._stream
        return 0.0 if stream is None else max(0.0, stream.uncovered_seconds(self._covered_sample))

    @property
    def behind(self) -> bool:
        """Whether the log holds audio of the session that was not taken yet."""
        return self._feed.behind and not self.state.finished

    # The end

    def _give_up(self, error_class: str, reason: str, failure: StreamFailure) -> None:
        """The session is refused for good: its audio from the cursor on is one dead letter."""
        self._go(SessionEvent.REFUSE)
        rejection = ChunkRejected(error_class, f"{failure.code}: {failure.message}")
        start_offset = self._feed.resume.offset
        end_offset = None if self._feed.seeks_end else max(start_offset, self._feed.seen_offset - 1)
        self._commands.append(RejectSession(start_offset, end_offset, rejection))
        self._close(reason)

    def _close(self, reason: str) -> None:
        self._ended_at = self._now
        self.holds_slot = False
        self._commands.append(EmitSessionEnded(self._books.close(reason, self._feed)))
        self._feed.timeline.close()

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
    def partition(self) -> int:
        return self._books.cursor.partition

    def take_snapshot(self) -> SessionCursor:
        """The cursor to write now; its version is one more than the last."""
        return self._books.take_snapshot(_STATUSES.get(self.state, SessionStatus.ACTIVE), self._feed)
