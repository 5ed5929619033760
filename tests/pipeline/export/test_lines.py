"""Files of JSON lines, as the commands write them and as people break them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from pipeline.elements import FinalTranscript
from pipeline.export.lines import UnreadableLine, read_lines
from pipeline.output.output_values import SessionEnded
from pipeline.output.transcript_text import final_json, masked_final_json, session_ended_json
from tests.pipeline.output.test_outputs import FINALS
from tests.pipeline.synthetic_session import a_final, an_end


@given(FINALS)
def test_a_line_of_consume_is_read_back(final: FinalTranscript) -> None:
    assert list(read_lines([final_json(final) + "\n"])) == [final]


def test_partials_and_empty_lines_are_passed_over() -> None:
    ended = an_end(1)
    lines = ['{"schema": "partial_transcript"}', "", session_ended_json(ended.summary, ended.ended_at_ms)]
    (found,) = read_lines(lines)
    assert isinstance(found, SessionEnded)
    assert found.summary.segments == 1


def test_fields_of_a_newer_version_are_passed_over() -> None:
    final = a_final(0, "word", 0.0)
    assert list(read_lines([json.dumps({**json.loads(final_json(final)), "new": 1})])) == [final]


GOOD = json.loads(final_json(a_final(0, "secret", 0.0)))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("secret words", "no JSON object"),
        ("[1]", "no JSON object"),
        (json.dumps(GOOD).replace(": 0.4", ": NaN"), "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        (json.dumps({"schema": "audio_chunk"}), "audio_chunk"),
        (json.dumps({**GOOD, "start_time": "secret"}), "does not match"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "source"}), "does not match"),
        (masked_final_json(a_final(0, "secret", 0.0)), "--show-text"),
    ],
)
def test_a_line_that_is_none_is_named_without_its_text(line: str, problem: str) -> None:
    with pytest.raises(UnreadableLine, match=problem) as refused:
        list(read_lines(["", line]))
    assert refused.value.number == 2
    assert "secret" not in str(refused.value)
