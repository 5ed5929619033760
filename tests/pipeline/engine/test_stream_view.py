"""One stream as the engine sees it: what is sent for a span, where it ends, when it is replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.engine.limits import SessionLimits
from pipeline.engine.stream_view import StreamView
from pipeline.engine.timeline import Span
from tests.pipeline.builders import FORMAT, RATE, result, word

LIMITS = SessionLimits(stream_limit_seconds=100.0, max_segment_seconds=20.0, max_gap_seconds=2.0)
SECOND = bytes(2 * RATE)


def sending(seconds: int, *, start: int = 0) -> StreamView:
    """An open stream that was sent whole seconds of audio, from second `start` of the session on."""
    view = StreamView(1, FORMAT, {}, now=0.0)
    view.opened("stream", None, 0.0)
    for second in range(start, start + seconds):
        send(view, second)
    return view


def send(view: StreamView, second: int) -> bytes:
    return view.take(Span(second, second, second * RATE, (second + 1) * RATE), SECOND, 0, LIMITS)


def say(view: StreamView, start: float, end: float, now: float = 0.0, *, partial: bool = False) -> None:
    view.heard(result(f"r{start}", word("w", start, end), partial=partial), now)


# Audio


def test_what_finals_cover_of_a_span_is_not_sent() -> None:
    view = sending(0)
    span = Span(0, 0, 0, RATE)
    assert len(view.take(span, SECOND, RATE // 4, LIMITS)) == 2 * (RATE - RATE // 4)
    assert view.take(span, SECOND, RATE, LIMITS) == b""


def test_times_count_from_the_first_sample_sent() -> None:
    view = sending(3, start=7)
    placed = view.heard(result("r", word("w", 0.5, 1.0)), 0.0)
    assert placed is not None
    assert (placed.start_time, placed.end_time) == (7.5, 8.0)


def test_a_gap_is_silence_and_what_is_too_long_of_it_is_left_out() -> None:
    view = sending(1)
    gap = Span(1, 1, RATE, 11 * RATE, gap="MISSING_SEQUENCE")
    assert view.take(gap, b"", 0, LIMITS) == bytes(2 * 2 * RATE), "two seconds of ten"
    send(view, 11)
    placed = view.heard(result("r", word("before", 0.2, 1.0), word("behind", 3.0, 3.5)), 0.0)
    assert placed is not None
    before, behind = placed.alternatives[0].items
    assert (before.end_time, behind.start_time, behind.end_time) == (1.0, 11.0, 11.5)


def test_room_is_what_the_buffer_and_the_finals_leave() -> None:
    view = sending(6)
    assert view.room_seconds(0, LIMITS) == 4.0
    view.wrote(6 * RATE)
    assert view.room_seconds(0, LIMITS) == 10.0
    for second in range(6, 35):
        send(view, second)
    view.wrote(35 * RATE)
    assert view.room_seconds(0, LIMITS) == 5.0, "40 s ahead of the finals is the end"
    assert view.uncovered_seconds(10 * RATE) == 25.0


# The seam


def test_the_last_moments_of_a_cut_stream_are_heard_again() -> None:
    view = sending(10)
    say(view, 2.0, 3.0)
    view.cut(stuck=False)
    assert not view.reaches_seam(result("a", word("a", 8.0, 8.9)))
    assert view.seam_cover_seconds() == 9.0
    assert view.reaches_seam(result("b", word("b", 8.5, 9.6)))
    assert view.seam_cover_seconds() == 8.5


def test_of_finals_at_the_seam_the_first_counts_also_when_it_begins_with_the_session() -> None:
    view = sending(10)
    view.cut(stuck=False)
    assert view.reaches_seam(result("a", word("a", 0.0, 9.2)))
    assert view.reaches_seam(result("b", word("b", 9.3, 9.8)))
    assert view.seam_cover_seconds() == 0.0


def test_a_segment_without_final_is_heard_again_from_its_beginning() -> None:
    view = sending(10)
    say(view, 4.0, 5.0, partial=True)
    view.cut(stuck=False)
    assert view.seam_cover_seconds() == 4.0


def test_a_stream_that_leads_nowhere_is_believed_to_its_end() -> None:
    view = sending(10)
    say(view, 4.0, 5.0, partial=True)
    view.cut(stuck=True)
    assert not view.reaches_seam(result("b", word("b", 8.5, 9.9)))
    assert view.seam_cover_seconds() == 10.0


def test_a_stream_with_finals_is_not_stuck_however_slow_they_are() -> None:
    view = sending(10)
    view.cut(stuck=True)
    say(view, 1.0, 2.0)
    say(view, 8.5, 9.9)
    assert view.reaches_seam(result("r8.5", word("w", 8.5, 9.9)))


# When to replace it


@pytest.mark.parametrize(
    ("age", "final_at", "open_segment", "wanted"),
    [
        (89.0, 89.0, False, False),
        (91.0, 91.0, False, True),
        (91.0, 90.0, False, False),
        (91.0, 91.0, True, False),
        (97.5, 90.0, True, True),
    ],
)
def test_an_old_stream_is_replaced_between_segments_or_in_the_end_anywhere(
    age: float, final_at: float, open_segment: bool, wanted: bool
) -> None:
    view = sending(5)
    say(view, 0.0, 4.0, final_at)
    if open_segment:
        say(view, 4.2, 4.5, final_at, partial=True)
    assert view.wants_rotation(4 * RATE, LIMITS, age) is wanted


def test_age_counts_in_audio_too() -> None:
    view = sending(99)
    say(view, 0.0, 98.0, 1.0)
    assert view.age_seconds(1.0) == 99.0
    assert view.wants_rotation(98 * RATE, LIMITS, 1.0)


@pytest.mark.parametrize(("now", "wanted"), [(4.0, False), (5.0, True)])
def test_long_silence_is_a_reason(now: float, wanted: bool) -> None:
    assert sending(21).wants_rotation(0, LIMITS, now) is wanted


def test_speech_without_end_is_a_reason_only_when_it_is_too_much() -> None:
    view = sending(39)
    say(view, 0.0, 38.0, 30.0, partial=True)
    assert not view.wants_rotation(0, LIMITS, 30.0)
    send(view, 39)
    assert view.wants_rotation(0, LIMITS, 30.0)


def test_a_stream_is_healthy_when_it_has_lived_for_a_while() -> None:
    limits = replace(LIMITS, healthy_seconds=30.0)
    view = StreamView(1, FORMAT, {}, now=0.0)
    assert not view.healthy(limits, 99.0)
    view.opened("stream", None, 100.0)
    assert not view.healthy(limits, 129.0)
    assert view.healthy(limits, 130.0)
