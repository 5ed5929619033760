"""The session engine when something breaks: lost streams, full buffers, refusals, restored workers.

Chunk n is 100 ms long, has sequence n and lies at offset n; every backoff lasts two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pipeline.elements import (
    AFTER_END_OF_SESSION,
    LOST_OFFSETS,
    SESSION_REFUSED,
    AudioFormat,
    LogEntry,
    SessionSettings,
)
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import (
    Command,
    EmitFinal,
    EmitPartial,
    Forget,
    Observe,
    ReadLog,
    Reject,
    RejectSession,
    SendAudio,
)
from pipeline.engine.cursor import SessionStatus
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session, opening_cursor
from tests.pipeline.builders import (
    BACKOFF_SECONDS,
    CHUNK_SAMPLES,
    FORMAT,
    LIMITS,
    UnboundedSession,
    chunk,
    doings,
    engine,
    entries,
    entry,
    kinds,
)
from tests.pipeline.scenes import (
    REFUSED,
    RESET,
    ended,
    log,
    only,
    opened,
    reopened,
    retried,
    spoken,
    stored,
)

# Stale answers


def test_answers_of_a_stream_that_was_given_up_are_ignored() -> None:
    session = opened(5)
    session.stream_failed(1, RESET, 1.0)
    assert session.stream_opened(1, "late", "late", 1.1) == []
    assert session.receive_results(1, [spoken("r1", 0.0, 0.4)], 1.1) == []
    assert session.stream_progress(1, 99, 1.1) == []
    assert session.stream_closed(1, 1.1) == []
    assert session.stream_failed(1, RESET, 1.1) == []
    assert session.stream_failed(7, RESET, 1.1) == []


def test_answers_of_an_older_stream_do_not_touch_its_successor() -> None:
    session = reopened(5)
    assert session.receive_results(1, [spoken("old", 0.0, 0.4)], 4.0) == []
    assert session.stream_failed(1, REFUSED, 4.0) == []
    assert kinds(session.receive_results(2, [spoken("new", 0.0, 0.4)], 4.0)) == ["EmitFinal"]


def test_the_answer_to_an_older_read_is_ignored() -> None:
    session = opened(5)
    session.stream_failed(1, RESET, 0.0)
    read = retried(session, 2, BACKOFF_SECONDS)
    assert session.receive_log(read.read_id - 1, log(range(5)), 3.0) == []
    assert kinds(session.receive_log(read.read_id, log(range(5)), 3.0)) == ["SendAudio"] * 5
    assert session.receive_log(read.read_id, log(range(5)), 3.0) == [], "each answer counts once"
    assert session.log_failed(read.read_id, 3.0) == []


# A lost stream


def test_a_lost_stream_is_followed_by_a_wait_and_a_read_of_what_is_not_covered() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    assert doings(session.stream_failed(1, RESET, 1.0)) == []
    assert session.next_timer(1.0) == pytest.approx(1.0 + BACKOFF_SECONDS)
    assert session.handle_timer(1.0 + BACKOFF_SECONDS - 0.1) == []
    read = retried(session, 2, 1.0 + BACKOFF_SECONDS)
    assert (read.start_offset, read.end_offset) == (10, 30)
    assert read.max_bytes > 0


def test_audio_is_sent_again_from_the_very_sample_that_finals_reach() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    session.stream_failed(1, RESET, 0.0)
    read = retried(session, 2, BACKOFF_SECONDS)
    commands = session.receive_log(read.read_id, log(range(10, 30)), 3.0)
    payloads = [c.payload for c in commands if isinstance(c, SendAudio)]
    assert len(payloads[0]) == 2 * CHUNK_SAMPLES // 2
    assert sum(map(len, payloads)) == 2 * round((3.0 - 1.05) * FORMAT.sample_rate_hertz)


def test_times_of_a_second_stream_are_on_the_session_s_timeline() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    session.stream_failed(1, RESET, 0.0)
    read = retried(session, 2, BACKOFF_SECONDS)
    session.receive_log(read.read_id, log(range(10, 30)), 3.0)
    final = only(session.receive_results(2, [spoken("r2", 0.25, 0.75)], 3.0), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert (final.final.start_time, final.final.end_time) == (1.3, 1.8)
    assert (final.final.segment_index, final.final.stream_id) == (1, "stream-2")
    assert (final.final.source.first_offset, final.final.source.last_offset) == (13, 17)


def test_what_was_shown_of_an_unfinished_segment_is_withdrawn_with_its_stream() -> None:
    session = opened(10)
    session.receive_results(1, [spoken("r1", 0.0, 0.5, partial=True)], 0.5)
    withdrawn = only(session.stream_failed(1, RESET, 1.0), EmitPartial)
    assert isinstance(withdrawn, EmitPartial)
    assert withdrawn.partial.superseded
    assert withdrawn.partial.result_id == "r1"


def test_chunks_that_arrive_while_the_session_waits_are_read_from_the_log_later() -> None:
    session = opened(5)
    session.stream_failed(1, RESET, 0.0)
    assert session.receive_batch(entries([5, 6]), 0.5) == []
    assert kinds(session.receive_batch(entries([7]), BACKOFF_SECONDS)) == ["OpenStream"]
    read = only(session.stream_opened(2, "stream-2", None, 2.1), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 8)
    assert session.receive_batch(entries([8]), 2.5) == [], "one read at a time"
    commands = session.receive_log(read.read_id, log(range(8)), 3.0)
    assert kinds(commands) == [*["SendAudio"] * 8, "ReadLog"]
    rest = commands[-1]
    assert isinstance(rest, ReadLog)
    assert (rest.start_offset, rest.end_offset) == (8, 9)
    assert kinds(session.receive_log(rest.read_id, log([8]), 3.1)) == ["SendAudio"]
    assert kinds(session.receive_batch(entries([9]), 3.2)) == ["SendAudio"], "live again"


def test_a_failed_read_is_tried_again_after_a_wait() -> None:
    session = opened(5)
    session.stream_failed(1, RESET, 0.0)
    first = retried(session, 2, 2.0)
    assert session.log_failed(first.read_id, 3.0) == []
    assert session.handle_timer(4.9) == []
    second = only(session.handle_timer(5.0), ReadLog)
    assert isinstance(second, ReadLog)
    assert (second.start_offset, second.end_offset) == (0, 5)
    assert second.read_id > first.read_id


def test_a_second_failure_during_the_read_begins_again_and_ignores_it() -> None:
    session = reopened(5)
    session.receive_batch(entries([5]), 3.1)
    session.stream_failed(2, RESET, 3.2)
    read = retried(session, 3, 6.0)
    assert (read.start_offset, read.end_offset) == (0, 6)


def test_a_stream_that_ends_before_it_was_asked_to_is_lost() -> None:
    session = opened(5)
    session.take_snapshot()
    assert doings(session.stream_closed(1, 1.0)) == []
    assert not session.dirty, "nothing is covered by such an end"
    assert retried(session, 2, 1.0 + BACKOFF_SECONDS).start_offset == 0


def test_a_final_makes_failures_forgotten() -> None:
    waits: list[int] = []
    session = UnboundedSession(
        opening_cursor(chunk(0), 0, 0, SessionSettings()),
        session_id="session-1",
        topic="audio",
        limits=LIMITS,
        backoff=lambda failures: waits.append(failures) or 0.0,  # type: ignore[func-returns-value]
        now=0.0,
    )
    session.receive_batch(entries(range(20)), 0.0)
    for serial, final in ((1, None), (2, None), (3, spoken("r", 0.0, 0.5)), (4, None)):
        if final is not None:
            session.receive_results(serial, [final], 0.0)
        session.stream_failed(serial, RESET, 0.0)
        read = retried(session, serial + 1, 0.0)
        session.receive_log(read.read_id, log(range(read.start_offset, 20)), 0.0)
    assert waits == [1, 2, 1, 2]


def test_every_lost_stream_is_counted() -> None:
    session = reopened(5)
    cursor = session.take_snapshot()
    assert (cursor.streams, cursor.retries) == (2, 1)


# A full buffer


def test_audio_beyond_the_outbound_bound_is_left_in_the_log() -> None:
    session = engine(limits=SessionLimits(outbound_seconds=1.0))
    commands = session.receive_batch(entries(range(25)), 0.0)
    assert kinds(commands) == ["OpenStream", *["SendAudio"] * 10], "one second fits"
    assert session.receive_batch(entries([25]), 0.1) == []


def test_a_buffer_that_has_room_again_is_filled_from_the_log() -> None:
    session = engine(limits=SessionLimits(outbound_seconds=1.0))
    session.receive_batch(entries(range(25)), 0.0)
    session.stream_opened(1, "s", None, 0.1)
    assert session.stream_progress(1, 4 * CHUNK_SAMPLES, 0.2) == [], "less than half is free"
    read = only(session.stream_progress(1, 5 * CHUNK_SAMPLES, 0.3), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (10, 25)
    assert read.max_bytes == pytest.approx(0.5 * 16_000, rel=0.3), "about what fits"


def test_reads_go_on_in_parts_until_the_session_is_live_again() -> None:
    session = engine(limits=SessionLimits(outbound_seconds=1.0))
    session.receive_batch(entries(range(14)), 0.0)
    read = only(session.stream_progress(1, 10 * CHUNK_SAMPLES, 0.3), ReadLog)
    assert isinstance(read, ReadLog)
    commands = session.receive_log(read.read_id, log(range(10, 12), complete=False), 0.4)
    assert kinds(commands) == ["SendAudio", "SendAudio", "ReadLog"]
    rest = only(commands, ReadLog)
    assert isinstance(rest, ReadLog)
    session.receive_log(rest.read_id, log([12, 13]), 0.5)
    assert kinds(session.receive_batch(entries([14]), 0.6)) == ["SendAudio"]


# Refusal


def test_a_session_refused_for_good_is_one_dead_letter_with_its_range() -> None:
    session = opened(5)
    commands = doings(session.stream_failed(1, REFUSED, 1.0))
    assert kinds(commands) == ["RejectSession", "EmitSessionEnded"]
    refusal = commands[0]
    assert isinstance(refusal, RejectSession)
    assert (refusal.start_offset, refusal.end_offset) == (0, 4)
    assert refusal.rejection.error_class == SESSION_REFUSED
    assert "BadRequestException: refused by the test" in refusal.rejection.reason
    assert ended(commands).summary.reason == "REJECTED"
    assert session.take_snapshot().status is SessionStatus.REFUSED


def test_a_refused_session_opens_no_stream_and_rejects_each_further_chunk() -> None:
    session = opened(5)
    session.stream_failed(1, REFUSED, 1.0)
    commands = session.receive_batch(entries([5, 6]), 2.0)
    assert kinds(commands) == ["Reject", "Reject"]
    assert session.handle_timer(2.0 + LIMITS.ended_retention_seconds) == [Forget()]


def test_a_refusal_keeps_what_finals_cover_out_of_its_range() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.0)], 0.5)
    refusal = only(session.stream_failed(1, REFUSED, 1.0), RejectSession)
    assert isinstance(refusal, RejectSession)
    assert (refusal.start_offset, refusal.end_offset) == (10, 29)


def test_a_refused_session_is_known_for_as_long_as_its_producer_goes_on() -> None:
    session = opened(5)
    session.stream_failed(1, REFUSED, 1.0)
    session.receive_batch(entries([5]), 200.0)
    due = 200.0 + LIMITS.ended_retention_seconds
    assert session.next_timer(300.0) == due
    assert session.handle_timer(due - 1) == []
    assert session.handle_timer(due) == [Forget()]


def test_a_session_refused_before_its_log_was_read_is_refused_to_the_log_s_end() -> None:
    session = engine(stored(), now=50.0)
    session.receive_batch(entries([30]), 50.0)
    session.receive_log(1, log([10], complete=False), 50.2)
    refusal = only(session.stream_failed(1, REFUSED, 50.3), RejectSession)
    assert isinstance(refusal, RejectSession)
    assert (refusal.start_offset, refusal.end_offset) == (10, None)


# Restored sessions


def test_a_restored_session_reads_the_log_to_its_end_before_anything_else() -> None:
    session = engine(stored(), now=50.0)
    assert session.dirty, "a state that shows who had it last"
    read = only(session.receive_batch(entries([30]), 50.0), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (10, None)
    commands = session.receive_log(read.read_id, log(range(10, 31)), 50.1)
    assert kinds(commands) == ["OpenStream", *["SendAudio"] * 21]
    assert session.receive_batch(entries([30]), 50.2) == [], "taken from the log already"
    assert kinds(session.receive_batch(entries([31]), 50.3)) == ["SendAudio"]


def test_a_restored_session_goes_on_with_its_numbers_and_times() -> None:
    session = engine(stored(), now=50.0)
    read = only(session.handle_timer(50.0), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, log(range(10, 30)), 50.1)
    final = only(session.receive_results(1, [spoken("r9", 0.25, 0.75)], 51.0), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert (final.final.segment_index, final.final.start_time) == (1, 1.3)
    assert session.cursor.version == 1
    assert session.take_snapshot().version == 2


def test_a_replay_of_covered_records_after_a_restore_is_ignored() -> None:
    session = engine(stored(), now=50.0)
    assert kinds(session.receive_batch(entries(range(10)), 50.0)) == ["ReadLog"]


def test_a_restored_ended_session_still_rejects_late_chunks() -> None:
    session = engine(stored(status=SessionStatus.ENDED), now=50.0)
    rejected = only(session.receive_batch(entries([40]), 50.0), Reject)
    assert isinstance(rejected, Reject)
    assert rejected.rejection.error_class == AFTER_END_OF_SESSION


def test_what_retention_took_is_a_gap_and_never_silent() -> None:
    session = engine(stored(), now=50.0)
    read = only(session.handle_timer(50.0), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, replace(log(range(20, 30)), lost=(10, 20)), 50.1)
    final = session.receive_results(1, [spoken("r2", 1.4, 1.9)], 50.2)
    assert [(o.name, o.value) for o in final if isinstance(o, Observe)] == [("gaps", 1), ("gap_ms", 0)]
    (gap,) = session.take_snapshot().gaps
    assert gap[2] == LOST_OFFSETS
    assert gap[0] == pytest.approx(1.0)


# Bad records met in the log


def restored_read(*found: LogEntry, seen: Iterable[int] = ()) -> tuple[Session, list[Command]]:
    """A restored session whose read of the log finds `found`; offsets `seen` came live before."""
    session = engine(stored(), now=50.0)
    live = session.receive_batch([e for e in found if e.offset in seen], 50.0)
    live += session.handle_timer(50.0)
    read = only(live, ReadLog)
    assert isinstance(read, ReadLog)
    rest = LogSlice(found, found[-1].offset + 1, complete=True)
    return session, [*live, *session.receive_log(read.read_id, rest, 50.1)]


@pytest.mark.parametrize("seen", [(), (30,), (30, 31)], ids=["unseen", "seen before", "both seen before"])
def test_a_chunk_of_another_rate_met_in_the_log_is_reported_once(seen: tuple[int, ...]) -> None:
    good, bad = entry(30), entry(31, format=AudioFormat(16_000))
    session, commands = restored_read(*entries(range(10, 30)), good, bad, seen=seen)
    commands += session.receive_batch([good, bad], 50.2)
    assert [c.offset for c in commands if isinstance(c, Reject)] == [31]


@pytest.mark.parametrize("seen", [(), (31,), (30, 31)])
def test_a_chunk_of_a_lying_rate_met_in_the_log_is_reported_once(seen: tuple[int, ...]) -> None:
    first = entry(30, samples=6 * CHUNK_SAMPLES, media_offset_ms=3000)
    lying = entry(31, samples=6 * CHUNK_SAMPLES, media_offset_ms=3100)
    session, commands = restored_read(*entries(range(10, 30)), first, lying, seen=seen)
    commands += session.receive_batch([first, lying], 50.2)
    assert [c.offset for c in commands if isinstance(c, Reject)] == [31]


def test_a_chunk_reported_before_a_lost_stream_is_not_reported_again() -> None:
    session = opened(5)
    bad = entry(5, format=AudioFormat(16_000))
    assert kinds(session.receive_batch([bad], 0.1)) == ["Reject"]
    session.stream_failed(1, RESET, 0.2)
    read = retried(session, 2, 3.0)
    again = LogSlice((*entries(range(5)), bad), 6, complete=True)
    assert "Reject" not in kinds(session.receive_log(read.read_id, again, 3.1))


def test_a_chunk_after_the_end_met_in_the_log_is_reported_once() -> None:
    last, late = entry(30, end_of_session=True), entry(31)
    session, commands = restored_read(*entries(range(10, 30)), last, late)
    commands += session.receive_batch([last, late], 50.2)
    assert [c.offset for c in commands if isinstance(c, Reject)] == [31]


# A source that can wait


def test_audio_is_wanted_while_it_goes_on_at_once() -> None:
    session = engine()
    assert session.wants_audio, "it opens the first stream"
    session.receive_batch(entries(range(99)), 0.0)
    assert session.wants_audio
    session.receive_batch(entries([99]), 0.0)
    assert not session.wants_audio, "ten seconds wait for the wire"
    session.stream_progress(1, CHUNK_SAMPLES, 0.0)
    assert session.wants_audio


def test_audio_is_not_wanted_until_what_was_lost_has_been_sent_again() -> None:
    session = opened(3)
    session.stream_failed(1, RESET, 0.0)
    assert not session.wants_audio
    read = retried(session, 2, BACKOFF_SECONDS)
    assert not session.wants_audio
    session.receive_log(read.read_id, log(range(3)), 3.0)
    assert session.wants_audio


def test_audio_is_wanted_after_a_failure_that_left_nothing_to_send_again() -> None:
    """It is audio that opens the next stream; a source that waits would wait for ever."""
    session = opened(2)
    session.receive_results(1, [spoken("r1", 0.0, 0.2)], 0.5)
    session.stream_failed(1, RESET, 0.5)
    session.handle_timer(0.5 + BACKOFF_SECONDS)
    assert session.wants_audio


def test_failures_in_a_row_are_counted_until_a_final_comes() -> None:
    session = reopened(3)
    assert (session.failures, session.last_failure) == (1, RESET)
    session.receive_results(2, [spoken("r1", 0.0, 0.1)], 4.0)
    assert session.failures == 0
