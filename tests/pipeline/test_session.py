"""The session engine event by event, and in scripted scenes; `tests/simulation` plays it at random.

Chunk n is 100 ms long, has sequence n and lies at offset n; every backoff lasts two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from connectors.transcribe.model import MedicalResult
from pipeline.answers import LogSlice, StreamFailure
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
    AFTER_END_OF_SESSION,
    LOST_OFFSETS,
    NOT_AVRO,
    SAMPLE_RATE_MISMATCH,
    SESSION_REFUSED,
    AudioFormat,
    LogEntry,
    SessionSettings,
)
from pipeline.errors import ChunkRejected
from pipeline.limits import SessionLimits
from pipeline.session import Session, opening_cursor
from pipeline.timeline import Position
from tests.pipeline.builders import (
    BACKOFF_SECONDS,
    CHUNK_SAMPLES,
    FORMAT,
    LIMITS,
    STEREO,
    chunk,
    engine,
    entries,
    entry,
    kinds,
    result,
    word,
)

RESET = StreamFailure("StreamReset", "reset by the test")
REFUSED = StreamFailure("BadRequestException", "refused by the test", retryable=False)


def opened(count: int, *, limits: SessionLimits = LIMITS) -> Session:
    """A session with `count` chunks sent to an open stream, at time 0."""
    session = engine(limits=limits)
    session.receive_batch(entries(range(count)), 0.0)
    session.stream_opened(1, "stream-1", "request-1", 0.0)
    session.stream_progress(1, count * CHUNK_SAMPLES, 0.0)
    return session


def spoken(result_id: str, start: float, end: float, *, partial: bool = False) -> MedicalResult:
    return result(result_id, word(result_id, start, end), partial=partial)


def log(numbers: Iterable[int], *, next_offset: int | None = None, complete: bool = True) -> LogSlice:
    found = tuple(entries(numbers))
    return LogSlice(found, found[-1].offset + 1 if next_offset is None else next_offset, complete)


def only(commands: list[Command], kind: type[Command]) -> Command:
    (found,) = [command for command in commands if isinstance(command, kind)]
    return found


# Opening and sending


def test_the_first_chunk_opens_a_stream_with_the_session_s_format_and_settings() -> None:
    settings = {"specialty": "CARDIOLOGY", "show_speaker_label": True}
    cursor = opening_cursor(chunk(0, settings=settings), 0, 0, SessionSettings(type="DICTATION"))
    session = engine(cursor)
    commands = session.receive_batch(entries([0]), 0.0)
    expected = SessionSettings(specialty="CARDIOLOGY", type="DICTATION", show_speaker_label=True)
    assert commands == [OpenStream(1, FORMAT, expected), SendAudio(1, chunk(0).payload)]


def test_an_opening_cursor_stands_at_the_first_chunk_whatever_its_sequence() -> None:
    cursor = opening_cursor(chunk(7, captured_at_ms=1234), 42, 3, SessionSettings())
    assert cursor.resume == Position(42, 7, 0)
    assert (cursor.partition, cursor.opened_offset, cursor.origin_ms) == (3, 42, 1234)
    assert (cursor.version, cursor.status) == (0, SessionStatus.ACTIVE)


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
    assert (cursor.version, cursor.resume, cursor.streams) == (1, Position(0, 0, 0), 1)
    assert not session.dirty
    assert session.version == 1


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
    assert cursor.resume == Position(20, 20, 20 * CHUNK_SAMPLES), "chunk 20 is covered in half"
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
    read = only(session.handle_timer(BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    assert session.receive_log(read.read_id - 1, log(range(5)), 3.0) == []
    assert kinds(session.receive_log(read.read_id, log(range(5)), 3.0)) == ["OpenStream", *["SendAudio"] * 5]
    assert session.receive_log(read.read_id, log(range(5)), 3.0) == [], "each answer counts once"
    assert session.log_failed(read.read_id, 3.0) == []


# A lost stream


def reopened(count: int) -> Session:
    """A session whose first stream was lost and whose second one was sent everything again."""
    session = opened(count)
    session.stream_failed(1, RESET, 0.0)
    read = only(session.handle_timer(BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, log(range(read.start_offset, count)), 3.0)
    session.stream_opened(2, "stream-2", "request-2", 3.0)
    return session


def test_a_lost_stream_is_followed_by_a_wait_and_a_read_of_what_is_not_covered() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    assert session.stream_failed(1, RESET, 1.0) == []
    assert session.next_timer(1.0) == pytest.approx(1.0 + BACKOFF_SECONDS)
    assert session.handle_timer(1.0 + BACKOFF_SECONDS - 0.1) == []
    read = only(session.handle_timer(1.0 + BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (10, 30)
    assert read.max_bytes > 0


def test_audio_is_sent_again_from_the_very_sample_that_finals_reach() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    session.stream_failed(1, RESET, 0.0)
    read = only(session.handle_timer(BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    commands = session.receive_log(read.read_id, log(range(10, 30)), 3.0)
    payloads = [c.payload for c in commands if isinstance(c, SendAudio)]
    assert len(payloads[0]) == 2 * CHUNK_SAMPLES // 2
    assert sum(map(len, payloads)) == 2 * round((3.0 - 1.05) * FORMAT.sample_rate_hertz)


def test_times_of_a_second_stream_are_on_the_session_s_timeline() -> None:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    session.stream_failed(1, RESET, 0.0)
    read = only(session.handle_timer(BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    session.receive_log(read.read_id, log(range(10, 30)), 3.0)
    session.stream_opened(2, "stream-2", "request-2", 3.0)
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
    read = only(session.receive_batch(entries([7]), BACKOFF_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 8)
    assert session.receive_batch(entries([8]), 2.5) == [], "one read at a time"
    commands = session.receive_log(read.read_id, log(range(8)), 3.0)
    assert kinds(commands) == ["OpenStream", *["SendAudio"] * 8, "ReadLog"]
    rest = commands[-1]
    assert isinstance(rest, ReadLog)
    assert (rest.start_offset, rest.end_offset) == (8, 9)
    assert kinds(session.receive_log(rest.read_id, log([8]), 3.1)) == ["SendAudio"]
    assert kinds(session.receive_batch(entries([9]), 3.2)) == ["SendAudio"], "live again"


def test_a_failed_read_is_tried_again_after_a_wait() -> None:
    session = opened(5)
    session.stream_failed(1, RESET, 0.0)
    first = only(session.handle_timer(2.0), ReadLog)
    assert isinstance(first, ReadLog)
    assert session.log_failed(first.read_id, 3.0) == []
    assert session.next_timer(3.0) == pytest.approx(3.0 + BACKOFF_SECONDS)
    assert session.handle_timer(4.9) == []
    second = only(session.handle_timer(5.0), ReadLog)
    assert isinstance(second, ReadLog)
    assert (second.start_offset, second.end_offset) == (0, 5)
    assert second.read_id > first.read_id


def test_a_second_failure_during_the_read_begins_again_and_ignores_it() -> None:
    session = reopened(5)
    session.receive_batch(entries([5]), 3.1)
    session.stream_failed(2, RESET, 3.2)
    read = only(session.handle_timer(6.0), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 6)


def test_a_stream_that_ends_before_it_was_asked_to_is_lost() -> None:
    session = opened(5)
    session.take_snapshot()
    assert session.stream_closed(1, 1.0) == []
    assert not session.dirty, "nothing is covered by such an end"
    assert kinds(session.handle_timer(1.0 + BACKOFF_SECONDS)) == ["ReadLog"]


def test_a_final_makes_failures_forgotten() -> None:
    waits: list[int] = []
    session = Session(
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
        commands = session.stream_failed(serial, RESET, 0.0)
        read = only(commands, ReadLog)
        assert isinstance(read, ReadLog)
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


# Silence


def test_a_pause_closes_the_stream_gracefully_and_the_next_chunk_opens_another() -> None:
    session = opened(10)
    assert session.handle_timer(LIMITS.idle_close_seconds - 0.1) == []
    assert session.handle_timer(LIMITS.idle_close_seconds) == [EndStream(1)]
    session.receive_results(1, [spoken("r1", 0.2, 0.9)], 10.5)
    assert session.stream_closed(1, 10.6) == []
    cursor = session.take_snapshot()
    assert cursor.resume == Position(10, 10, 10 * CHUNK_SAMPLES)
    assert cursor.channel_end_times == {"": 1.0}
    commands = session.receive_batch(entries([10]), 20.0)
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
    assert session.take_snapshot().resume == Position(10, 10, 10 * CHUNK_SAMPLES)


def test_chunks_that_meet_a_closing_stream_wait_for_the_next_one() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    assert session.receive_batch(entries([10]), 10.1) == []
    read = only(session.stream_closed(1, 10.5), ReadLog)
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
    assert commands == [DropStream(1)]
    read = only(session.handle_timer(60.0), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset) == (0, 10)


def test_results_after_the_closing_frame_prolong_the_wait_for_the_last_one() -> None:
    session = opened(10)
    session.handle_timer(10.0)
    session.receive_results(1, [spoken("r1", 0.0, 0.5, partial=True)], 35.0)
    assert session.handle_timer(10.0 + LIMITS.drain_timeout_seconds) == []
    assert session.handle_timer(35.0 + LIMITS.drain_timeout_seconds)[0] == DropStream(1)


# The end


def ended(commands: list[Command]) -> EmitSessionEnded:
    found = only(commands, EmitSessionEnded)
    assert isinstance(found, EmitSessionEnded)
    return found


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
    assert session.stream_failed(1, RESET, 0.2) == []
    read = only(session.handle_timer(3.0), ReadLog)
    assert isinstance(read, ReadLog)
    again = LogSlice((*entries([0, 1]), entry(2, end_of_session=True)), 3, complete=True)
    commands = session.receive_log(read.read_id, again, 3.1)
    assert kinds(commands) == ["OpenStream", *["SendAudio"] * 3, "EndStream"]
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
    assert session.receive_batch([entry(1, offset=2, end_of_session=True)], 0.3) == []


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


# Refusal


def test_a_session_refused_for_good_is_one_dead_letter_with_its_range() -> None:
    session = opened(5)
    commands = session.stream_failed(1, REFUSED, 1.0)
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


# Restored sessions


def stored(**changes: object) -> SessionCursor:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    return replace(session.take_snapshot(), **changes)  # type: ignore[arg-type]


def test_a_restored_session_reads_the_log_to_its_end_before_anything_else() -> None:
    session = engine(stored(), now=50.0)
    assert not session.dirty
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
    assert session.version == 1
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
    first = entry(30, samples=2 * CHUNK_SAMPLES, media_offset_ms=3000)
    lying = entry(31, samples=2 * CHUNK_SAMPLES, media_offset_ms=3100)
    session, commands = restored_read(*entries(range(10, 30)), first, lying, seen=seen)
    commands += session.receive_batch([first, lying], 50.2)
    assert [c.offset for c in commands if isinstance(c, Reject)] == [31]


def test_a_chunk_reported_before_a_lost_stream_is_not_reported_again() -> None:
    session = opened(5)
    bad = entry(5, format=AudioFormat(16_000))
    assert kinds(session.receive_batch([bad], 0.1)) == ["Reject"]
    session.stream_failed(1, RESET, 0.2)
    read = only(session.handle_timer(3.0), ReadLog)
    assert isinstance(read, ReadLog)
    again = LogSlice((*entries(range(5)), bad), 6, complete=True)
    assert "Reject" not in kinds(session.receive_log(read.read_id, again, 3.1))


def test_a_chunk_after_the_end_met_in_the_log_is_reported_once() -> None:
    last, late = entry(30, end_of_session=True), entry(31)
    session, commands = restored_read(*entries(range(10, 30)), last, late)
    commands += session.receive_batch([last, late], 50.2)
    assert [c.offset for c in commands if isinstance(c, Reject)] == [31]


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
    assert cursor.resume == Position(16, 16, 16 * CHUNK_SAMPLES)
