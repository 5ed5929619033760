"""The report for programs: one JSON document, and JUnit XML for whatever shows the tests of a CI run. Pure.

Neither has any word of a transcript unless `show_text`.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from deploy.local.testing.comparison import Report, SessionResult
from deploy.local.testing.passages import Passage
from deploy.local.testing.report_lines import detail_lines, verdict_line

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_document(report: Report, *, show_text: bool) -> dict[str, Any]:
    """The report as JSON has it. Times in seconds; segments and words are counted from 1."""
    rules = report.rules
    return {
        "passed": report.passed,
        "compare": rules.compare,
        "max_wer": rules.max_wer,
        "time_tolerance_seconds": rules.time_tolerance_seconds,
        "word_errors": report.word_errors,
        "expected_words": report.expected_words,
        "masked": not show_text,
        "sessions": [_session(session, show_text=show_text) for session in report.sessions],
    }


def _session(session: SessionResult, *, show_text: bool) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "passed": session.passed,
        "verdict": session.verdict.value,
        "expected_segments": session.expected_segments,
        "actual_segments": session.actual_segments,
        "expected_words": session.expected_words,
        "actual_words": session.actual_words,
        "word_errors": session.word_errors,
        "wer": round(session.wer, 4),
        "remarks": list(session.remarks),
        "differences": [
            _difference(passage, show_text=show_text) for passage in session.passages if passage.differs
        ],
    }


def _difference(passage: Passage, *, show_text: bool) -> dict[str, Any]:
    return {
        "channel_id": passage.channel_id,
        "expected_segments": list(passage.expected),
        "actual_segments": list(passage.actual),
        "start_time": passage.start_time,
        "end_time": passage.end_time,
        "words": [
            {
                "first_word": piece.first_word,
                "expected_words": len(piece.expected),
                "actual_words": len(piece.actual),
                **(
                    {"expected": " ".join(piece.expected), "actual": " ".join(piece.actual)}
                    if show_text
                    else {}
                ),
            }
            for piece in passage.pieces
            if not piece.same
        ],
        "times": [
            {"edge": found.edge, "expected": found.expected, "actual": found.actual}
            for found in passage.time_differences
        ],
    }


def junit_xml(report: Report, *, name: str, seconds: float, show_text: bool) -> bytes:
    """The report as JUnit XML: a suite called `name` that took `seconds`, a test case for each session.

    After the schema of Jenkins's xUnit plug-in (junit-10.xsd), which the others read as well.
    """
    counts = {"tests": str(len(report.sessions)), "failures": str(len(report.failed)), "errors": "0"}
    took = f"{seconds:.3f}"
    root = ElementTree.Element("testsuites", {"name": "medstream test", **counts, "time": took})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": _xml(name), **counts, "skipped": "0", "time": took}
    )
    for session in report.sessions:
        identity = {"classname": _xml(name), "name": _xml(session.session_id)}
        case = ElementTree.SubElement(suite, "testcase", identity)
        if not session.passed:
            said = {"type": session.verdict.value, "message": _xml(verdict_line(session, report))}
            failure = ElementTree.SubElement(case, "failure", said)
            lines = detail_lines(session, show_text=show_text)
            failure.text = _xml("\n".join(line.plain.strip() for line in lines))
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _xml(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot have."""
    return _NO_XML.sub("\ufffd", text)
