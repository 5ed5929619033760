"""The feed: live records and records of the log meet, each is taken once, and each bad one reported once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.cursor import SessionCursor, SessionStatus
from pipeline.elements import (
    AFTER_END_OF_SESSION,
    NOT_AVRO,
    SAMPLE_RATE_MISMATCH,
    SESSION_REFUSED,
    AudioFormat,
    LogEntry,
    SessionSettings,
)
from pipeline.errors import ChunkRejected
from pipeline.feed import AudioFeed, after_end
from pipeline.session import opening_cursor
from pipeline.timeline import Position
from tests.pipeline.builders import CHUNK_SAMPLES, chunk, entry

ACTIVE = SessionStatus.ACTIVE
OTHER_RATE = AudioFormat(16_000)


def cursor(offset: int = 0) -> SessionCursor:
    opening = opening_cursor(chunk(0), 0, 0, SessionSettings())
    return replace(opening, resume=Position(offset, offset, 800 * offset))


def live_feed() -> AudioFeed:
    feed = AudioFeed(cursor())
    feed.open_live()
    return feed


def take(feed: AudioFeed, taken: LogEntry) -> bool:
    """Whether the feed takes a live entry."""
    assert feed.see(taken, ACTIVE) is None
    assert taken.chunk is not None
    return feed.is_new(taken) and feed.place(taken.offset, taken.chunk) is not None


def test_a_live_feed_takes_each_record_once() -> None:
    feed = live_feed()
    assert [take(feed, entry(number)) for number in (0, 1, 1, 0, 2)] == [True, True, False, False, True]
    assert feed.chunks == 3
    assert feed.next_read() is None


def test_a_record_that_a_producer_wrote_twice_is_taken_once() -> None:
    feed = live_feed()
    assert take(feed, entry(0))
    assert not take(feed, entry(0, offset=1)), "the same sequence at another offset"
    assert take(feed, entry(1, offset=2))
    assert feed.timeline.next == Position(3, 2, 1600)


def test_a_missing_sequence_is_let_through() -> None:
    feed = live_feed()
    assert take(feed, entry(0))
    assert take(feed, entry(5, offset=1))
    assert feed.timeline.next.sequence == 6


def test_an_undecodable_record_is_reported_and_passed_over() -> None:
    feed = live_feed()
    bad = ChunkRejected(NOT_AVRO, "synthetic")
    assert feed.see(LogEntry(0, None, bad), ACTIVE) is bad
    assert feed.timeline.next == Position(1, 0, 0)


def test_a_chunk_after_the_end_is_rejected() -> None:
    feed = live_feed()
    assert take(feed, entry(0, end_of_session=True))
    assert feed.end_marked
    rejection = feed.see(entry(1), ACTIVE)
    assert rejection is not None
    assert rejection.error_class == AFTER_END_OF_SESSION


def test_the_end_marker_written_twice_is_no_chunk_after_the_end() -> None:
    feed = live_feed()
    assert take(feed, entry(0, end_of_session=True))
    assert not take(feed, entry(0, offset=1, end_of_session=True))


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(SessionStatus.REFUSED, SESSION_REFUSED), (SessionStatus.ENDED, AFTER_END_OF_SESSION)],
)
def test_a_finished_session_rejects_what_comes_later(status: SessionStatus, error_class: str) -> None:
    rejection = live_feed().see(entry(0), status)
    assert rejection is not None
    assert rejection.error_class == error_class


def test_a_finished_session_ignores_what_it_has_taken_before_a_restore() -> None:
    feed = AudioFeed(cursor(offset=5))
    assert feed.see(entry(3), SessionStatus.ENDED) is None


# Behind


def test_a_restored_feed_reads_the_log_from_the_cursor_to_its_end() -> None:
    feed = AudioFeed(cursor(offset=5))
    assert feed.behind
    assert feed.next_read() == (1, 5, None)
    assert feed.awaits(1)
    assert not feed.awaits(0)


def test_live_records_only_move_the_mark_while_the_feed_is_behind() -> None:
    feed = AudioFeed(cursor(offset=5))
    feed.next_read()
    assert feed.see(entry(9), ACTIVE) is None
    assert feed.seen_offset == 10
    assert feed.timeline.next.offset == 5


def test_reads_go_on_until_they_meet_what_was_seen_live() -> None:
    feed = AudioFeed(cursor(offset=5))
    feed.next_read()
    feed.place(5, chunk(5))
    feed.finish_read(6, complete=False)
    assert feed.next_read() == (2, 6, None), "the end of the log was not reached"
    feed.see(entry(7), ACTIVE)
    feed.finish_read(6, complete=True)
    assert feed.next_read() == (3, 6, 8)
    feed.place(6, chunk(6))
    feed.place(7, chunk(7))
    feed.finish_read(8, complete=True)
    assert feed.next_read() is None
    assert not feed.behind


def test_a_rewound_feed_reads_again_what_finals_do_not_cover() -> None:
    feed = live_feed()
    for number in range(4):
        take(feed, entry(number))
    feed.timeline.cover(1600)
    feed.rewind()
    assert feed.behind
    assert (feed.chunks, feed.covered_chunks) == (2, 2)
    assert feed.next_read() == (1, 2, 4)


def test_an_end_that_was_not_covered_is_found_again_in_the_log() -> None:
    feed = live_feed()
    take(feed, entry(0, end_of_session=True))
    feed.rewind()
    assert not feed.end_marked
    feed.next_read()
    feed.place(0, chunk(0, end_of_session=True))
    assert feed.end_marked


def test_an_end_that_finals_cover_is_not_waited_for_again() -> None:
    feed = live_feed()
    take(feed, entry(0, end_of_session=True))
    feed.timeline.cover(CHUNK_SAMPLES)
    feed.rewind()
    assert feed.next_read() is None, "there is nothing to read again"
    assert feed.end_marked


def test_an_empty_end_behind_covered_audio_is_not_waited_for_again() -> None:
    feed = live_feed()
    take(feed, entry(0))
    take(feed, entry(1, payload=b"", end_of_session=True))
    feed.timeline.cover(CHUNK_SAMPLES)
    feed.rewind()
    assert feed.end_marked


def test_an_abandoned_read_is_not_awaited() -> None:
    feed = AudioFeed(cursor())
    feed.next_read()
    feed.abandon_read()
    assert not feed.awaits(1)
    assert feed.next_read() == (2, 0, None)


def test_records_between_the_session_s_own_are_passed_over_by_a_read() -> None:
    feed = AudioFeed(cursor())
    feed.next_read()
    feed.finish_read(40, complete=True)
    assert feed.timeline.next.offset == 40
    assert feed.seen_offset == 40


def test_a_chunk_of_another_rate_is_rejected_live() -> None:
    feed = live_feed()
    rejection = feed.see(entry(0, format=OTHER_RATE), ACTIVE)
    assert rejection is not None
    assert rejection.error_class == SAMPLE_RATE_MISMATCH
    assert feed.timeline.next.offset == 1


def test_after_end_names_the_chunk() -> None:
    assert "chunk 7" in after_end(chunk(7)).reason
