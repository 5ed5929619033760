"""Sessions against what is expected of them: what is the same, what differs, and where."""

from __future__ import annotations

import random
from dataclasses import replace

import jiwer
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploy.local.testing.comparison import EXACT, WER, Report, Rules, SessionResult, Verdict, compare
from deploy.local.testing.expected import ExpectedSession, Segment
from tests.deploy.local.testing.texts import SENTENCES, SESSIONS, actual, expected, segments

Said = list[list[str]]
ONE = "visit"


def compared(wanted: Said, came: Said, **rules: object) -> SessionResult:
    """The result of one session."""
    report = compare(expected({ONE: wanted}), actual({ONE: came}), Rules(**rules))  # type: ignore[arg-type]
    return report.sessions[0]


def words(said: Said) -> list[str]:
    return [word for sentence in said for word in sentence]


@given(SESSIONS, st.sampled_from([EXACT, WER]))
def test_the_same_is_the_same(sessions: dict[str, Said], mode: str) -> None:
    report = compare(expected(sessions), actual(sessions), Rules(mode, max_wer=0, time_tolerance_seconds=0))
    assert report.passed
    assert report.word_errors == 0
    for session in report.sessions:
        assert not any(passage.differs for passage in session.passages)
        assert session.expected_words == session.actual_words == len(words(sessions[session.session_id]))


@given(SENTENCES, st.data())
def test_one_changed_word_is_exactly_that(said: Said, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(said) - 1))
    place = data.draw(st.integers(0, len(said[number]) - 1))
    came = [list(sentence) for sentence in said]
    came[number][place] = "other"
    result = compared(said, came)
    assert result.verdict is Verdict.DIFFERENT
    assert result.word_errors == 1
    (passage,) = [found for found in result.passages if found.differs]
    (piece,) = [found for found in passage.pieces if not found.same]
    assert (passage.expected, passage.actual) == ((number + 1,), (number + 1,))
    assert (piece.expected, piece.actual, piece.first_word) == ((said[number][place],), ("other",), place + 1)


@given(SENTENCES, st.data())
def test_a_missing_and_an_added_segment_are_found_where_they_are(said: Said, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(said)))
    more = [*said[:number], ["zz", "zy"], *said[number:]]
    any_time = {"time_tolerance_seconds": float("inf")}
    added, missing = compared(said, more, **any_time), compared(more, said, **any_time)
    (passage,) = [found for found in added.passages if found.differs]
    assert (passage.expected, passage.actual, passage.actual_words) == ((), (number + 1,), 2)
    (passage,) = [found for found in missing.passages if found.differs]
    assert (passage.expected, passage.actual, passage.expected_words) == ((number + 1,), (), 2)
    assert added.word_errors == missing.word_errors == 2


@given(SENTENCES, SENTENCES)
def test_passages_are_both_sides_in_their_order_and_the_rate_is_jiwers(wanted: Said, came: Said) -> None:
    result = compared(wanted, came)
    pieces = [piece for passage in result.passages for piece in passage.pieces]
    assert [word for piece in pieces for word in piece.expected] == words(wanted)
    assert [word for piece in pieces for word in piece.actual] == words(came)
    assert all(piece.expected == piece.actual for piece in pieces if piece.same)
    assert result.wer == pytest.approx(jiwer.wer(" ".join(words(wanted)), " ".join(words(came))))
    assert sorted(n for passage in result.passages for n in passage.expected) == [*range(1, len(wanted) + 1)]
    assert (result.verdict is Verdict.SAME) == (not any(passage.differs for passage in result.passages))


@settings(max_examples=40)
@given(SESSIONS, SESSIONS, st.randoms(use_true_random=False))
def test_the_order_of_sessions_does_not_matter(
    wanted: dict[str, Said], came: dict[str, Said], chance: random.Random
) -> None:
    def shuffled(sessions: dict[str, Said]) -> dict[str, Said]:
        names = list(sessions)
        chance.shuffle(names)
        return {name: sessions[name] for name in names}

    def by_name(report: Report) -> dict[str, SessionResult]:
        return {session.session_id: session for session in report.sessions}

    once = compare(expected(wanted), actual(came), Rules())
    again = compare(expected(shuffled(wanted)), actual(shuffled(came)), Rules())
    assert by_name(once) == by_name(again)
    verdicts = {name: session.verdict for name, session in by_name(once).items()}
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.MISSING} == set(wanted) - set(
        came
    )
    unexpected = {name for name, verdict in verdicts.items() if verdict is Verdict.UNEXPECTED}
    assert unexpected == set(came) - set(wanted)


