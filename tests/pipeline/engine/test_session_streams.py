"""The session engine and its streams: slots, rotation, the budget of retries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pipeline.elements import RETRIES_EXHAUSTED, SessionSettings
from pipeline.engine.answers import LogSlice, StreamFailure
from pipeline.engine.commands import (
    Command,
    EmitFinal,
    EmitPartial,
    EndStream,
    Observe,
    OpenStream,
    ReadLog,
    RejectSession,
)
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.failures import FailureKind
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session, opening_cursor
from pipeline.engine.session_state import SessionState
from tests.pipeline.builders import (
    CHUNK_SAMPLES,
    LIMITS,
    STEREO,
    chunk,
    doings,
    engine,
    entries,
    entry,
    heard_until,
    kinds,
    result,
    word,
)
from tests.pipeline.scenes import RESET, ended, log, only, opened, reopened, spoken, stored

THROTTLED = StreamFailure("LimitExceededException", "too many", kind=FailureKind.THROTTLED)


def bare(cursor: SessionCursor | None = None, *, limits: SessionLimits = LIMITS) -> Session:
    """A session to which the test grants slots itself."""
    return Session(
        cursor or opening_cursor(chunk(0), 0, 0, SessionSettings()),
        session_id="session-1",
        topic="audio",
        limits=limits,
        backoff=lambda _failures: 2.0,
        now=0.0,
    )


# Slots


def test_a_session_without_slot_leaves_its_audio_in_the_log() -> None:
    session = bare()
    assert session.needs_slot(0.0, arriving=True)
    assert session.receive_batch(entries(range(500)), 0.0) == []
    assert (session.state, session.holds_slot) == (SessionState.WAITING, False)
    assert session.needs_slot(0.1)
    read = only(session.slot_granted(1.0), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 500)
    assert session.state is SessionState.RECOVERING
    assert not session.needs_slot(1.1)
    assert "OpenStream" in kinds(session.receive_log(read.read_id, log(range(100), complete=False), 1.2))


def test_a_slot_at_hand_lets_the_first_chunk_go_at_once() -> None:
    session = bare()
    assert session.slot_granted(0.0) == []
    assert kinds(session.receive_batch(entries([0]), 0.0)) == ["OpenStream", "SendAudio"]
    assert (session.state, session.holds_slot) == (SessionState.OPENING, True)


def test_a_slot_that_a_batch_did_not_need_goes_back() -> None:
    session = opened(3)
    session.handle_timer(10.0)
    session.stream_closed(1, 11.0)
    session.slot_granted(12.0)
    session.receive_batch([entry(2, offset=3)], 12.0)
    assert not session.holds_slot


def test_an_idle_session_needs_no_slot() -> None:
    session = opened(3)
    session.handle_timer(10.0)
    assert session.holds_slot, "until the service has ended the stream"
    session.stream_closed(1, 11.0)
    assert (session.state, session.holds_slot) == (SessionState.IDLE, False)
    assert not session.needs_slot(12.0)


def test_a_lost_stream_gives_its_slot_back_and_asks_for_another_after_the_backoff() -> None:
    session = opened(3)
    session.stream_failed(1, RESET, 1.0)
    assert (session.state, session.holds_slot) == (SessionState.WAITING, False)
    assert not session.needs_slot(2.9)
    assert session.needs_slot(3.0)


def test_a_restored_session_asks_for_a_slot_and_returns_it_when_the_log_holds_nothing() -> None:
    session = bare(stored())
    assert session.needs_slot(0.0)
    read = only(session.slot_granted(0.0), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, LogSlice((), 30, complete=True), 0.1)
    assert (session.state, session.holds_slot) == (SessionState.IDLE, False)


def test_a_slot_for_a_batch_after_a_long_standstill_is_used() -> None:
    session = bare()
    session.slot_granted(0.0)
    session.receive_batch([entry(0)], 0.0)
    session.stream_opened(1, "stream-1", None, 0.0)
    session.handle_timer(10.0, source=heard_until(10.0))
    session.stream_closed(1, 11.0)
    late = LIMITS.session_timeout_seconds + 50
    assert session.slot_granted(late) == []
    assert kinds(session.receive_batch([entry(1)], late)) == ["OpenStream", "SendAudio"]
    assert session.state is SessionState.OPENING


# After a failure the stream comes first


def test_an_outage_costs_no_reads() -> None:
    session = opened(5)
    for attempt in range(1, 9):
        assert "ReadLog" not in kinds(session.stream_failed(attempt, RESET, 10.0 * attempt))
        session.receive_batch([entry(4 + attempt)], 10.0 * attempt + 1)
        granted = session.handle_timer(10.0 * attempt + 5)
        assert kinds(granted) == ["OpenStream"]
    read = only(session.stream_opened(9, "stream-9", None, 99.0), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 13)


# Rotation

OLD = SessionLimits(stream_limit_seconds=10.0)


def test_an_old_stream_is_replaced_between_two_segments() -> None:
    session = opened(92, limits=OLD)
    assert "EndStream" not in kinds(session.receive_results(1, [spoken("r1", 0.0, 5.0, partial=True)], 0.1))
    commands = session.receive_results(1, [spoken("r1", 0.0, 8.5)], 0.2)
    assert kinds(commands) == ["EmitFinal", "EndStream"]
    assert session.state is SessionState.ROTATING
    assert session.receive_batch(entries([92]), 0.3) == [], "audio waits in the log"
    commands = session.stream_closed(1, 0.4)
    read = only(commands, ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (85, 93), "the seam is heard again, from the last final on"
    assert session.holds_slot, "it keeps its slot"
    assert session.failures == 0


def test_what_the_old_stream_says_of_its_last_moments_is_withdrawn() -> None:
    session = opened(92, limits=OLD)
    session.receive_results(1, [spoken("r1", 0.0, 6.0)], 0.2)
    commands = session.receive_results(1, [spoken("r2", 7.0, 7.9), spoken("r3", 8.0, 9.1)], 0.3)
    assert [type(command) for command in doings(commands)] == [EmitFinal, EmitPartial]
    withdrawn = only(commands, EmitPartial)
    assert isinstance(withdrawn, EmitPartial)
    assert (withdrawn.partial.result_id, withdrawn.partial.superseded) == ("r3", True)
    read = only(session.stream_closed(1, 0.4), ReadLog)
    assert isinstance(read, ReadLog)
    assert read.start_offset == 80
    commands = session.receive_log(read.read_id, log(range(80, 92)), 0.5)
    assert kinds(commands) == ["OpenStream", *["SendAudio"] * 12]
    final = only(session.receive_results(2, [spoken("r3", 0.0, 1.1)], 0.6), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert (final.final.segment_index, final.final.start_time, final.final.end_time) == (2, 8.0, 9.1)


def test_a_final_that_is_heard_again_holds_the_position_whatever_the_other_channel_says() -> None:
    session = engine(opening_cursor(chunk(0, format=STEREO), 0, 0, SessionSettings()), limits=OLD)
    session.receive_batch([entry(n, format=STEREO) for n in range(98)], 0.0)
    session.stream_opened(1, "stream-1", None, 0.0)
    session.stream_progress(1, 98 * CHUNK_SAMPLES, 0.0)
    assert kinds(session.handle_timer(0.1)) == ["EndStream"]
    left = result("l", word("a", 1.0, 9.7), channel_id="ch_0")
    right = result("r", word("b", 7.0, 8.5), channel_id="ch_1")
    assert kinds(session.receive_results(1, [left, right], 0.2)) == ["EmitPartial", "EmitFinal"]
    read = only(session.stream_closed(1, 0.3), ReadLog)
    assert isinstance(read, ReadLog)
    assert read.start_offset == 10


def test_long_silence_is_not_kept_to_be_read_again() -> None:
    session = opened(1)
    for number in range(1, 6000):  # ten minutes
        now = number / 10
        commands = session.receive_batch([entry(number)], now)
        commands += session.stream_progress(session._serial, 10**9, now)
        for _ in range(6):
            commands = [answer for command in commands for answer in answered(session, command, number, now)]
        if number % 10 == 0:
            commands = session.handle_timer(now)
            for _ in range(6):
                commands = [a for command in commands for a in answered(session, command, number, now)]
    assert session.take_snapshot().resume.offset > 4500
    assert session.take_snapshot().streams == 6


def answered(session: Session, command: Command, last: int, now: float) -> list[Command]:
    """A service that opens streams and ends them at once, and hears nothing; a log of silence."""
    match command:
        case OpenStream(serial):
            return session.stream_opened(serial, "stream", None, now)
        case EndStream(serial):
            return session.stream_closed(serial, now)
        case ReadLog(read_id, start, end):
            return session.receive_log(read_id, log(range(start, end or last + 1)), now)
    return []


def test_a_rotation_that_gets_nowhere_is_followed_by_one_that_is_believed() -> None:
    limits = SessionLimits(max_segment_seconds=2.0)
    session = opened(40, limits=limits)
    session.receive_results(1, [spoken("r", 0.0, 3.9, partial=True)], 1.0)
    assert session.receive_batch(entries([40]), 11.9) == [Observe("outbound_overflows")], "no further ahead"
    assert kinds(session.handle_timer(12.0)) == ["EndStream"], "too much is said without an end"
    read = only(session.stream_closed(1, 12.1), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 41)
    session.receive_log(read.read_id, log(range(40), complete=False), 12.2)
    session.stream_opened(2, "stream-2", None, 12.2)
    session.stream_progress(2, 40 * CHUNK_SAMPLES, 12.2)
    session.receive_results(2, [spoken("r", 0.0, 3.9, partial=True)], 12.3)
    assert kinds(session.handle_timer(23.0)) == ["EndStream"]
    assert kinds(session.receive_results(2, [spoken("r", 0.0, 4.0)], 23.1)) == ["EmitFinal"]
    session.stream_closed(2, 23.2)
    assert session.take_snapshot().resume.offset == 40


def test_a_stream_that_was_replaced_without_audio_gives_no_reason_to_believe_the_next() -> None:
    session = opened(1, limits=OLD)
    session.receive_results(1, [spoken("r", 0.0, 0.1)], 0.1)
    session.receive_batch(entries([1]), 9.9)
    assert kinds(session.handle_timer(9.95)) == ["EndStream"]
    session.stream_closed(1, 9.96)
    assert not session._stuck


def test_an_old_stream_that_breaks_while_it_is_replaced_is_a_failure_like_any_other() -> None:
    session = opened(92, limits=OLD)
    session.receive_results(1, [spoken("r1", 0.0, 8.5)], 0.2)
    session.stream_failed(1, RESET, 0.3)
    assert (session.state, session.failures) == (SessionState.WAITING, 1)


# Segments that a stream ends without


def test_a_segment_without_final_is_heard_once_more_and_then_given_up() -> None:
    session = opened(10)
    session.receive_results(1, [spoken("r", 0.2, 0.9, partial=True)], 0.5)
    session.handle_timer(10.0)
    commands = session.stream_closed(1, 10.5)
    assert "EmitPartial" in kinds(commands)
    assert session.last_failure is not None
    assert session.last_failure.code == "EndedEarly"
    granted = session.handle_timer(13.0)
    assert kinds(granted) == ["OpenStream"]
    read = only(session.stream_opened(2, "stream-2", None, 13.0), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, log(range(10)), 13.1)
    session.receive_results(2, [spoken("r", 0.2, 0.9, partial=True)], 13.2)
    session.handle_timer(24.0)
    session.stream_closed(2, 24.5)
    assert session.state is SessionState.IDLE
    assert session.take_snapshot().resume.offset == 10


# The budget


def test_too_many_failures_in_a_row_give_the_session_up_with_its_position() -> None:
    session = opened(5, limits=SessionLimits(max_retries=1))
    assert "RejectSession" not in kinds(session.stream_failed(1, RESET, 0.0))
    session.handle_timer(3.0)
    commands = session.stream_failed(2, RESET, 3.1)
    refusal = only(commands, RejectSession)
    assert isinstance(refusal, RejectSession)
    assert refusal.rejection.error_class == RETRIES_EXHAUSTED
    assert (refusal.start_offset, refusal.end_offset) == (0, 4)
    assert ended(commands).summary.reason == "RETRIES_EXHAUSTED"
    assert session.state is SessionState.REJECTED


def test_throttling_waits_and_does_not_give_up() -> None:
    session = opened(5, limits=SessionLimits(max_retries=0))
    commands = session.stream_failed(1, THROTTLED, 0.0)
    assert [o.name for o in commands if isinstance(o, Observe)] == ["throttles"]
    assert session.state is SessionState.WAITING


def test_a_stream_that_lives_makes_earlier_failures_forgotten() -> None:
    session = reopened(5)
    session.stream_progress(2, 0, 2.0 + LIMITS.healthy_seconds - 1)
    assert session.failures == 1
    session.stream_progress(2, 0, 2.0 + LIMITS.healthy_seconds)
    assert session.failures == 0


@pytest.mark.parametrize("now", [10.0, 20.0])
def test_a_finished_session_ignores_slots(now: float) -> None:
    session = opened(5)
    session.stream_failed(1, replace(RESET, retryable=False), 0.0)
    assert not session.needs_slot(now, arriving=True)
    assert not session.holds_slot


def names(commands: Iterable[Command]) -> list[str]:
    return [command.name for command in commands if isinstance(command, Observe)]


def test_what_a_stream_does_is_counted() -> None:
    session = opened(3)
    assert names(session.handle_timer(10.0)) == ["streams_closed_idle"]
    session.stream_closed(1, 10.1)
    assert names(session.receive_batch([entry(3)], 11.0)) == ["streams_opened"]
