"""The report for people: what differs in one look, and without words unless they are asked for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.testing.comparison import WER, Report, Rules, compare
from deploy.local.testing.expected import Expected, ExpectedSession, Segment
from deploy.local.testing.report_lines import HIDDEN, report_lines
from tests.deploy.local.testing.texts import SESSIONS, actual, expected

WANTED: Expected = {
    "a": ExpectedSession(
        "a",
        (
            Segment("The heart size is normal and the lungs are all quite clear.", 1, 3),
            Segment("No fever.", 4, 5),
            Segment("Go home now.", 6, 7),
        ),
    ),
    "b": ExpectedSession("b", (Segment("x y z"),)),
    "d": ExpectedSession("d", (Segment("One two."),)),
}
CAME = {
    "a": [
        Segment("the heart size is abnormal and lungs are all quite clear", 1, 3.7),
        Segment("go", 6, 6.2),
        Segment("home now please", 6.3, 7),
    ],
    "c": [Segment("hello\x1b there", 1, 2)],
    "d": [Segment("one two")],
}


def lines(report: Report, *, show_text: bool) -> list[str]:
    return [line.plain for line in report_lines(report, show_text=show_text)]


def test_differences_are_marked_between_words_that_are_the_same() -> None:
    assert lines(compare(WANTED, CAME, Rules()), show_text=True) == [
        "FAIL  a: 17 words in 3 segments, 5 word errors (WER 29.4%), 1 segment out of time, "
        "1 segment missing, 1 stretch cut otherwise",
        "      segment 1 of 3 [0:01.00–0:03.70]: the heart size is [-normal-] {+abnormal+} and [-the-] "
        "lungs are all quite …",
        "      segment 1 of 3 [0:01.00–0:03.70] ends at 0:03.70, 0.70 s later than 0:03.00",
        "      segment 2 of 3 [0:04.00–0:05.00] is missing: 2 words",
        "        [-No fever.-]",
        "      segment 3 of 3 [0:06.00–0:07.00] came as 2 segments",
        "        go home now {+please+}",
        "FAIL  b: missing; 3 words in 1 segment expected",
        "      segment 1 of 1 is missing: 3 words",
        "        [-x y z-]",
        "ok    d: 2 words in 1 segment",
        "FAIL  c: not expected; 2 words in 1 segment came",
        "      a segment that nobody expected (segment 1 of 1) [0:01.00–0:02.00] came: 2 words",
        "        {+hello  there+}",
        "4 sessions: 1 as expected, 3 not; 10 word errors in 22 words (WER 45.5%)",
    ]


def test_without_words_there_are_places_and_numbers() -> None:
    found = lines(compare(WANTED, CAME, Rules(WER)), show_text=False)
    assert found[:6] == [
        "FAIL  a: 17 words in 3 segments, 5 word errors (WER 29.4%, more than 5.0%), 1 segment out of time",
        "      segment 1 of 3 [0:01.00–0:03.70]: word 5 of 12 replaced by 1 word; word 7 of 12 missing",
        "      segment 1 of 3 [0:01.00–0:03.70] ends at 0:03.70, 0.70 s later than 0:03.00",
        "      segment 2 of 3 [0:04.00–0:05.00] is missing: 2 words",
        "      segment 3 of 3 [0:06.00–0:07.00]: 1 word added after word 3",
        "FAIL  b: missing; 3 words in 1 segment expected",
    ]
    assert found[-2] == HIDDEN


def test_a_session_within_its_bound_passes_and_still_shows_what_differs() -> None:
    found = lines(compare(WANTED, CAME, Rules(WER, max_wer=0.3, time_tolerance_seconds=1)), show_text=True)
    assert found[0] == "ok    a: 17 words in 3 segments, 5 word errors (WER 29.4%, at most 30.0%)"
    assert any("[-normal-]" in line for line in found)


def test_remarks_are_told_of_sessions_that_failed() -> None:
    told = {"b": ["dead letters: 1 SESSION_REFUSED"], "d": ["audio is missing: 1 gap(s)"]}
    found = lines(compare(WANTED, CAME, Rules(), told), show_text=False)
    assert "      dead letters: 1 SESSION_REFUSED" in found
    assert not any("gap" in line for line in found)


def test_a_terminal_shows_colours() -> None:
    report = compare(WANTED, CAME, Rules())
    styled = {
        line.plain[span.start : span.end]: span.style
        for line in report_lines(report, show_text=True)
        for span in line.spans
    }
    assert styled["FAIL  "] == "bold red"
    assert styled["[-normal-]"] == "red"
    assert styled["{+abnormal+}"] == "green"


@settings(max_examples=50)
@given(SESSIONS, SESSIONS, st.sampled_from([Rules(), Rules(WER)]))
def test_no_word_is_in_a_masked_report(
    wanted: dict[str, list[list[str]]], came: dict[str, list[list[str]]], rules: Rules
) -> None:
    def secret(sessions: dict[str, list[list[str]]]) -> dict[str, list[list[str]]]:
        return {
            name: [[f"Ж{word}" for word in sentence] for sentence in said] for name, said in sessions.items()
        }

    report = compare(expected(secret(wanted)), actual(secret(came)), rules)
    assert "Ж" not in "".join(lines(report, show_text=False))
    assert ("Ж" in "".join(lines(report, show_text=True))) == any(
        not piece.same
        for session in report.sessions
        for passage in session.passages
        for piece in passage.pieces
    )


def test_a_channel_is_named_where_there_is_one() -> None:
    one = Segment("hello", 0, 1, "ch_1")
    wanted = {"a": ExpectedSession("a", (one,))}
    report = compare(wanted, {"a": [replace(one, text="hallo")]}, Rules())
    assert "      segment 1 of 1 (ch_1) [0:00.00–0:01.00]: word 1 of 1 replaced by 1 word" in lines(
        report, show_text=False
    )
