"""The session engine and the order of chunks: what is sent for late, repeated and missing ones."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.elements import LATE_CHUNK, MISSING_SEQUENCE, SEQUENCE_RESTARTED, LogEntry, SessionSettings
from pipeline.engine.answers import LogSlice
from pipeline.engine.commands import Command, EmitFinal, Observe, OpenStream, ReadLog, Reject, SendAudio
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import opening_cursor
from pipeline.engine.session_state import SessionState
from tests.pipeline.builders import CHUNK_SAMPLES, chunk, engine, entries, entry, kinds
from tests.pipeline.scenes import RESET, ended, only, opened, retried, spoken

WAIT_SECONDS = SessionLimits().reorder_wait_seconds


def loud(sequence: int, offset: int, sound: int, **changes: object) -> LogEntry:
    return entry(sequence, offset=offset, payload=bytes([sound]) * 2 * CHUNK_SAMPLES, **changes)


def sounds(commands: Iterable[Command]) -> list[int]:
    return [command.payload[0] for command in commands if isinstance(command, SendAudio)]


def observed(commands: Iterable[Command]) -> dict[str, int]:
    return {command.name: command.value for command in commands if isinstance(command, Observe)}


def test_a_chunk_written_twice_by_a_retry_is_sent_once_and_not_reported() -> None:
    session = opened(1)
    commands = session.receive_batch([loud(1, 1, 7), loud(2, 2, 8), loud(1, 3, 7), loud(3, 4, 9)], 0.1)
    assert sounds(commands) == [7, 8, 9]
    assert observed(commands) == {"duplicate_chunks": 1}
    assert "Reject" not in kinds(commands)


def test_a_chunk_that_comes_too_early_is_sent_in_its_turn() -> None:
    session = opened(1)
    assert sounds(session.receive_batch([loud(2, 1, 8)], 0.1)) == []
    assert session.held_offsets == [1]
    assert sounds(session.receive_batch([loud(1, 2, 7), loud(3, 3, 9)], 0.2)) == [7, 8, 9]
    assert session.held_offsets == []


def test_a_missing_chunk_of_known_length_is_silence_and_a_gap() -> None:
    session = opened(0)
    session.receive_batch([entry(n, media_offset_ms=100 * n) for n in range(5)], 0.0)
    later = [loud(n, n, 5, media_offset_ms=100 * n) for n in range(7, 27)]
    commands = session.receive_batch(later, 0.1)
    payloads = [command.payload for command in commands if isinstance(command, SendAudio)]
    assert payloads[0] == bytes(2 * 2 * CHUNK_SAMPLES)
    assert sounds(commands)[1:] == [5] * 20
    final = session.receive_results(1, [spoken("r", 0.75, 2.0)], 0.2)
    assert observed(final) == {"gaps": 1, "gap_ms": 200}
    assert session.take_snapshot().gaps == ((0.5, 0.7, MISSING_SEQUENCE),)


def test_a_late_chunk_of_a_gap_is_a_dead_letter() -> None:
    session = opened(1)
    session.receive_batch([loud(n, n, 5) for n in range(2, 22)], 0.1)
    commands = session.receive_batch([loud(1, 30, 7)], 0.2)
    late = only(commands, Reject)
    assert isinstance(late, Reject)
    assert (late.offset, late.rejection.error_class) == (30, LATE_CHUNK)
    assert observed(commands) == {"late_chunks": 1}


def test_a_hole_at_a_pause_is_looked_for_in_the_log_before_it_is_given_up() -> None:
    session = opened(1)
    session.receive_batch([loud(2, 1, 8)], 1.0)
    assert kinds(session.handle_timer(1.0 + WAIT_SECONDS - 0.1)) == []
    read = only(session.handle_timer(1.0 + WAIT_SECONDS), ReadLog)
    assert isinstance(read, ReadLog)
    assert (read.start_offset, read.end_offset, session.state) == (2, None, SessionState.BEHIND)
    found = LogSlice((), 9, complete=True)
    assert sounds(session.receive_log(read.read_id, found, 1.1 + WAIT_SECONDS)) == [8]
    assert session.state is SessionState.STREAMING


def test_a_producer_that_starts_again_goes_on_in_its_session() -> None:
    session = opened(6)
    commands = session.receive_batch([loud(number, 10 + number, 50 + number) for number in range(3)], 0.2)
    assert sounds(commands) == [50, 51, 52]
    assert observed(commands) == {"sequence_restarts": 1}
    session.receive_batch([entry(3, offset=20, end_of_session=True)], 0.3)
    summary = ended(session.stream_closed(1, 1.0)).summary
    assert [(gap.start_time, gap.end_time, gap.reason) for gap in summary.gaps] == [
        (0.6, 0.6, SEQUENCE_RESTARTED)
    ]
    assert summary.chunks == 10


def test_a_final_names_the_records_of_its_audio_whatever_their_order() -> None:
    session = opened(1)
    session.receive_batch([loud(3, 1, 3), loud(1, 2, 1), loud(2, 3, 2), loud(4, 4, 4)], 0.1)
    final = only(session.receive_results(1, [spoken("r", 0.15, 0.35)], 0.2), EmitFinal)
    assert isinstance(final, EmitFinal)
    assert (final.final.source.first_offset, final.final.source.last_offset) == (1, 3)


def test_covered_records_behind_uncovered_ones_are_not_sent_again() -> None:
    session = opened(1)
    session.receive_batch([loud(3, 1, 3), loud(1, 2, 1), loud(2, 3, 2), loud(4, 4, 4)], 0.1)
    session.receive_results(1, [spoken("r", 0.0, 0.3)], 0.2)
    session.stream_failed(1, RESET, 0.3)
    read = retried(session, 2, 3.0)
    assert (read.start_offset, read.end_offset) == (1, 5)
    again = (loud(3, 1, 3), loud(1, 2, 1), loud(2, 3, 2), loud(4, 4, 4))
    assert sounds(session.receive_log(read.read_id, LogSlice(again, 5, complete=True), 3.1)) == [3, 4]


def test_a_gap_that_is_not_covered_is_found_again() -> None:
    session = opened(0)
    session.receive_batch([entry(n, media_offset_ms=100 * n) for n in range(5)], 0.0)
    later = [loud(n, n, 5, media_offset_ms=100 * n) for n in range(7, 27)]
    session.receive_batch(later, 0.1)
    session.stream_failed(1, RESET, 0.3)
    read = retried(session, 2, 3.0)
    whole = (*(entry(n, media_offset_ms=100 * n) for n in range(5)), *later)
    session.receive_log(read.read_id, LogSlice(whole, 27, complete=True), 3.1)
    session.receive_batch([entry(27, end_of_session=True)], 3.2)
    summary = ended(session.stream_closed(2, 4.0)).summary
    assert [(gap.start_time, gap.end_time) for gap in summary.gaps] == [(0.5, 0.7)]


def test_records_held_when_a_stream_is_lost_are_read_again() -> None:
    session = opened(1)
    session.receive_batch([loud(2, 1, 8)], 0.1)
    session.receive_results(1, [spoken("r", 0.0, 0.1)], 0.2)
    session.stream_failed(1, RESET, 0.3)
    read = retried(session, 2, 3.0)
    assert isinstance(read, ReadLog)
    assert read.start_offset == 1
    session.receive_log(read.read_id, LogSlice(tuple(entries([])), 2, complete=True), 3.1)


def test_settings_of_a_first_chunk_that_comes_second_count() -> None:
    session = engine(opening_cursor(chunk(1), 0, 0, SessionSettings()))
    session.receive_batch([entry(1, offset=0)], 0.0)
    commands = session.receive_batch([entry(0, offset=1, settings={"specialty": "CARDIOLOGY"})], 0.1)
    opening = only(commands, OpenStream)
    assert isinstance(opening, OpenStream)
    assert opening.settings.specialty == "CARDIOLOGY"
    assert session.take_snapshot().settings == opening.settings
    session.receive_batch([entry(2, settings={"specialty": "UROLOGY"})], 0.2)
    assert session.take_snapshot().settings == opening.settings, "one stream, one choice"


def test_a_late_chunk_behind_a_held_one_is_reported_once() -> None:
    session = opened(1)
    session.receive_batch([loud(n, n, 5) for n in range(2, 22)], 0.1)
    held, late = loud(30, 29, 6), loud(1, 30, 7)
    assert "Reject" in kinds(session.receive_batch([held, late], 0.2))
    session.stream_failed(1, RESET, 0.3)
    read = retried(session, 2, 3.0)
    again = (entry(0), *(loud(n, n, 5) for n in range(2, 22)), held, late)
    assert "Reject" not in kinds(session.receive_log(read.read_id, LogSlice(again, 31, complete=True), 3.1))
