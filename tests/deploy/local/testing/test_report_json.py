"""The report for programs: one JSON document, and JUnit XML as another library reads it."""

from __future__ import annotations

import json

import junitparser
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.testing.comparison import Rules, compare
from deploy.local.testing.expected import ExpectedSession, Segment
from deploy.local.testing.report_json import junit_xml, report_document
from tests.deploy.local.testing.test_report_lines import CAME, WANTED


def read(document: bytes) -> junitparser.JUnitXml:
    return junitparser.JUnitXml.fromstring(document)


def test_a_session_is_a_test_case() -> None:
    xml = read(junit_xml(compare(WANTED, CAME, Rules()), name="visits", seconds=12.5, show_text=True))
    (suite,) = xml
    cases = {case.name: case for case in suite}
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.time) == ("visits", 4, 3, 0, 12.5)
    assert list(cases) == ["a", "b", "d", "c"]
    assert {case.classname for case in suite} == {"visits"}
    assert [name for name, case in cases.items() if case.is_passed] == ["d"]
    (failure,) = cases["a"].result
    assert failure.type == "different"
    assert failure.message.startswith("17 words in 3 segments, 5 word errors (WER 29.4%)")
    assert "segment 1 of 3 [0:01.00–0:03.70]: the heart size is [-normal-] {+abnormal+}" in failure.text
    assert [cases[name].result[0].type for name in "bc"] == ["missing", "unexpected"]


def test_counts_are_right_as_junitparser_counts_them() -> None:
    xml = read(junit_xml(compare(WANTED, CAME, Rules()), name="visits", seconds=1, show_text=False))
    (suite,) = xml
    told = (suite.tests, suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert told == (suite.tests, suite.failures, suite.errors, suite.skipped)


def test_neither_form_has_words_unless_they_are_asked_for() -> None:
    report = compare(WANTED, CAME, Rules())
    for show_text in (False, True):
        xml = junit_xml(report, name="x", seconds=1, show_text=show_text).decode()
        text = json.dumps(report_document(report, show_text=show_text))
        assert ("abnormal" in xml) == ("abnormal" in text) == show_text


def test_the_document_says_where_and_how_much() -> None:
    document = report_document(compare(WANTED, CAME, Rules()), show_text=True)
    assert (document["passed"], document["word_errors"], document["masked"]) == (False, 10, False)
    first = document["sessions"][0]
    assert (first["session_id"], first["verdict"], first["wer"]) == ("a", "different", 0.2941)
    assert first["differences"][0] == {
        "channel_id": None,
        "expected_segments": [1],
        "actual_segments": [1],
        "start_time": 1,
        "end_time": 3.7,
        "words": [
            {
                "first_word": 5,
                "expected_words": 1,
                "actual_words": 1,
                "expected": "normal",
                "actual": "abnormal",
            },
            {"first_word": 7, "expected_words": 1, "actual_words": 0, "expected": "the", "actual": ""},
        ],
        "times": [{"edge": "end", "expected": 3, "actual": 3.7}],
    }


@settings(max_examples=60)
@given(st.text(min_size=1), st.text(min_size=1), st.text())
def test_whatever_names_and_words_have_in_them_it_is_xml(session: str, wanted: str, came: str) -> None:
    report = compare(
        {session: ExpectedSession(session, (Segment(wanted),))}, {session: [Segment(came)]}, Rules()
    )
    (suite,) = read(junit_xml(report, name=session, seconds=0, show_text=True))
    assert len(list(suite)) == 1
