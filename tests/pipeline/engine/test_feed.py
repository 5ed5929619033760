"""The feed: live records and records of the log meet, each is taken once, each bad one reported once, and
whatever order they come in, they stand in the order of their sequence.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.elements import (
    AFTER_END_OF_SESSION,
    LATE_CHUNK,
    LOST_OFFSETS,
    MISSING_SEQUENCE,
    NOT_AVRO,
    SAMPLE_RATE_MISMATCH,
    SEQUENCE_RESTARTED,
    SEQUENCE_REUSED,
    UNDECODABLE,
    AudioFormat,
    LogEntry,
    SessionSettings,
)
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.feed import AudioFeed, Taken, after_end
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import opening_cursor
from pipeline.engine.timeline import Position
from pipeline.errors import ChunkRejected
from tests.pipeline.builders import CHUNK_SAMPLES, chunk, entry

OTHER_RATE = AudioFormat(16_000)
LIMITS = SessionLimits(reorder_wait_seconds=0.5)  # five chunks
OPENING = opening_cursor(chunk(0), 0, 0, SessionSettings())


def cursor(offset: int = 0) -> SessionCursor:
    return replace(OPENING, resume=Position(offset, offset, 800 * offset))


def live_feed(limits: SessionLimits = LIMITS) -> AudioFeed:
    feed = AudioFeed(OPENING, limits)
    feed.open_live()
    return feed


def take(feed: AudioFeed, *found: LogEntry, now: float = 0.0) -> Taken:
    """All that taking live entries led to."""
    whole = Taken()
    for one in found:
        feed.see(one.offset)
        if feed.is_new(one):
            taken = feed.take(one, now)
            whole.placed += taken.placed
            whole.rejected += taken.rejected
            whole.observed += taken.observed
    return whole


def placed(taken: Taken) -> list[int | str]:
    """What was put on the timeline: sequences of chunks, reasons of gaps."""
    return [p.span.gap or p.span.sequence for p in taken.placed]


def classes(taken: Taken) -> list[tuple[int, str]]:
    return [(offset, rejection.error_class) for offset, rejection in taken.rejected]


def numbered(*numbers: int, first_offset: int = 0, **changes: object) -> list[LogEntry]:
    """Chunks of these sequences, one after the other in the log; their audio tells them apart."""
    return [
        entry(number, offset=first_offset + i, payload=bytes([number % 250]) * 2 * CHUNK_SAMPLES, **changes)
        for i, number in enumerate(numbers)
    ]


def timed(*numbers: int, first_offset: int = 0) -> list[LogEntry]:
    """The same with media_offset_ms."""
    return [
        replace(e, chunk=replace(e.chunk, media_offset_ms=100 * e.chunk.sequence))
        for e in numbered(*numbers, first_offset=first_offset)
        if e.chunk is not None
    ]


# Live and from the log


def test_a_live_feed_takes_each_record_once() -> None:
    feed = live_feed()
    assert placed(take(feed, *(entry(number) for number in (0, 1, 1, 0, 2)))) == [0, 1, 2]
    assert feed.chunks == 3
    assert not feed.behind
    assert feed.next_read(0.0) is None


def test_a_record_that_a_producer_wrote_twice_is_taken_once() -> None:
    feed = live_feed()
    taken = take(feed, entry(0), entry(0, offset=1), entry(1, offset=2))
    assert (placed(taken), taken.observed) == ([0, 1], ["duplicate_chunks"])
    assert feed.timeline.next == Position(3, 2, 1600, 200)


def test_an_undecodable_record_is_passed_over() -> None:
    feed = live_feed()
    assert take(feed, LogEntry(0, None, ChunkRejected(NOT_AVRO, "synthetic"))).placed == []
    assert feed.timeline.next == Position(1, 0, 0, 0)
    assert not feed.behind


def test_a_chunk_of_another_rate_is_rejected() -> None:
    feed = live_feed()
    assert classes(take(feed, entry(0, format=OTHER_RATE))) == [(0, SAMPLE_RATE_MISMATCH)]
    assert feed.timeline.next.offset == 1


def test_a_restored_feed_reads_the_log_from_the_cursor_to_its_end() -> None:
    feed = AudioFeed(cursor(5), LIMITS)
    assert feed.behind
    assert feed.next_read(0.0) == (1, 5, None)
    assert feed.awaits(1)
    assert not feed.awaits(0)


def test_a_record_that_was_seen_and_not_taken_leaves_the_feed_behind() -> None:
    feed = live_feed()
    feed.see(9)
    assert feed.behind
    assert feed.next_read(0.0) == (1, 0, 10)


def test_reads_go_on_until_they_meet_what_was_seen_live() -> None:
    feed = AudioFeed(cursor(5), LIMITS)
    feed.next_read(0.0)
    feed.take(entry(5), 0.0)
    feed.finish_read(6, complete=False)
    assert feed.next_read(0.0) == (2, 6, None), "the end of the log was not reached"
    feed.see(7)
    feed.finish_read(6, complete=True)
    assert feed.next_read(0.0) == (3, 6, 8)
    feed.take(entry(6), 0.0)
    feed.take(entry(7), 0.0)
    feed.finish_read(8, complete=True)
    assert not feed.behind


def test_records_between_the_session_s_own_are_passed_over_by_a_read() -> None:
    feed = AudioFeed(cursor(), LIMITS)
    feed.next_read(0.0)
    feed.finish_read(40, complete=True)
    assert (feed.timeline.next.offset, feed.seen_offset) == (40, 40)


def test_an_abandoned_read_is_not_awaited() -> None:
    feed = AudioFeed(cursor(), LIMITS)
    feed.next_read(0.0)
    feed.abandon_read()
    assert not feed.awaits(1)
    assert feed.next_read(0.0) == (2, 0, None)


def test_a_rewound_feed_reads_again_what_finals_do_not_cover() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 1, 2, 3))
    feed.cover(1600)
    feed.rewind()
    assert feed.behind
    assert (feed.chunks, feed.memory()["chunks"]) == (2, 2)
    assert feed.next_read(0.0) == (1, 2, 4)
    assert placed(take(feed, *numbered(2, 3, first_offset=2))) == [2, 3]


# The end


def test_a_chunk_after_the_end_is_rejected() -> None:
    feed = live_feed()
    take(feed, entry(0, end_of_session=True))
    assert feed.end_marked
    assert classes(take(feed, entry(1))) == [(1, AFTER_END_OF_SESSION)]


def test_the_end_marker_written_twice_is_no_chunk_after_the_end() -> None:
    feed = live_feed()
    taken = take(feed, entry(0, end_of_session=True), entry(0, offset=1, end_of_session=True))
    assert (placed(taken), taken.rejected) == ([0], [])


def test_an_end_that_was_not_covered_is_found_again_in_the_log() -> None:
    feed = live_feed()
    take(feed, entry(0, end_of_session=True))
    feed.rewind()
    assert not feed.end_marked
    take(feed, entry(0, end_of_session=True))
    assert feed.end_marked


@pytest.mark.parametrize("payload", [b"", bytes(2 * CHUNK_SAMPLES)])
def test_an_end_that_finals_cover_is_not_waited_for_again(payload: bytes) -> None:
    feed = live_feed()
    take(feed, entry(0), entry(1, payload=payload, end_of_session=True))
    feed.cover(2 * CHUNK_SAMPLES)
    feed.rewind()
    assert feed.end_marked
    assert not feed.behind


def test_a_restored_session_meets_its_end_again_even_if_finals_cover_it() -> None:
    feed = live_feed()
    take(feed, entry(0), entry(1, payload=b"", end_of_session=True))
    feed.cover(CHUNK_SAMPLES)
    restored = AudioFeed(replace(cursor(), **feed.memory()), LIMITS)
    assert restored.timeline.next.offset == 1
    take(restored, entry(1, payload=b"", end_of_session=True))
    assert restored.end_marked


def test_an_end_that_overtakes_its_predecessors_waits_for_them() -> None:
    feed = live_feed()
    last = entry(3, offset=2, end_of_session=True)
    assert placed(take(feed, *numbered(0, 1), last)) == [0, 1]
    assert not feed.end_marked
    assert placed(take(feed, *numbered(2, first_offset=3))) == [2, 3]
    assert feed.end_marked


def test_what_is_held_behind_the_end_is_rejected() -> None:
    feed = live_feed()
    taken = take(feed, *numbered(2), entry(0, offset=1), entry(1, offset=2, end_of_session=True))
    assert placed(taken) == [0, 1]
    assert classes(taken) == [(0, AFTER_END_OF_SESSION)]


def test_after_end_names_the_chunk() -> None:
    assert "chunk 7" in after_end(chunk(7)).reason


# Order


def test_late_chunks_are_put_in_order() -> None:
    feed = live_feed()
    taken = take(feed, *numbered(0, 3, 2, 1, 4))
    assert placed(taken) == [0, 1, 2, 3, 4]
    assert taken.observed == ["reordered_chunks", "reordered_chunks"]
    assert [p.payload[0] for p in taken.placed] == [0, 1, 2, 3, 4]


def test_a_missing_chunk_is_a_gap_when_enough_audio_has_come_behind_it() -> None:
    feed = live_feed()
    assert placed(take(feed, *numbered(0, 2, 3, 4, 5))) == [0]
    assert feed.held_seconds == pytest.approx(0.4)
    taken = take(feed, *numbered(6, first_offset=5))
    assert placed(taken) == [MISSING_SEQUENCE, 2, 3, 4, 5, 6]
    gap = taken.placed[0].span
    assert gap.start_sample == gap.end_sample == CHUNK_SAMPLES, "of unknown length"


def test_media_offsets_tell_how_long_a_gap_is() -> None:
    feed = live_feed()
    taken = take(feed, *timed(0, 4, 5, 6, 7, 8))
    assert placed(taken) == [0, MISSING_SEQUENCE, 4, 5, 6, 7, 8]
    gap = taken.placed[1].span
    assert (gap.start_sample, gap.end_sample) == (CHUNK_SAMPLES, 4 * CHUNK_SAMPLES)
    assert feed.timeline.next == Position(6, 9, 9 * CHUNK_SAMPLES, 900)


def test_a_media_offset_that_cannot_be_is_not_believed() -> None:
    feed = live_feed()
    far = [
        replace(e, chunk=replace(e.chunk, media_offset_ms=10**12 + 100 * e.chunk.sequence))
        for e in numbered(2, 3, 4, 5, 6, first_offset=1)
        if e.chunk is not None
    ]
    (gap,) = [p.span for p in take(feed, *timed(0), *far).placed if p.span.gap]
    assert gap.start_sample == gap.end_sample


def test_numbers_that_are_left_out_without_audio_are_no_gap() -> None:
    feed = live_feed()
    skipped = [
        replace(e, chunk=replace(e.chunk, media_offset_ms=100 * i))
        for i, e in enumerate(numbered(0, 2, 4))
        if e.chunk is not None
    ]
    assert placed(take(feed, *skipped)) == [0, 2, 4]


def test_a_session_that_begins_in_its_middle_begins_with_a_gap() -> None:
    feed = live_feed()
    taken = take(feed, *timed(20, 21, 22, 23, 24))
    assert placed(taken) == [MISSING_SEQUENCE, 20, 21, 22, 23, 24]
    assert taken.placed[1].span.start_sample == 20 * CHUNK_SAMPLES, "its own timeline"


def test_a_chunk_later_than_the_wait_is_rejected() -> None:
    feed = live_feed()
    taken = take(feed, *numbered(0, 2, 3, 4, 5, 6, 1))
    assert classes(taken) == [(6, LATE_CHUNK)]
    assert taken.observed.count("late_chunks") == 1
    assert "reorder_wait_seconds (0.5)" in taken.rejected[0][1].reason


def test_a_bad_record_gives_the_gap_its_reason_and_a_late_chunk_its_time() -> None:
    bad = LogEntry(1, None, ChunkRejected(NOT_AVRO, "synthetic"))
    later = numbered(2, 3, 4, 5, 6, first_offset=2)
    assert placed(take(live_feed(), entry(0), bad, *later)) == [0, UNDECODABLE, 2, 3, 4, 5, 6]
    late = numbered(1, first_offset=4)
    assert placed(take(live_feed(), entry(0), bad, *later[:2], *late)) == [0, 1, 2, 3]


def test_records_that_retention_took_explain_a_hole_at_once() -> None:
    feed = AudioFeed(cursor(5), LIMITS)
    feed.next_read(0.0)
    feed.note_lost()
    assert placed(take(feed, entry(9))) == [LOST_OFFSETS, 9]
    assert not feed.lost_unseen


def test_two_holes_are_given_up_one_after_the_other() -> None:
    feed = live_feed()
    taken = take(feed, *numbered(0, 2, 4, 5, 6, 7, 8, 9))
    assert placed(taken) == [0, MISSING_SEQUENCE, 2, MISSING_SEQUENCE, 4, 5, 6, 7, 8, 9]


# Holes that time gives up


def test_time_gives_a_hole_up_only_after_the_log_was_read_to_its_end() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 2), now=10.0)
    assert feed.hole_since == 10.0
    assert not feed.hole_is_due(10.4)
    assert feed.hole_is_due(10.5)
    feed.check_log()
    assert feed.behind
    assert feed.next_read(10.6) == (1, 2, None)
    assert placed(feed.finish_read(2, complete=True)) == [MISSING_SEQUENCE, 2]
    assert feed.hole_since is None


def test_a_chunk_that_the_log_does_have_fills_its_hole() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 2), now=10.0)
    feed.check_log()
    feed.next_read(11.0)
    assert placed(feed.take(*numbered(1, first_offset=7), 11.0)) == [1, 2]
    assert feed.finish_read(8, complete=True).placed == []


def test_an_answer_is_as_old_as_its_question() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 2), now=10.0)
    feed.check_log()
    feed.next_read(10.2)
    assert feed.finish_read(2, complete=True).placed == [], "whenever it comes, it says nothing of 10.5"
    assert feed.checked_at == 10.2


def test_a_read_that_had_an_end_says_nothing_of_the_log_s_end() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 2), now=10.0)
    feed.see(5)
    feed.next_read(20.0)
    feed.check_log()
    assert feed.finish_read(6, complete=True).placed == []
    assert feed.behind


# A producer that begins again


def test_a_producer_that_begins_again_goes_on_behind_a_gap() -> None:
    feed = live_feed()
    first, again = numbered(0, 1, 2, 3), numbered(10, 11, 12, first_offset=4)
    restarted = [replace(e, chunk=replace(e.chunk, sequence=i)) for i, e in enumerate(again) if e.chunk]
    taken = take(feed, *first, *restarted)
    assert placed(taken) == [0, 1, 2, 3, SEQUENCE_RESTARTED, 0, 1, 2]
    assert taken.observed == ["sequence_restarts"]
    assert feed.timeline.next == Position(7, 3, 7 * CHUNK_SAMPLES, 700, 1)
    feed.rewind()
    assert feed.timeline.next == Position(0, 0, 0, 0)
    assert placed(take(feed, *first, *restarted)) == [0, 1, 2, 3, SEQUENCE_RESTARTED, 0, 1, 2]


def test_a_restart_can_be_refused() -> None:
    feed = live_feed(replace(LIMITS, accept_sequence_restart=False))
    again = [entry(number, offset=2 + number, payload=b"\x09\x09") for number in (0, 1)]
    taken = take(feed, *numbered(0, 1), *again)
    assert classes(taken) == [(2, SEQUENCE_REUSED), (3, SEQUENCE_REUSED)]
    assert "new session_id" in taken.rejected[0][1].reason


def test_what_waited_when_the_producer_began_again_is_kept() -> None:
    feed = live_feed()
    taken = take(feed, *numbered(0, 1, 3), entry(0, offset=3, payload=b"\x09\x09"))
    assert placed(taken) == [0, 1, MISSING_SEQUENCE, 3, SEQUENCE_RESTARTED, 0]


# Reading again comes to the same timeline

RECORDS = st.lists(st.integers(0, 24), min_size=1, max_size=40)


@given(RECORDS, st.integers(0, 40), st.integers(0, 25), st.randoms(use_true_random=False))
def test_whatever_was_covered_a_second_reading_completes_the_same_timeline(
    sequences: list[int], stop: int, covered_chunks: int, rng: random.Random
) -> None:
    """Records in any order, repeated and missing ones included: take some, let finals cover some, lose
    everything but the cursor, read the log again. What is placed behind the covered part is the same.
    """
    sequences = sorted(sequences, key=lambda sequence: sequence + rng.uniform(0, 4))
    records = timed(*sequences)
    whole = spans(take(live_feed(), *records))
    feed = live_feed()
    before = spans(take(feed, *records[:stop]))
    covered = min(covered_chunks * CHUNK_SAMPLES, feed.timeline.next.start_sample)
    feed.cover(covered)
    restored = AudioFeed(replace(cursor(), **feed.memory()), LIMITS)
    again = take(restored, *records[restored.timeline.next.offset :])
    assert [s for s in before if s[1] <= covered] + [s for s in spans(again) if s[1] > covered] == [
        s for s in whole if s[1] <= covered and s in before
    ] + [s for s in whole if s[1] > covered]
    late = {offset for offset, _ in again.rejected} - {o for o, _ in take(live_feed(), *records).rejected}
    assert not late, "nothing is rejected that a first reading takes"


def spans(taken: Taken) -> list[tuple[int, int, int | str]]:
    found = [(p.span.start_sample, p.span.end_sample, p.span.gap or p.span.sequence) for p in taken.placed]
    return [span for span in found if span[0] != span[1]]


def test_bad_chunks_are_reported_once_however_often_they_are_read() -> None:
    feed = live_feed()
    take(feed, entry(0), entry(1, format=OTHER_RATE), entry(2))
    feed.cover(0)
    restored = AudioFeed(replace(cursor(), **feed.memory()), LIMITS)
    assert not feed.is_reported(1)
    assert restored.is_reported(1)
    feed.rewind()
    assert feed.is_reported(1)


def test_a_chunk_repeated_after_a_restore_is_known() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 1, 2))
    feed.cover(3 * CHUNK_SAMPLES)
    restored = AudioFeed(replace(cursor(), **feed.memory()), LIMITS)
    taken = take(restored, *numbered(2, 3, first_offset=3))
    assert (placed(taken), taken.rejected) == ([3], [])


def test_times_of_held_chunks_are_those_of_their_arrival() -> None:
    feed = live_feed()
    take(feed, *numbered(0, 2), now=1.0)
    take(feed, *numbered(4, first_offset=2), now=1.3)
    feed.check_log()
    feed.next_read(1.5)
    assert placed(feed.finish_read(3, complete=True)) == [MISSING_SEQUENCE, 2]
    assert feed.hole_since == 1.3


def every(numbers: Iterable[int]) -> list[LogEntry]:
    return [entry(number) for number in numbers]


def test_a_feed_in_order_holds_nothing() -> None:
    feed = live_feed()
    take(feed, *every(range(300)))
    assert feed.held_offsets == []
    assert feed.timeline.ahead == set()
