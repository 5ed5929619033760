"""Segments as the service's JSON, against the recorded examples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.transcribe.events import encode_exception, encode_transcript_event
from connectors.transcribe.eventstream import decode_message
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.results import (
    join_words,
    to_result,
)

VECTORS = Path(__file__).parents[3] / "vectors"


@pytest.mark.parametrize("name", ["final-result.json", "partial-result.json"])
def test_an_example_of_the_service_is_reproduced_to_the_byte(name: str) -> None:
    """From the words and times of the example, our encoder makes the example."""
    document = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    (result,) = document["Transcript"]["Results"]
    words = tuple(
        Word(
            item["Content"],
            item["StartTime"],
            item["EndTime"],
            item.get("Confidence"),
            item["Type"] == "punctuation",
        )
        for item in result["Alternatives"][0]["Items"]
    )
    segment = Segment(0, result["IsPartial"], result["StartTime"], result["EndTime"], words)
    message = decode_message(encode_transcript_event([to_result(segment, result["ResultId"], None)]))
    assert message.payload == json.dumps(document, separators=(",", ":")).encode()
    assert message.headers == {
        ":event-type": "TranscriptEvent",
        ":content-type": "application/json",
        ":message-type": "event",
    }


def test_a_channel_is_named_where_there_is_one() -> None:
    segment = Segment(0, False, 0.0, 1.0, (Word("a", 0.0, 1.0),))
    assert to_result(segment, "id", "ch_1").to_json_dict()["ChannelId"] == "ch_1"
    assert "ChannelId" not in to_result(segment, "id", None).to_json_dict()


def test_an_exception_is_as_long_as_the_recorded_one() -> None:
    text = "A complete signal was sent without the preceding empty frame."
    assert len(encode_exception("BadRequestException", text)) == 188


def test_punctuation_joins_the_word_before_it() -> None:
    words = [Word("a", 0, 0), Word(",", 0, 0, is_punctuation=True), Word("b", 0, 0)]
    assert join_words(words) == "a, b"
    assert join_words([]) == ""


# What only finals say ------------------------------------------------------------------------------

LAST_NOTE = (  # the words that the service's page on speaker partitioning shows around a change
    Word("chronic", 21.97, 22.55, 1, speaker="0"),
    Word("fatigue", 23.95, 24.42, 1, speaker="0"),
    Word("True", 25.22, 25.63, 0.99, speaker="1"),
    Word(".", 25.63, 25.63, None, is_punctuation=True),
)
FINAL = Segment(0, False, 21.97, 25.63, LAST_NOTE)
PARTIAL = replace(FINAL, is_partial=True)


def alternative(segment: Segment, **flags: bool) -> dict[str, Any]:
    written: dict[str, Any] = to_result(segment, "id", None, **flags).to_json_dict()["Alternatives"][0]
    return written


def test_a_change_of_speaker_is_written_as_documented() -> None:
    item = {"Type": "pronunciation", "VocabularyFilterMatch": False}
    assert alternative(FINAL, show_speaker_label=True)["Items"][1:] == [
        item | {"Confidence": 1, "Content": "fatigue", "EndTime": 24.42, "Speaker": "0", "StartTime": 23.95},
        {"EndTime": 25.22, "StartTime": 25.22, "Type": "speaker-change", "VocabularyFilterMatch": False},
        item | {"Confidence": 0.99, "Content": "True", "EndTime": 25.63, "Speaker": "1", "StartTime": 25.22},
        item | {"Content": ".", "EndTime": 25.63, "StartTime": 25.63, "Type": "punctuation"},
    ]
    assert alternative(FINAL, show_speaker_label=True)["Transcript"] == "chronic fatigue True."


@pytest.mark.parametrize(
    ("segment", "flags"),
    [
        (FINAL, {}),
        (FINAL, {"identify_phi": True}),
        (PARTIAL, {"show_speaker_label": True, "identify_phi": True}),
    ],
)
def test_speakers_are_named_in_finals_of_streams_that_asked_only(
    segment: Segment, flags: dict[str, bool]
) -> None:
    items = alternative(segment, **flags)["Items"]
    assert [item["Content"] for item in items] == ["chronic", "fatigue", "True", "."]
    assert not any("Speaker" in item for item in items)


def test_confidence_is_on_words_of_finals_only_whatever_the_recogniser_says() -> None:
    words = (Word("a", 0, 1, 0.5), Word(".", 1, 1, 0.5, is_punctuation=True))
    for is_partial, confidences in ((False, [0.5, None]), (True, [None, None])):
        items = alternative(Segment(0, is_partial, 0, 1, words))["Items"]
        assert [item.get("Confidence") for item in items] == confidences


def test_entities_are_in_finals_of_streams_that_asked_only() -> None:
    assert alternative(FINAL, identify_phi=True)["Entities"] == [
        {"Category": "PHI", "Confidence": 0.99, "Content": "True", "EndTime": 25.63, "StartTime": 25.22}
    ]
    assert "Entities" not in alternative(FINAL)
    assert "Entities" not in alternative(PARTIAL, identify_phi=True)


def test_a_segment_without_words_is_an_empty_transcript() -> None:
    empty = alternative(Segment(0, False, 0.0, 1.0, ()), show_speaker_label=True, identify_phi=True)
    assert empty == {"Items": [], "Transcript": ""}
