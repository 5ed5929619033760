"""The session engine event by event, as long as nothing breaks; `tests/simulation` plays it at random.

Chunk n is 100 ms long, has sequence n and lies at offset n; every backoff lasts two seconds.
"""

from __future__ import annotations

import pytest

from pipeline.elements import (
    AFTER_END_OF_SESSION,
    NOT_AVRO,
    SAMPLE_RATE_MISMATCH,
    AudioFormat,
    LogEntry,
    SessionSettings,
)
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import (
    DropStream,
    EmitFinal,
    EndStream,
    Forget,
    OpenStream,
    ReadLog,
    Reject,
    SendAudio,
)
from pipeline.engine.cursor import SessionStatus
from pipeline.engine.hearing import hear
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import opening_cursor
from pipeline.engine.session_state import SessionState
from pipeline.engine.timeline import Position
from pipeline.errors import ChunkRejected
from tests.pipeline.builders import (
    CHUNK_SAMPLES,
    FORMAT,
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
from tests.pipeline.scenes import RESET, ended, log, only, opened, spoken

# Opening and sending


def test_the_first_chunk_opens_a_stream_with_the_session_s_format_and_settings() -> None:
    settings = {"specialty": "CARDIOLOGY", "show_speaker_label": True}
    cursor = opening_cursor(chunk(0, settings=settings), 0, 0, SessionSettings(type="DICTATION"))
    session = engine(cursor)
    commands = session.receive_batch(entries([0]), 0.0)
    expected = SessionSettings(specialty="CARDIOLOGY", type="DICTATION", show_speaker_label=True)
    assert doings(commands) == [OpenStream(1, FORMAT, expected), SendAudio(1, chunk(0).payload)]


def test_an_opening_cursor_waits_for_sequence_0_whatever_comes_first() -> None:
    cursor = opening_cursor(chunk(7, captured_at_ms=1234), 42, 3, SessionSettings())
    assert cursor.resume == Position(42, 0, 0, 0)
    assert (cursor.partition, cursor.opened_offset, cursor.origin_ms) == (3, 42, 1234)
    assert (cursor.version, cursor.status) == (0, SessionStatus.ACTIVE)


def test_the_wall_clock_of_a_session_that_began_earlier_counts_from_its_beginning() -> None:
    late = chunk(7, captured_at_ms=10_000, media_offset_ms=700)
    assert opening_cursor(late, 42, 3, SessionSettings()).origin_ms == 9_300


def test_a_batch_is_sent_whole_and_in_order_without_waiting_for_the_stream() -> None:
    session = engine()
    batch = [entry(n, payload=bytes([n]) * 1600) for n in range(3)]
    sent = [c.payload for c in session.receive_batch(batch, 0.0) if isinstance(c, SendAudio)]
    assert sent == [bytes([n]) * 1600 for n in range(3)]


def test_a_new_session_s_cursor_is_to_be_written_at_once() -> None:
    session = engine()
    session.receive_batch(entries([0]), 0.0)
    assert session.dirty
    cursor = session.take_snapshot()
    assert (cursor.version, cursor.resume, cursor.streams) == (1, Position(0, 0, 0, 0), 1)
    assert not session.dirty
    assert session.cursor.version == 1


def test_chunks_alone_do_not_make_the_cursor_dirty() -> None:
    session = opened(3)
    session.take_snapshot()
    session.receive_batch(entries(range(3, 50)), 1.0)
    session.stream_progress(1, 50 * CHUNK_SAMPLES, 1.0)
    session.receive_results(1, [spoken("r1", 0.0, 1.0, partial=True)], 1.0)
    session.handle_timer(1.0)
    assert not session.dirty


def test_replayed_and_repeated_chunks_are_sent_once() -> None:
    session = opened(3)
    again = [entry(1), entry(2), entry(2, offset=3), entry(3, offset=4)]
    assert kinds(session.receive_batch(again, 0.1)) == ["SendAudio"]


def test_a_bad_record_is_rejected_and_its_neighbours_are_sent() -> None:
    session = engine()
    bad = ChunkRejected(NOT_AVRO, "synthetic")
    commands = session.receive_batch([entry(0), LogEntry(1, None, bad), entry(1, offset=2)], 0.0)
    assert kinds(commands) == ["OpenStream", "SendAudio", "Reject", "SendAudio"]
    assert only(commands, Reject) == Reject(1, bad)


def test_a_chunk_of_another_sample_rate_is_rejected() -> None:
    rejected = only(opened(1).receive_batch([entry(1, format=AudioFormat(16_000))], 0.1), Reject)
    assert isinstance(rejected, Reject)
    assert rejected.rejection.error_class == SAMPLE_RATE_MISMATCH


# Results


def test_a_final_comes_with_its_number_its_times_and_its_place_in_the_log() -> None:
    session = opened(20)
    final = only(session.receive_results(1, [spoken("r1", 0.25, 1.15)], 1.0), EmitFinal)
    assert isinstance(final, EmitFinal)
    found = final.final
    assert (found.session_id, found.segment_index, found.result_id) == ("session-1", 0, "r1")
    assert (found.start_time, found.end_time) == (0.25, 1.15)
    assert (found.source.topic, found.source.first_offset, found.source.last_offset) == ("audio", 2, 11)
    assert (found.stream_id, found.request_id) == ("stream-1", "request-1")


def test_a_final_s_wall_clock_counts_from_the_first_chunk_s_capture() -> None:
    cursor = opening_cursor(chunk(0, captured_at_ms=1_000_000), 0, 0, SessionSettings())
    session = engine(cursor)
    session.receive_batch(entries(range(20)), 0.0)
    final = only(session.receive_results(1, [spoken("r1", 0.25, 1.15)], 1.0), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert final.final.started_at_ms == 1_000_250


def test_finals_are_numbered_in_order_and_move_the_cursor() -> None:
    session = opened(40)
    session.take_snapshot()
    commands = session.receive_results(1, [spoken("r1", 0.0, 1.0), spoken("r2", 1.2, 2.05)], 1.0)
    assert [c.final.segment_index for c in commands if isinstance(c, EmitFinal)] == [0, 1]
    assert session.dirty
    cursor = session.take_snapshot()
    assert cursor.next_segment_index == 2
    assert cursor.channel_end_times == {"": 2.05}
    assert cursor.resume == Position(20, 20, 20 * CHUNK_SAMPLES, 2000), "chunk 20 is covered in half"
    assert cursor.chunks == 20


def test_a_partial_is_shown_and_its_final_comes_once() -> None:
    session = opened(20)
    partial, final = spoken("r1", 0.0, 1.0, partial=True), spoken("r1", 0.0, 1.0)
    assert kinds(session.receive_results(1, [partial, partial, final, final], 1.0)) == [
        "EmitPartial",
        "EmitPartial",
        "EmitFinal",
    ]


def test_an_event_without_results_changes_nothing() -> None:
    session = opened(1)
    session.take_snapshot()
    assert session.receive_results(1, [], 1.0) == []
    assert not session.dirty


# Silence


def test_a_pause_closes_the_stream_gracefully_and_the_next_chunk_opens_another() -> None:
    session = opened(10)
    assert session.handle_timer(LIMITS.idle_close_seconds - 0.1) == []
    assert doings(session.handle_timer(LIMITS.idle_close_seconds)) == [EndStream(1)]
    session.receive_results(1, [spoken("r1", 0.2, 0.9)], 10.5)
    assert doings(session.stream_closed(1, 10.6)) == []
    cursor = session.take_snapshot()
    assert cursor.resume == Position(10, 10, 10 * CHUNK_SAMPLES, 1000)
    assert cursor.channel_end_times == {"": 1.0}
    commands = doings(session.receive_batch(entries([10]), 20.0))
    assert kinds(commands) == ["OpenStream", "SendAudio"]
    assert isinstance(commands[0], OpenStream)
    assert commands[0].serial == 2
    final = only(session.receive_results(2, [spoken("r2", 0.0, 0.1)], 21.0), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert final.final.start_time == pytest.approx(1.0)


def test_a_pause_without_any_speech_covers_the_audio_all_the_same() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    session.stream_closed(1, 10.5)
    assert session.take_snapshot().resume == Position(10, 10, 10 * CHUNK_SAMPLES, 1000)


# Drain


def test_a_suspended_session_gets_its_finals_but_for_the_seam_and_rests() -> None:
    session = opened(20)
    assert doings(session.suspend(2.0)) == [EndStream(1)]
    assert not session.at_rest
    finals = session.receive_results(1, [spoken("r1", 0.1, 0.5), spoken("r2", 1.4, 1.95)], 2.5)
    assert kinds(finals) == ["EmitFinal", "EmitPartial"]  # the word at the seam may be half a word
    assert doings(session.stream_closed(1, 3.0)) == []
    assert session.at_rest
    assert not session.holds_slot
    cursor = session.take_snapshot()
    assert 0.5 <= cursor.channel_end_times[""] < 1.4
    assert 5 <= cursor.resume.offset < 14, "the next job hears the rest"


def test_a_suspended_session_leaves_what_comes_in_the_log() -> None:
    session = opened(10)
    session.suspend(1.0)
    session.stream_closed(1, 1.5)
    assert session.receive_batch(entries([10]), 2.0) == []
    assert not session.needs_slot(2.0, arriving=True)
    assert session.suspend(3.0) == []
    assert session.at_rest


def test_a_suspended_session_whose_stream_is_just_opened_waits_for_it() -> None:
    session = engine()
    session.slot_granted(0.0)
    session.receive_batch(entries(range(3)), 0.0)
    assert session.suspend(0.1) == []
    session.stream_opened(1, "stream-1", None, 0.2)
    assert doings(session.suspend(0.3)) == [EndStream(1)]


def test_a_suspended_session_that_waits_for_its_turn_rests_at_once() -> None:
    session = opened(3)
    session.stream_failed(1, RESET, 1.0)
    assert session.state is SessionState.WAITING
    assert session.suspend(60.0) == []
    assert session.at_rest


def test_a_suspended_session_that_has_all_its_audio_ends() -> None:
    session = opened(10)
    session.receive_batch([entry(10, end_of_session=True)], 1.0)
    assert session.suspend(1.1) == []  # its stream is ending already
    assert "EmitSessionEnded" in kinds(session.stream_closed(1, 2.0))
    assert session.at_rest


def test_chunks_that_meet_a_closing_stream_wait_for_the_next_one() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    assert session.receive_batch(entries([10]), 10.1) == []
    assert doings(session.stream_closed(1, 10.5)) == []
    assert session.state is SessionState.WAITING
    read = only(session.handle_timer(10.5), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (10, 11)
    assert kinds(session.receive_log(read.read_id, log([10]), 10.6)) == ["OpenStream", "SendAudio"]


def test_a_pause_shows_while_the_log_is_still_read_as_no_pause() -> None:
    session = engine(limits=SessionLimits(outbound_seconds=1.0))
    session.receive_batch(entries(range(25)), 0.0)
    assert "EndStream" not in kinds(session.handle_timer(LIMITS.idle_close_seconds + 1))


def test_a_service_that_answers_nothing_after_the_closing_frame_is_given_up() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    assert session.handle_timer(10.0 + LIMITS.drain_timeout_seconds - 0.1) == []
    commands = session.handle_timer(10.0 + LIMITS.drain_timeout_seconds)
    assert doings(commands) == [DropStream(1)]
    assert kinds(session.handle_timer(60.0)) == ["OpenStream"]
    read = only(session.stream_opened(2, "stream-2", None, 60.1), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 10)


def test_results_after_the_closing_frame_prolong_the_wait_for_the_last_one() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    session.receive_results(1, [spoken("r1", 0.0, 0.5, partial=True)], 35.0)
    assert session.handle_timer(10.0 + LIMITS.drain_timeout_seconds) == []
    assert session.handle_timer(35.0 + LIMITS.drain_timeout_seconds)[0] == DropStream(1)


# The end


def test_the_last_chunk_ends_the_stream_and_the_session_ends_after_the_last_final() -> None:
    session = opened(10)
    assert kinds(session.receive_batch([entry(10, end_of_session=True)], 1.0)) == ["SendAudio", "EndStream"]
    final = session.receive_results(1, [spoken("r1", 0.2, 1.0)], 1.5)
    assert kinds(final) == ["EmitFinal"]
    summary = ended(session.stream_closed(1, 2.0)).summary
    assert (summary.session_id, summary.reason) == ("session-1", "END_OF_SESSION")
    assert (summary.segments, summary.chunks, summary.streams, summary.retries) == (1, 11, 1, 0)
    assert summary.audio_seconds == pytest.approx(1.1)
    assert (summary.source.first_offset, summary.source.last_offset) == (0, 10)
    assert session.take_snapshot().status is SessionStatus.ENDED


def test_an_end_marker_without_audio_ends_the_session_too() -> None:
    session = opened(10)
    marker = entry(10, payload=b"", end_of_session=True)
    assert session.receive_batch([marker], 1.0) == [EndStream(1)]
    assert ended(session.stream_closed(1, 2.0)).summary.chunks == 10


def test_a_session_of_nothing_but_its_end_needs_no_stream() -> None:
    session = engine(opening_cursor(chunk(0, payload=b"", end_of_session=True), 0, 0, SessionSettings()))
    commands = session.receive_batch([entry(0, payload=b"", end_of_session=True)], 0.0)
    assert kinds(commands) == ["EmitSessionEnded"]
    summary = ended(commands).summary
    assert (summary.chunks, summary.streams, summary.audio_seconds) == (0, 0, 0.0)


def test_a_very_short_session_ends_before_its_stream_has_opened() -> None:
    session = engine()
    commands = session.receive_batch([entry(0, end_of_session=True)], 0.0)
    assert kinds(commands) == ["OpenStream", "SendAudio", "EndStream"]
    assert session.stream_opened(1, "s", "r", 0.1) == []
    assert kinds(session.stream_closed(1, 0.2)) == ["EmitSessionEnded"]


def test_an_end_whose_stream_is_lost_is_reached_again_through_the_log() -> None:
    session = opened(2)
    session.receive_batch([entry(2, end_of_session=True)], 0.1)
    assert doings(session.stream_failed(1, RESET, 0.2)) == []
    session.handle_timer(3.0)
    read = only(session.stream_opened(2, "stream-2", None, 3.0), ReadLog)
    assert isinstance(read, ReadLog)
    again = LogSlice((*entries([0, 1]), entry(2, end_of_session=True)), 3, complete=True)
    commands = session.receive_log(read.read_id, again, 3.1)
    assert kinds(commands) == [*["SendAudio"] * 3, "EndStream"]
    assert kinds(session.stream_closed(2, 4.0)) == ["EmitSessionEnded"]


def test_a_chunk_after_the_end_goes_to_the_dead_letters() -> None:
    session = opened(1)
    session.receive_batch([entry(1, end_of_session=True)], 0.1)
    during = only(session.receive_batch([entry(2)], 0.2), Reject)
    session.stream_closed(1, 0.3)
    after = only(session.receive_batch([entry(3)], 0.4), Reject)
    for rejected, offset in ((during, 2), (after, 3)):
        assert isinstance(rejected, Reject)
        assert (rejected.offset, rejected.rejection.error_class) == (offset, AFTER_END_OF_SESSION)


@pytest.mark.parametrize("finished", [False, True])
def test_the_last_chunk_written_twice_is_no_chunk_after_the_end(finished: bool) -> None:
    session = opened(1)
    session.receive_batch([entry(1, end_of_session=True)], 0.1)
    if finished:
        session.stream_closed(1, 0.2)
    assert doings(session.receive_batch([entry(1, offset=2, end_of_session=True)], 0.3)) == []


def test_a_session_without_audio_for_long_ends_by_timeout() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    session.stream_closed(1, 11.0)
    assert session.next_timer(11.0) == LIMITS.session_timeout_seconds
    assert session.handle_timer(LIMITS.session_timeout_seconds - 1) == []
    summary = ended(session.handle_timer(LIMITS.session_timeout_seconds)).summary
    assert summary.reason == "SESSION_TIMEOUT"


def test_a_timeout_shorter_than_the_idle_close_ends_the_stream_first() -> None:
    session = opened(10, limits=SessionLimits(session_timeout_seconds=2.0))
    assert session.handle_timer(2.0) == [EndStream(1)]
    assert kinds(session.stream_closed(1, 2.5)) == ["EmitSessionEnded"]


def test_an_ended_session_is_forgotten_after_a_while() -> None:
    session = engine()
    session.receive_batch([entry(0, payload=b"", end_of_session=True)], 5.0)
    due = 5.0 + LIMITS.ended_retention_seconds
    assert session.next_timer(5.0) == due
    assert session.handle_timer(due - 1) == []
    assert session.handle_timer(due) == [Forget()]


# Timers


def test_the_poll_is_slow_while_audio_drives_and_quick_in_a_pause() -> None:
    session = opened(5)
    assert session.next_timer(0.1) == pytest.approx(0.1 + LIMITS.poll_flowing_seconds)
    assert session.next_timer(5.0) == pytest.approx(5.0 + LIMITS.poll_paused_seconds)


def test_a_session_without_stream_wakes_for_its_timeout_only() -> None:
    session = opened(5)
    session.handle_timer(10.0)
    session.stream_closed(1, 10.5)
    assert session.next_timer(10.5) == LIMITS.session_timeout_seconds


# Two channels


def test_two_channels_have_their_own_ends_and_the_slower_one_holds_the_cursor() -> None:
    session = engine(opening_cursor(chunk(0, format=STEREO), 0, 0, SessionSettings()))
    session.receive_batch([entry(n, format=STEREO) for n in range(40)], 0.0)
    left = result("l", word("a", 0.5, 3.5), channel_id="ch_0")
    right = result("r", word("b", 0.5, 1.6), channel_id="ch_1")
    session.receive_results(1, [left, right], 1.0)
    cursor = session.take_snapshot()
    assert cursor.channel_end_times == {"ch_0": 3.5, "ch_1": 1.6}
    assert cursor.resume == Position(16, 16, 16 * CHUNK_SAMPLES, 1600)


# Sequences that come again


def loud(sequence: int, offset: int, sound: int) -> LogEntry:
    return entry(sequence, offset=offset, payload=bytes([sound]) * 2 * CHUNK_SAMPLES)


def test_a_chunk_written_twice_by_a_retry_is_sent_once_and_not_reported() -> None:
    session = opened(1)
    commands = session.receive_batch([loud(1, 1, 7), loud(2, 2, 8), loud(1, 3, 7), loud(3, 4, 9)], 0.1)
    assert [command.payload[0] for command in commands if isinstance(command, SendAudio)] == [7, 8, 9]
    assert not [command for command in commands if isinstance(command, Reject)]


# A source that is silent is no producer that pauses


def test_before_an_idle_close_the_log_is_read_when_the_source_was_not_heard_of() -> None:
    session = opened(10)
    read = only(session.handle_timer(10.0, source=heard_until(1.0)), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (10, None)
    assert kinds(session.receive_log(read.read_id, log([10]), 10.1)) == ["SendAudio"]
    assert kinds(session.handle_timer(12.0, source=heard_until(1.0))) == []


def test_a_log_without_more_of_the_session_lets_it_close() -> None:
    session = opened(10)
    read = only(session.handle_timer(10.0, source=heard_until(1.0)), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, LogSlice((), 40, complete=True), 10.1)
    assert kinds(session.handle_timer(10.2, source=heard_until(1.0))) == ["EndStream"]


def test_a_log_that_cannot_be_read_postpones_the_end_of_a_session() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    session.stream_closed(1, 10.5)
    timeout = LIMITS.session_timeout_seconds
    session.handle_timer(timeout, source=heard_until(1.0))
    session.handle_timer(timeout + 0.1, source=heard_until(1.0))
    read = only(session.handle_timer(timeout + 1, source=heard_until(1.0)), ReadLog)
    assert isinstance(read, ReadLog)
    session.log_failed(read.read_id, timeout + 2)
    assert "EmitSessionEnded" not in kinds(session.handle_timer(timeout + 3, source=heard_until(1.0)))


def test_a_broker_that_was_away_excuses_the_producer() -> None:
    """It could not write either; its stream must not be closed in the middle of a word."""
    session = opened(10)
    read = only(session.handle_timer(10.0, source=heard_until(1.0)), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, LogSlice((), 10, complete=True), 14.0)
    assert kinds(session.handle_timer(14.1, source=heard_until(1.0))) == []
    assert kinds(session.receive_batch([entry(10)], 15.0)) == ["SendAudio"]


def test_a_broker_that_is_slow_each_time_excuses_the_producer_once() -> None:
    session = opened(10)
    for asked, answered in ((10.0, 13.0), (23.0, 26.0)):
        read = only(session.handle_timer(asked, source=heard_until(1.0)), ReadLog)
        assert isinstance(read, ReadLog)
        commands = session.receive_log(read.read_id, LogSlice((), 10, complete=True), answered)
        assert commands == []
    assert kinds(session.handle_timer(26.1, source=heard_until(1.0))) == ["EndStream"]


def test_a_partition_of_which_something_came_again_is_not_everybody_s_yet() -> None:
    """What the same batch has for this session may still be on its way, and no read of the log is needed."""
    session = opened(10)
    back = hear(heard_until(1.0), 12.0, 0.1)  # the broker was away; another session got its records first
    assert kinds(session.handle_timer(12.1, source=back)) == []
    assert kinds(session.receive_batch([entry(10)], 12.2)) == ["SendAudio"]


def test_a_session_that_got_nothing_although_the_source_is_well_again_has_paused() -> None:
    session = opened(10)
    source = hear(heard_until(1.0), 12.0, 0.1)
    for step in range(1, 31):
        assert kinds(session.handle_timer(12.0 + step / 10 - 0.05, source=source)) == []
        source = hear(source, 12.0 + step / 10, 0.1)
    assert kinds(session.handle_timer(15.1, source=source)) == ["EndStream"]


def test_a_producer_s_pause_begins_when_the_broker_is_back() -> None:
    session = opened(10)
    failed = only(session.handle_timer(10.0, source=heard_until(1.0)), ReadLog)
    assert isinstance(failed, ReadLog)
    session.log_failed(failed.read_id, 12.0)
    assert kinds(session.handle_timer(13.0, source=heard_until(1.0))) == [], "only the read is tried again"
    read = only(session.handle_timer(25.0, source=heard_until(1.0)), ReadLog)
    assert isinstance(read, ReadLog)
    assert session.receive_log(read.read_id, LogSlice((), 10, complete=True), 25.1) == []
    assert kinds(session.handle_timer(35.0, source=heard_until(35.0))) == []
    assert kinds(session.handle_timer(35.1, source=heard_until(35.1))) == ["EndStream"]
