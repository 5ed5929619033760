"""What a retry sends: originals in their order, refused sessions as a whole, nothing twice."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.letters.letter_retry import ReadAgain, Republish, Step, check_ended, plan_retry
from pipeline.letters.letter_selection import range_message
from tests.pipeline.letters.test_letter_selection import a_letter


def brief(steps: tuple[Step, ...]) -> list[object]:
    """Offsets of single records, (first, last) of ranges."""
    return [
        step.record.offset if isinstance(step, Republish) else (step.first_offset, step.last_offset)
        for step in steps
    ]


def refused(first: int, last: int | None, **options: object) -> object:
    message = range_message(first, last, "BadRequestException: no such specialty")
    return a_letter(first, reason="SESSION_REFUSED", message=message, value=None, **options)  # type: ignore[arg-type]


def test_originals_go_in_the_order_of_the_log() -> None:
    plan = plan_retry([a_letter(9), a_letter(3, value=b"a"), a_letter(5, value=b"b", partition=1)])
    assert brief(plan.steps) == [3, 9, 5]
    (first, *_) = plan.steps
    assert isinstance(first, Republish)
    assert (first.record.key, first.record.value, first.record.headers) == (b"s1", b"a", (("h", b"1"),))


def test_a_refused_session_is_read_again_with_what_was_refused_of_it_later() -> None:
    later = a_letter(12, reason="SESSION_REFUSED", value=b"later")
    within = a_letter(8, reason="NOT_AVRO", value=b"within")
    other = a_letter(8, key=b"s2", value=b"other", partition=1)
    plan = plan_retry([later, within, other, refused(4, 9)])  # type: ignore[list-item]
    assert brief(plan.steps) == [(4, 9), 12, 8]
    open_ended = plan_retry([later, within, refused(4, None)])  # type: ignore[list-item]
    assert brief(open_ended.steps) == [(4, None)]


def test_ranges_within_another_are_left_out() -> None:
    assert brief(plan_retry([refused(4, None), refused(7, 9)]).steps) == [(4, None)]  # type: ignore[list-item]
    assert brief(plan_retry([refused(4, 9), refused(12, None)]).steps) == [(4, 9), (12, None)]  # type: ignore[list-item]


def test_the_letter_of_a_first_record_and_of_its_session_are_two() -> None:
    plan = plan_retry([a_letter(4, partition=0, key=b"s2"), refused(4, 9)])  # type: ignore[list-item]
    assert sorted(map(str, brief(plan.steps))) == ["(4, 9)", "4"]


def test_a_record_that_was_too_large_for_its_letter_is_read_again() -> None:
    plan = plan_retry([a_letter(6, value=None)])
    assert plan.steps == (ReadAgain(b"s1", "audio", 0, 6, 6, "s1"),)


def test_what_a_failed_retry_dead_lettered_again_is_sent_once() -> None:
    assert brief(plan_retry([a_letter(3), a_letter(30), a_letter(31, value=b"else")]).steps) == [3, 31]


def test_a_record_without_a_value_is_no_use() -> None:
    plan = plan_retry([a_letter(3, reason="MISSING_VALUE", value=None)])
    assert plan.steps == ()
    assert len(plan.left_out) == 1


def test_sessions_get_new_names() -> None:
    letters = [a_letter(3), a_letter(4, key=b"s2", session_id="s2")]
    named = [step.new_session_id for step in plan_retry(letters, "{session}-retry").steps]
    assert named == ["s1-retry", "s2-retry"]
    assert plan_retry(letters[:1], "new").steps[0].new_session_id == "new"
    with pytest.raises(SettingsError, match="2 sessions would become one"):
        plan_retry(letters, "new")
    with pytest.raises(SettingsError, match="no name to change"):
        plan_retry([a_letter(3, key=None)], "{session}-retry")


def test_the_id_of_a_session_that_is_just_over_is_refused() -> None:
    letters = [refused(4, 9, failed_at_ms=100_000)]
    check_ended(letters, 400_000, 300)  # type: ignore[arg-type]
    check_ended([a_letter(1, failed_at_ms=100_000)], 100_001, 300)
    with pytest.raises(SettingsError, match="wait for 250 s, or give a new id"):
        check_ended(letters, 150_000, 300)  # type: ignore[arg-type]
