"""What every recogniser of speech gets right through `SegmentWriter`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.recognisers.segment_writer import SegmentWriter
from deploy.local.transcribe.results import join_words


def words(text: str, start: float = 0.0) -> list[Word]:
    return [Word(part, start + n, start + n + 0.5, 0.9) for n, part in enumerate(text.split())]


def shown(segments: object) -> list[tuple[int, bool, str]]:
    assert isinstance(segments, list)
    return [(s.index, s.is_partial, join_words(s.words)) for s in segments]


def test_words_are_written_and_segments_numbered() -> None:
    writer = SegmentWriter()
    writer.partial(words("seventy five"))
    writer.final(words("seventy five beats per minute"))
    writer.final(words("good"))
    assert shown(writer.take()) == [(0, True, "75"), (0, False, "75 bpm."), (1, False, "Good.")]
    assert writer.take() == []


def test_partials_have_no_confidence_and_finals_have() -> None:
    writer = SegmentWriter()
    writer.partial(words("yes"))
    writer.final(words("yes"))
    partial, final = writer.take()
    assert [word.confidence for word in partial.words] == [None]
    assert [word.confidence for word in final.words] == [0.9, None]


def test_silence_is_no_segment_and_takes_no_number() -> None:
    writer = SegmentWriter()
    writer.partial([])
    writer.final([])
    writer.final(words("yes"))
    assert shown(writer.take()) == [(0, False, "Yes.")]


def test_what_turned_out_to_be_nothing_leaves_its_number_to_the_next_utterance() -> None:
    writer = SegmentWriter()
    writer.partial(words("uh"))
    writer.final([])
    writer.final(words("yes", start=3.0))
    assert shown(writer.take()) == [(0, True, "Uh"), (0, False, "Yes.")]


def test_a_final_may_reach_beyond_its_last_word() -> None:
    writer = SegmentWriter()
    writer.final(words("yes"), 0.75)
    writer.final(words("no", start=1.0), 1.2)
    assert [segment.end_seconds for segment in writer.take()] == [0.75, 1.5]


STARTS = st.floats(0, 5)


@given(st.lists(STARTS, min_size=1, max_size=6), STARTS)
def test_a_segment_starts_where_its_first_partial_did_however_words_are_revised(
    starts: list[float], final_start: float
) -> None:
    writer = SegmentWriter()
    for start in starts:
        writer.partial(words("one two", start))
    writer.final(words("one two", final_start))
    segments = writer.take()
    assert {segment.start_seconds for segment in segments} == {starts[0]}
    for segment in segments:
        _check_inside(segment)


def _check_inside(segment: Segment) -> None:
    for word in segment.words:
        assert segment.start_seconds <= word.start_seconds <= word.end_seconds <= segment.end_seconds
