"""What a person and a program get to read, from the values of the engine. Texts are synthetic."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.model import MedicalAlternative, MedicalItem
from pipeline.elements import FinalTranscript, PartialTranscript, SessionSettings, SessionSummary, SourceRange
from pipeline.engine.answers import StreamFailure
from pipeline.output.transcript_text import (
    Ending,
    clock,
    final_json,
    final_lines,
    partial_json,
    partial_line,
    session_ended_json,
    summary_line,
    tail,
)
from schemas import load
from tests.pipeline.builders import word

SOURCE = SourceRange("audio", 0, 3, 9)


def said(content: str, start: float, end: float, speaker: str | None) -> MedicalItem:
    return replace(word(content, start, end), speaker=speaker)


def final(*items: MedicalItem, channel_id: str | None = None) -> FinalTranscript:
    text = " ".join(item.content for item in items)
    return FinalTranscript(
        session_id="session-1",
        result_id="result-1",
        segment_index=4,
        channel_id=channel_id,
        start_time=61.25,
        end_time=62.5,
        alternatives=(MedicalAlternative(text, items),),
        settings=SessionSettings(),
        sample_rate_hertz=16_000,
        source=SOURCE,
        stream_id="stream-1",
    )


def partial(text: str = "so far", *, superseded: bool = False) -> PartialTranscript:
    alternatives = (MedicalAlternative(text, (word(text, 1.0, 2.0),)),)
    return PartialTranscript(
        "session-1", "result-1", "ch_1", 1.0, 2.0, alternatives, "stream-1", superseded=superseded
    )


# Lines


def test_a_final_is_one_line_with_its_place() -> None:
    assert final_lines(final(word("two", 61.25, 61.5), word("words", 61.6, 62.5))) == [
        "[1:01.25–1:02.50] two words"
    ]


def test_a_channel_is_named() -> None:
    assert final_lines(final(word("one", 61.25, 62.5), channel_id="ch_0")) == ["[1:01.25–1:02.50] (ch_0) one"]


def test_speakers_get_a_line_for_each_turn_and_punctuation_stays_with_its_words() -> None:
    spoken = final(
        said("how", 0.0, 0.2, "0"),
        said("so", 0.3, 0.5, "0"),
        word("?", 0.5, 0.5, "punctuation"),
        MedicalItem(0.5, 0.5, "speaker-change", ""),
        said("like", 1.0, 1.4, "1"),
        said("this", 1.5, 1.9, "1"),
        word(".", 1.9, 1.9, "punctuation"),
        said("ah", 2.0, 2.1, "0"),
        channel_id="ch_0",
    )
    assert final_lines(spoken) == [
        "[0:00.00–0:00.50] (ch_0) speaker 0: how so?",
        "[0:01.00–0:01.90] (ch_0) speaker 1: like this.",
        "[0:02.00–0:02.10] (ch_0) speaker 0: ah",
    ]


def test_a_final_without_a_reading_is_no_line() -> None:
    assert final_lines(replace(final(), alternatives=())) == []


def test_a_partial_is_a_line_and_a_withdrawn_one_says_nothing() -> None:
    assert partial_line(partial()) == "[0:01.00–0:02.00] (ch_1) so far"
    assert "so far" not in partial_line(partial(superseded=True))


def test_nothing_in_a_text_steers_the_terminal() -> None:
    (line,) = final_lines(final(word("red\x1b[31m\r\nalert\x07", 61.25, 62.5)))
    assert line == "[1:01.25–1:02.50] red [31m  alert "


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.00"), (0.2, "0:00.20"), (59.999, "1:00.00"), (3599.99, "59:59.99"), (3600, "1:00:00.00")],
)
def test_a_time_is_shown(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@given(st.integers(0, 4 * 360_000))
def test_a_shown_time_is_the_time(hundredths: int) -> None:
    *hours, minutes, seconds = clock(hundredths / 100).split(":")
    total = sum(int(h) for h in hours) * 3600 + int(minutes) * 60 + float(seconds)
    assert round(total * 100) == hundredths


@given(st.text(max_size=50), st.integers(1, 60))
def test_the_tail_fits_and_ends_as_the_line_ends(line: str, width: int) -> None:
    shown = tail(line, width)
    assert len(shown) <= width
    assert line.endswith(shown.removeprefix("…")) or line == shown
    assert (shown == line) == (len(line) <= width)


# JSON


def field_names(schema: str) -> list[str]:
    return [field["name"] for field in load(schema)["fields"]]


def test_json_records_have_the_fields_of_their_schemas() -> None:
    summary = SessionSummary("session-1", "END_OF_SESSION", 1, 9, 0.9, (), 1, 0, SOURCE)
    for line, schema in (
        (final_json(final(word("naïve", 61.25, 62.5))), "final_transcript"),
        (partial_json(partial()), "partial_transcript"),
        (session_ended_json(summary, 1_700_000_000_000), "session_ended"),
    ):
        record = json.loads(line)
        assert record.pop("schema") == schema
        assert set(record) == set(field_names(schema))
        assert "\n" not in line


def test_json_keeps_words_and_times() -> None:
    record = json.loads(final_json(final(word("naïve", 61.25, 62.5), channel_id="ch_1")))
    assert (record["channel_id"], record["start_time"], record["segment_index"]) == ("ch_1", 61.25, 4)
    assert record["alternatives"][0]["items"][0]["content"] == "naïve"
    assert "naïve" in final_json(final(word("naïve", 61.25, 62.5)))


# The end


def test_the_summary_counts() -> None:
    assert summary_line(Ending(12.34, 12.0, 1, 1, 0)) == "12.3 s of audio, 1 final, 1 stream, 0 retries"
    assert summary_line(Ending(60.0, 60.0, 3, 2, 1)) == "60.0 s of audio, 3 finals, 2 streams, 1 retry"


def test_an_early_end_says_what_is_covered() -> None:
    failure = StreamFailure("Code", "message")
    for ending in (Ending(9.0, 4.2, 2, 1, 0, failure=failure), Ending(9.0, 4.2, 2, 1, 0, interrupted=True)):
        assert summary_line(ending).endswith("; finals cover the first 4.2 s")
