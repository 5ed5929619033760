"""The file of expected finals: what is read, what is refused and how that is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.testing.expected import (
    ExpectedSession,
    Segment,
    expected_of,
    read_expected,
    write_expected,
)
from pipeline.errors import SettingsError
from pipeline.output.output_values import final_of, session_ended_of
from pipeline.output.transcript_text import final_json, masked_final_json, session_ended_json
from pipeline.output.transcripts import Transcripts
from tests.pipeline.final_records import a_final_record, a_session_ended_record

SECRET = "melanoma"
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TIMES = st.one_of(st.none(), st.integers(0, 10**7).map(lambda number: number / 1000))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start, end = draw(TIMES), draw(TIMES)
    if start is not None and end is not None:
        start, end = sorted((start, end))
    return Segment(draw(TEXT), start, end, draw(st.one_of(st.none(), st.sampled_from(["ch_0", "ch_1"]))))


@given(st.dictionaries(TEXT, st.lists(segments(), max_size=4), max_size=4), TEXT)
def test_what_is_written_is_read_again(sessions: dict[str, list[Segment]], note: str) -> None:
    expected = {name: ExpectedSession(name, tuple(said)) for name, said in sessions.items()}
    text = write_expected(expected, note)
    assert read_expected(text) == expected
    assert json.loads(text)["note"] == note


def test_a_document_is_as_short_as_its_author_likes() -> None:
    document = {
        "sessions": {"a": ["one", {"text": "two", "start_time": 3}], "b": "all of it", "c": [], "d": ""}
    }
    found = read_expected(json.dumps(document, indent=2))
    assert found["a"] == ExpectedSession("a", (Segment("one"), Segment("two", 3.0)))
    assert found["b"] == ExpectedSession("b", (Segment("all of it"),), as_one_text=True)
    assert found["c"].segments == found["d"].segments == ()


def test_lines_are_segments_of_their_sessions() -> None:
    lines = [("a", "one"), ("b", "x\u2028y"), ("a", "two")]
    text = "\n\n".join(
        json.dumps({"session_id": name, "text": said}, ensure_ascii=False) for name, said in lines
    )
    found = read_expected(text)
    assert [segment.text for segment in found["a"].segments] == ["one", "two"]
    assert read_expected(text.split("\n")[0])["a"].segments == (Segment("one"),)
    assert list(found) == ["a", "b"]


def test_lines_of_consume_are_taken_as_they_are_and_the_later_of_one_segment_counts() -> None:
    first = final_of(a_final_record("a", [("early", 1, 2)]))
    revised = final_of(a_final_record("a", [("late", 1, 2), ("words", 2, 3)]))
    ended = session_ended_json(session_ended_of(a_session_ended_record("b")).summary, 1_700_000_000_000)
    found = read_expected("\n".join([final_json(first), final_json(revised), ended]) + "\n")
    assert found == {
        "a": ExpectedSession("a", (Segment("late words", 1.0, 3.0),)),
        "b": ExpectedSession("b", ()),
    }
    assert found["a"] == expected_of(Transcripts([first, revised]))["a"]
    with pytest.raises(SettingsError, match=r"line 1: its words are masked"):
        read_expected(masked_final_json(first))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "neither a JSON document nor JSON lines"),
        (f"{{\n {SECRET}", r"neither a JSON document nor JSON lines \(line 2\)"),
        (f'["{SECRET}"]', "must be a JSON object"),
        ("{}", "has no `sessions`"),
        (f'{{"sessions": {{"a": ["{SECRET}"], "a": []}}}}', "'a' is there twice"),
        (f'{{"session": {{"a": "{SECRET}"}}}}', "'session'; did you mean sessions?"),
        (f'{{"sessions": {{"a": {{"text": "{SECRET}"}}}}}}', "session 'a' must be a list"),
        (f'{{"sessions": {{"a": ["{SECRET}", 5]}}}}', "session 'a', segment 2 must be an object"),
        (f'{{"sessions": {{"a": [{{"txt": "{SECRET}"}}]}}}}', "segment 1 has 'txt'; did you mean text?"),
        (
            f'{{"sessions": {{"a": [{{"text": "{SECRET}", "start_time": "1"}}]}}}}',
            "`start_time` must be a number",
        ),
        (
            f'{{"sessions": {{"a": [{{"text": "{SECRET}", "end_time": true}}]}}}}',
            "`end_time` must be a number",
        ),
        (f'{{"sessions": {{"a": [{{"text": "{SECRET}", "start_time": NaN}}]}}}}', "line 1 is no JSON"),
        (f'{{"sessions": {{"a": [{{"text": "{SECRET}", "start_time": 2, "end_time": 1}}]}}}}', "ends before"),
        (
            f'{{"sessions": {{"a": [{{"text": "{SECRET}", "channel_id": 0}}]}}}}',
            "`channel_id` must be a string",
        ),
        ('{"sessions": {"a": [{}]}}', "session 'a', segment 1 has no `text`"),
        (f'{{"session_id": "a", "text": "x"}}\n{{"text": "{SECRET}"}}', "line 2 has no `session_id`"),
        (f'{{"session_id": "a", "text": "x"}}\n{SECRET}', "line 2 is no JSON"),
        (f'{{"session_id": "a", "text": "x", "start": 1}}\n{{"{SECRET}": 1}}', "did you mean start_time"),
        (f'{{"schema": "final_transcript", "session_id": "{SECRET}"}}', "line 1"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_and_without_words(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        read_expected(text)
    assert str(caught.value).startswith("--expect: ")
    assert SECRET not in str(caught.value)


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["sessions", "text", "a", "schema"]), inner)
            ),
        ).map(json.dumps),
    )
)
def test_whatever_the_file_holds_it_is_read_or_refused(text: str) -> None:
    try:
        read_expected(text)
    except SettingsError:
        return
