"""The timeline against a plain list of what was appended."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.timeline import Position, Span, Timeline

START = Position(offset=10, sequence=0, start_sample=0)


def three_chunks() -> Timeline:
    timeline = Timeline(START)
    for offset, sequence in ((10, 0), (12, 1), (15, 2)):
        timeline.append(offset, sequence, 100)
    return timeline


def test_an_appended_chunk_begins_where_the_one_before_it_ends() -> None:
    timeline = Timeline(START)
    assert timeline.append(10, 0, 100) == Span(10, 0, 0, 100)
    assert timeline.append(17, 1, 50) == Span(17, 1, 100, 150)
    assert timeline.next == Position(18, 2, 150)


def test_a_chunk_without_audio_is_covered_with_what_goes_before_it() -> None:
    timeline = Timeline(START)
    timeline.append(10, 0, 0)
    assert timeline.uncovered_chunks == 0
    timeline.cover(0)
    assert timeline.resume() == Position(11, 1, 0)


def test_resume_is_the_first_chunk_that_is_not_wholly_covered() -> None:
    timeline = three_chunks()
    timeline.cover(199)
    assert timeline.resume() == Position(12, 1, 100)
    timeline.cover(200)
    assert timeline.resume() == Position(15, 2, 200)


def test_resume_is_the_next_record_when_everything_is_covered() -> None:
    timeline = three_chunks()
    timeline.cover(300)
    assert timeline.resume() == timeline.next == Position(16, 3, 300)


def test_rewind_goes_back_to_resume_and_counts_what_must_be_read_again() -> None:
    timeline = three_chunks()
    timeline.cover(100)
    assert timeline.rewind() == 2
    assert timeline.next == timeline.resume() == Position(12, 1, 100)
    assert timeline.append(12, 1, 100) == Span(12, 1, 100, 200)


def test_a_skipped_record_moves_the_offset_only_and_never_backwards() -> None:
    timeline = three_chunks()
    timeline.skip(20)
    assert timeline.next == Position(21, 3, 300)
    timeline.skip(5)
    assert timeline.next.offset == 21


def test_offsets_name_the_records_that_carry_a_range() -> None:
    timeline = three_chunks()
    assert timeline.offsets(0, 300) == (10, 15)
    assert timeline.offsets(100, 200) == (12, 12)
    assert timeline.offsets(99, 101) == (10, 12)


def test_offsets_outside_the_timeline_answer_with_the_nearest_record() -> None:
    timeline = three_chunks()
    timeline.cover(100)
    assert timeline.offsets(0, 50) == (12, 12)
    timeline.cover(300)
    assert timeline.offsets(0, 50) == (15, 15)
    assert Timeline(Position(0, 0, 0)).offsets(0, 1) == (0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 5)), min_size=1, max_size=30),
    st.integers(0, 4000),
)
def test_covering_keeps_exactly_the_spans_that_reach_beyond_the_sample(
    chunks: list[tuple[int, int]], covered: int
) -> None:
    timeline, spans, offset = Timeline(START), [], 10
    for sequence, (samples, step) in enumerate(chunks):
        span = timeline.append(offset, sequence, samples)
        spans.append(span)
        offset += step
    assert [s.start_sample for s in spans] == [sum(n for n, _ in chunks[:i]) for i in range(len(chunks))]
    timeline.cover(covered)
    kept = itertools.dropwhile(lambda s: s.end_sample <= covered, spans)
    open_spans = list(kept)
    assert timeline.uncovered_chunks == sum(s.start_sample != s.end_sample for s in open_spans)
    if open_spans:
        first = open_spans[0]
        assert timeline.resume() == Position(first.offset, first.sequence, first.start_sample)
    else:
        assert timeline.resume() == timeline.next


def test_a_gap_stands_between_chunks_and_is_handed_over_when_it_is_covered() -> None:
    timeline = Timeline(START)
    timeline.append(10, 0, 100)
    gap = timeline.append_gap(12, 4, 300, "MISSING_SEQUENCE")
    assert gap == Span(12, 1, 100, 400, gap="MISSING_SEQUENCE")
    timeline.append(12, 4, 100)
    assert timeline.next == Position(13, 5, 500)
    assert timeline.gaps == [gap]
    assert timeline.uncovered_chunks == 2
    assert timeline.cover(399) == []
    assert timeline.resume() == Position(12, 1, 100), "the gap is found again from the chunk behind it"
    assert timeline.cover(400) == [gap]
    assert timeline.resume() == Position(12, 4, 400)


def test_records_that_are_covered_before_their_neighbours_are_remembered() -> None:
    timeline = Timeline(START)
    for offset, sequence in ((10, 0), (13, 1), (11, 2), (12, 3)):
        timeline.append(offset, sequence, 100)
    timeline.cover(200)
    assert timeline.resume() == Position(11, 2, 200)
    assert timeline.ahead == {13}
    timeline.cover(300)
    assert (timeline.resume().offset, timeline.ahead) == (12, {13})
    timeline.cover(400)
    assert (timeline.resume().offset, timeline.ahead) == (14, set())


def test_what_is_held_back_is_read_again_too() -> None:
    timeline = three_chunks()
    timeline.cover(300, held=[14])
    assert timeline.resume([14]) == Position(14, 3, 300)
    assert timeline.ahead == {15}


def test_the_end_of_the_session_stays_until_it_is_closed() -> None:
    timeline = Timeline(START)
    timeline.append(10, 0, 100)
    timeline.append(11, 1, 100, last=True)
    timeline.cover(200)
    assert timeline.resume() == Position(11, 1, 100)
    assert timeline.rewind() == 0, "but it is not heard again"
    assert timeline.next == Position(12, 2, 200)
    timeline.close()
    assert timeline.resume() == Position(12, 2, 200)


def test_when_a_sample_was_spoken_is_told_by_its_chunk() -> None:
    timeline = Timeline(START)
    timeline.append(10, 0, 100, ended_at_ms=5_000)
    timeline.append_gap(12, 3, 100, "MISSING_SEQUENCE")
    timeline.append(12, 3, 100, ended_at_ms=9_000)
    timeline.append(13, 4, 100)
    rate = 1000  # a sample is a millisecond
    assert timeline.spoken_at_ms(100, rate) == 5_000
    assert timeline.spoken_at_ms(40, rate) == 4_940
    assert timeline.spoken_at_ms(201, rate) == 8_901
    assert [timeline.spoken_at_ms(sample, rate) for sample in (0, 150, 400, 999)] == [None] * 4
    timeline.cover(100)
    assert timeline.spoken_at_ms(100, rate) is None