@given(SENTENCES, st.data())
def test_another_cut_counts_only_when_segments_are_compared(said: Said, data: st.DataObject) -> None:
    assume(len(said) > 1)
    number = data.draw(st.integers(0, len(said) - 2))
    wanted = expected({ONE: said})
    merged = list(segments(said))
    later = merged.pop(number + 1)
    merged[number] = replace(
        merged[number], text=f"{merged[number].text} {later.text}", end_time=later.end_time
    )
    exact = compare(wanted, {ONE: merged}, Rules()).sessions[0]
    assert exact.verdict is Verdict.DIFFERENT
    (passage,) = [found for found in exact.passages if found.differs]
    assert (passage.expected, passage.actual) == ((number + 1, number + 2), (number + 1,))
    assert compare(wanted, {ONE: merged}, Rules(WER, max_wer=0)).passed
    as_one = ExpectedSession(ONE, (Segment(" ".join(words(said))),), as_one_text=True)
    assert compare({ONE: as_one}, {ONE: merged}, Rules()).passed


@pytest.mark.parametrize("mode", [EXACT, WER])
@pytest.mark.parametrize(("shift", "passed"), [(0.5, True), (-0.5, True), (0.51, False), (-0.51, False)])
def test_times_may_be_off_by_the_tolerance(mode: str, shift: float, passed: bool) -> None:
    wanted = expected({ONE: [["a", "b"], ["c"]]})
    first, second = segments([["a", "b"], ["c"]])
    came = [first, replace(second, start_time=(second.start_time or 0) + shift)]
    report = compare(wanted, {ONE: came}, Rules(mode))
    assert report.passed == passed
    found = [difference for passage in report.sessions[0].passages for difference in passage.time_differences]
    assert [(one.edge, round(one.seconds, 2)) for one in found] == ([] if passed else [("start", shift)])
    assert compare(wanted, {ONE: came}, Rules(mode, time_tolerance_seconds=float("inf"))).passed


def test_times_that_are_not_expected_are_not_compared() -> None:
    wanted = {ONE: ExpectedSession(ONE, (Segment("a b", end_time=2.0),))}
    assert compare(wanted, {ONE: [Segment("A, b.", 17.0, 2.1)]}, Rules()).passed


def test_word_errors_are_bounded_for_each_session_by_itself() -> None:
    wanted = {"p": [["a"] * 99], "q": [["a", "b"]]}
    came = {"p": [["a"] * 99], "q": [["a", "x"]]}
    report = compare(expected(wanted), actual(came), Rules(WER, max_wer=0.05))
    assert [session.passed for session in report.sessions] == [True, False]
    assert compare(expected(wanted), actual(came), Rules(WER, max_wer=0.5)).passed


def test_channels_are_compared_apart_where_they_are_expected() -> None:
    left, right = Segment("how are you", 0, 2, "ch_0"), Segment("fine thanks", 1, 3, "ch_1")
    by_channel = {ONE: ExpectedSession(ONE, (left, right))}
    assert compare(by_channel, {ONE: [right, left]}, Rules()).passed
    moved = [left, replace(right, channel_id="ch_0")]
    report = compare(by_channel, {ONE: moved}, Rules())
    assert report.word_errors == 4  # two words missing on one channel, two added on the other
    assert [passage.channel_id for passage in report.sessions[0].passages] == ["ch_0", "ch_0", "ch_1"]
    anywhere = {ONE: ExpectedSession(ONE, (replace(left, channel_id=None), replace(right, channel_id=None)))}
    assert compare(anywhere, {ONE: moved}, Rules()).passed


def test_a_session_without_words_is_as_expected_if_it_came() -> None:
    silent = {ONE: ExpectedSession(ONE, ())}
    assert compare(silent, {ONE: []}, Rules()).passed
    assert compare(silent, {}, Rules()).sessions[0].verdict is Verdict.MISSING


def test_case_and_punctuation_count_when_they_shall() -> None:
    wanted, came = expected({ONE: [["Fever", "no."]]}), actual({ONE: [["fever", "no"]]})
    assert compare(wanted, came, Rules()).passed
    assert compare(wanted, came, Rules(verbatim=True)).word_errors == 2


def test_a_session_with_its_words_is_not_in_any_repr() -> None:
    report = compare(expected({ONE: [["melanoma"]]}), actual({ONE: [["sarcoma"]]}), Rules())
    assert "melanoma" not in repr(report)
    assert "sarcoma" not in repr([report.sessions[0].passages, segments([["sarcoma"]])])
