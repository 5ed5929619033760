"""Segments as the service's JSON, against the recorded examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.transcribe.eventstream import decode_message
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.results import (
    encode_exception,
    encode_transcript_event,
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
