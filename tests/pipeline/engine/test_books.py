"""The books of a session: numbers, ends, gaps and the cursors made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.elements import LOST_OFFSETS, MISSING_SEQUENCE, UNDECODABLE, Gap, SessionSettings
from pipeline.engine.books import SessionBooks
from pipeline.engine.cursor import SessionCursor, SessionStatus
from pipeline.engine.feed import AudioFeed
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import opening_cursor
from pipeline.engine.timeline import Position, Span
from tests.pipeline.builders import CHUNK_SAMPLES, STEREO, chunk, entry, result, word

OPENING = opening_cursor(chunk(0, captured_at_ms=5000), 10, 3, SessionSettings(specialty="CARDIOLOGY"))


def books(cursor: SessionCursor = OPENING) -> tuple[SessionBooks, AudioFeed]:
    """Books, and a feed that has taken 20 chunks (two seconds) at offsets 10 to 29."""
    feed = AudioFeed(cursor, SessionLimits())
    feed.open_live()
    for number in range(20):
        feed.take(entry(number, offset=10 + number, format=cursor.format), 0.0)
    return SessionBooks(cursor, session_id="session-1", topic="audio"), feed


def test_finals_are_numbered_from_the_cursor_on() -> None:
    kept, feed = books(replace(OPENING, next_segment_index=7))
    finals = [kept.enter_final(result(r, word(r, 0.0, 0.5)), "s", None, feed) for r in ("a", "b")]
    assert [final.segment_index for final in finals] == [7, 8]
    assert kept.dirty


def test_a_final_carries_its_session_s_settings_place_and_wall_clock() -> None:
    kept, feed = books()
    final = kept.enter_final(result("a", word("a", 0.25, 1.15)), "stream", "request", feed)
    assert final.settings.specialty == "CARDIOLOGY"
    assert final.source.position == ("audio", 3)
    assert (final.source.first_offset, final.source.last_offset) == (12, 21)
    assert final.started_at_ms == 5250
    assert (final.stream_id, final.request_id) == ("stream", "request")


def test_required_settings_hold_against_cursor_and_chunks() -> None:
    required = {"content_identification_type": "PHI"}
    kept = SessionBooks(OPENING, session_id="session-1", topic="audio", required=required)
    kept.enter_settings({"content_identification_type": "NONE", "type": "DICTATION"})
    assert (kept.settings.content_identification_type, kept.settings.type) == ("PHI", "DICTATION")


def test_without_a_capture_time_there_is_no_wall_clock() -> None:
    kept, feed = books(replace(OPENING, origin_ms=None))
    assert kept.enter_final(result("a", word("a", 0.2, 1.1)), "s", None, feed).started_at_ms is None


def test_each_channel_has_its_own_end() -> None:
    kept, feed = books(replace(OPENING, format=STEREO))
    kept.enter_final(result("a", word("a", 0.0, 1.5), channel_id="ch_0"), "s", None, feed)
    kept.enter_final(result("b", word("b", 0.0, 0.7), channel_id="ch_1"), "s", None, feed)
    assert kept.ends == {"ch_0": 1.5, "ch_1": 0.7}


def test_what_a_service_has_heard_to_its_end_counts_on_every_channel() -> None:
    kept, _ = books(replace(OPENING, format=STEREO, channel_end_times={"ch_0": 1.5}))
    kept.enter_heard(1.2)
    assert kept.ends == {"ch_0": 1.5, "ch_1": 1.2}
    assert kept.dirty


def test_gaps_that_finals_cover_and_those_they_do_not_are_in_the_summary() -> None:
    kept, feed = books()
    kept.enter_gaps([Span(15, 5, 4000, 8000, gap=MISSING_SEQUENCE)])
    feed.timeline.append_gap(30, 22, 800, UNDECODABLE)
    assert kept.close("END_OF_SESSION", feed).gaps == (
        Gap(0.5, 1.0, MISSING_SEQUENCE),
        Gap(2.0, 2.1, UNDECODABLE),
    )


def test_what_retention_took_at_the_very_end_is_a_gap_of_unknown_length() -> None:
    kept, feed = books()
    feed.note_lost()
    assert kept.close("SESSION_TIMEOUT", feed).gaps == (Gap(2.0, 2.0, LOST_OFFSETS),)


def test_a_partial_is_passed_on_and_enters_nothing() -> None:
    kept, _ = books()
    shown = kept.partial(result("a", word("a", 0.0, 0.5), partial=True), "stream", superseded=True)
    assert (shown.session_id, shown.result_id, shown.stream_id) == ("session-1", "a", "stream")
    assert shown.superseded
    assert not kept.dirty


def test_a_snapshot_says_what_to_read_again_and_is_numbered() -> None:
    kept, feed = books()
    kept.streams, kept.retries = 2, 1
    kept.enter_final(result("a", word("a", 0.0, 1.05)), "s", None, feed)
    feed.timeline.cover(round(1.05 * 8000))
    cursor = kept.take_snapshot(SessionStatus.ACTIVE, feed)
    assert [fingerprint.sequence for fingerprint in cursor.fingerprints] == list(range(10))
    assert replace(cursor, fingerprints=()) == replace(
        OPENING,
        version=1,
        resume=Position(20, 10, 10 * CHUNK_SAMPLES, 1000),
        reported_offset=30,
        channel_end_times={"": 1.05},
        next_segment_index=1,
        chunks=10,
        streams=2,
        retries=1,
    )
    assert not kept.dirty
    assert kept.cursor is cursor


def test_a_snapshot_is_not_changed_by_what_comes_after_it() -> None:
    kept, feed = books()
    kept.enter_final(result("a", word("a", 0.0, 0.5)), "s", None, feed)
    cursor = kept.take_snapshot(SessionStatus.ACTIVE, feed)
    kept.enter_final(result("b", word("b", 0.5, 1.0)), "s", None, feed)
    assert cursor.channel_end_times == {"": 0.5}


def test_gaps_and_ends_survive_a_restore() -> None:
    stored = replace(OPENING, gaps=((1.0, 2.0, LOST_OFFSETS),), channel_end_times={"": 1.0})
    kept, feed = books(stored)
    assert kept.ends == {"": 1.0}
    assert kept.close("END_OF_SESSION", feed).gaps == (Gap(1.0, 2.0, LOST_OFFSETS),)


def test_a_summary_counts_what_the_session_had() -> None:
    kept, feed = books()
    kept.streams = 1
    kept.enter_final(result("a", word("a", 0.0, 0.5)), "s", None, feed)
    summary = kept.close("SESSION_TIMEOUT", feed)
    assert (summary.reason, summary.segments, summary.chunks, summary.streams) == (
        "SESSION_TIMEOUT",
        1,
        20,
        1,
    )
    assert summary.audio_seconds == pytest.approx(2.0)
    assert (summary.source.first_offset, summary.source.last_offset) == (10, 29)
