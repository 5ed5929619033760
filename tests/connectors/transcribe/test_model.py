"""Parameters and results: the service's rules, and tolerance for what it adds."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import ParameterError, ResultFormatError
from connectors.transcribe.model import (
    CONTENT_IDENTIFICATION_TYPES,
    ITEM_SPEAKER_CHANGE,
    MEDIA_ENCODINGS,
    SPECIALTIES,
    TYPES,
    MedicalAlternative,
    MedicalEntity,
    MedicalItem,
    MedicalResult,
    MedicalTranscriptEvent,
    StartMedicalStreamTranscriptionRequest,
    parse_transcript_event,
)

VECTORS = Path(__file__).parents[2] / "vectors"
SESSION_ID = "01234567-89ab-cdef-0123-456789abcdef"
REQUEST = StartMedicalStreamTranscriptionRequest()

requests = st.builds(
    StartMedicalStreamTranscriptionRequest,
    language_code=st.just("en-US"),
    media_sample_rate_hertz=st.integers(8_000, 48_000),
    media_encoding=st.sampled_from(MEDIA_ENCODINGS),
    specialty=st.sampled_from(SPECIALTIES),
    type=st.sampled_from(TYPES),
    vocabulary_name=st.none() | st.from_regex(r"[0-9a-zA-Z._-]{1,200}", fullmatch=True),
    session_id=st.none() | st.uuids().map(str),
    show_speaker_label=st.booleans(),
    enable_channel_identification=st.just(False),
    number_of_channels=st.none(),
    content_identification_type=st.none() | st.sampled_from(CONTENT_IDENTIFICATION_TYPES),
) | st.just(StartMedicalStreamTranscriptionRequest(enable_channel_identification=True, number_of_channels=2))

seconds = st.floats(0, 14_400)
confidences = st.none() | st.floats(0, 1)
items = st.builds(
    MedicalItem,
    start_time=seconds,
    end_time=seconds,
    type=st.sampled_from(["pronunciation", "punctuation", "speaker-change"]),
    content=st.text(max_size=9),
    confidence=confidences,
    speaker=st.none() | st.sampled_from(["0", "spk_1"]),
    vocabulary_filter_match=st.booleans(),
)
entities = st.builds(
    MedicalEntity,
    start_time=seconds,
    end_time=seconds,
    category=st.just("PHI"),
    content=st.text(max_size=9),
    confidence=confidences,
)
alternatives = st.builds(
    MedicalAlternative,
    transcript=st.text(max_size=20),
    items=st.lists(items, max_size=3).map(tuple),
    entities=st.lists(entities, max_size=2).map(tuple),
)
results = st.builds(
    MedicalResult,
    result_id=st.uuids().map(str),
    start_time=seconds,
    end_time=seconds,
    is_partial=st.booleans(),
    alternatives=st.lists(alternatives, max_size=2).map(tuple),
    channel_id=st.none() | st.sampled_from(["ch_0", "ch_1"]),
)


def payload_of(*documents: dict[str, Any]) -> bytes:
    return json.dumps({"Transcript": {"Results": list(documents)}}).encode()


# The request


@given(requests)
def test_requests_round_trip_through_headers(request: StartMedicalStreamTranscriptionRequest) -> None:
    assert StartMedicalStreamTranscriptionRequest.from_headers(request.to_headers()) == request


def test_headers_are_those_of_the_api() -> None:
    request = replace(
        REQUEST,
        session_id=SESSION_ID,
        vocabulary_name="heart.v2",
        show_speaker_label=True,
        enable_channel_identification=True,
        number_of_channels=2,
        content_identification_type="PHI",
    )
    assert request.to_headers() == {
        "x-amzn-transcribe-language-code": "en-US",
        "x-amzn-transcribe-sample-rate": "16000",
        "x-amzn-transcribe-media-encoding": "pcm",
        "x-amzn-transcribe-specialty": "PRIMARYCARE",
        "x-amzn-transcribe-type": "CONVERSATION",
        "x-amzn-transcribe-vocabulary-name": "heart.v2",
        "x-amzn-transcribe-session-id": SESSION_ID,
        "x-amzn-transcribe-show-speaker-label": "true",
        "x-amzn-transcribe-enable-channel-identification": "true",
        "x-amzn-transcribe-number-of-channels": "2",
        "x-amzn-transcribe-content-identification-type": "PHI",
    }


def test_absent_parameters_and_false_flags_are_not_sent() -> None:
    assert len(REQUEST.to_headers()) == 5


@pytest.mark.parametrize(
    ("changes", "parameter", "named"),
    [
        ({"language_code": "en-GB"}, "LanguageCode", "en-US"),
        ({"media_sample_rate_hertz": 7_999}, "MediaSampleRateHertz", "8000 to 48000"),
        ({"media_sample_rate_hertz": 48_001}, "MediaSampleRateHertz", "48001"),
        ({"media_encoding": "mp3"}, "MediaEncoding", "ogg-opus"),
        ({"specialty": "DENTISTRY"}, "Specialty", "CARDIOLOGY"),
        ({"type": "SONG"}, "Type", "DICTATION"),
        ({"vocabulary_name": "a b"}, "VocabularyName", "a b"),
        ({"vocabulary_name": ""}, "VocabularyName", "1 to 200"),
        ({"vocabulary_name": "a" * 201}, "VocabularyName", "1 to 200"),
        ({"vocabulary_name": "line\n"}, "VocabularyName", "1 to 200"),
        ({"session_id": "not-a-uuid"}, "SessionId", "UUID"),
        ({"content_identification_type": "PII"}, "ContentIdentificationType", "PHI"),
        ({"enable_channel_identification": True}, "NumberOfChannels", "EnableChannelIdentification"),
        ({"number_of_channels": 2}, "NumberOfChannels", "EnableChannelIdentification"),
        ({"enable_channel_identification": True, "number_of_channels": 3}, "NumberOfChannels", "only 2"),
    ],
)
def test_what_the_service_refuses_is_refused_by_name(
    changes: dict[str, Any], parameter: str, named: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        replace(REQUEST, **changes).validate()
    assert caught.value.parameter == parameter
    assert parameter in str(caught.value)
    assert named in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize("missing", sorted(REQUEST.to_headers()))
def test_each_required_header_is_asked_for_by_name(missing: str) -> None:
    headers = REQUEST.to_headers()
    del headers[missing]
    with pytest.raises(ParameterError, match=missing):
        StartMedicalStreamTranscriptionRequest.from_headers(headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample-rate", "16k"),
        ("sample-rate", "-16000"),
        ("show-speaker-label", "yes"),
        ("number-of-channels", "²"),
    ],
)
def test_headers_of_the_wrong_kind_are_refused(name: str, value: str) -> None:
    headers = REQUEST.to_headers() | {"x-amzn-transcribe-" + name: value}
    with pytest.raises(ParameterError, match="is required"):
        StartMedicalStreamTranscriptionRequest.from_headers(headers)


@given(
    st.sampled_from(sorted(replace(REQUEST, number_of_channels=2, session_id="x").to_headers())),
    st.text(st.characters(max_codepoint=255)) | st.sampled_from(["\x1f16000", "\x8516000\xa0", "\x1c2"]),
)
def test_headers_of_any_kind_raise_parameter_errors_only(name: str, value: str) -> None:
    """What `\\s` takes for a blank, `int` need not: found by fuzzing."""
    with suppress(ParameterError):
        StartMedicalStreamTranscriptionRequest.from_headers(REQUEST.to_headers() | {name: value})


@pytest.mark.parametrize("value", ["\x1f16000", " 16000\t", "\x8516000\xa0"])
def test_blanks_around_a_number_are_cut(value: str) -> None:
    headers = REQUEST.to_headers() | {"x-amzn-transcribe-sample-rate": value}
    assert StartMedicalStreamTranscriptionRequest.from_headers(headers) == REQUEST


def test_flags_may_be_sent_as_false() -> None:
    headers = REQUEST.to_headers() | {"x-amzn-transcribe-show-speaker-label": "false"}
    assert StartMedicalStreamTranscriptionRequest.from_headers(headers) == REQUEST


# The results


@pytest.mark.parametrize("name", ["partial-result.json", "final-result.json"])
def test_recorded_events_are_read_and_written_without_loss(name: str) -> None:
    document = json.loads((VECTORS / name).read_text())
    parsed = parse_transcript_event(json.dumps(document).encode())
    assert json.loads(MedicalTranscriptEvent(parsed).to_payload()) == document


def test_a_recorded_final_field_by_field() -> None:
    (result,) = parse_transcript_event((VECTORS / "final-result.json").read_bytes())
    assert (result.start_time, result.end_time, result.is_partial) == (1.04, 5.53, False)
    (alternative,) = result.alternatives
    assert alternative.transcript.endswith("75 bpm.")
    word, mark = alternative.items[0], alternative.items[-1]
    assert (word.content, word.confidence, word.start_time, word.end_time) == ("The", 0.99, 1.04, 1.12)
    assert (mark.type, mark.content, mark.confidence) == ("punctuation", ".", None)


@given(st.lists(results, max_size=3).map(tuple))
def test_results_round_trip(expected: tuple[MedicalResult, ...]) -> None:
    assert parse_transcript_event(MedicalTranscriptEvent(expected).to_payload()) == expected


def test_keys_are_written_in_alphabetical_order_without_spaces() -> None:
    payload = MedicalTranscriptEvent((MedicalResult("r", 0.0, 1.0, True, channel_id="ch_0"),)).to_payload()
    assert payload == (
        b'{"Transcript":{"Results":[{"Alternatives":[],"ChannelId":"ch_0","EndTime":1.0,'
        b'"IsPartial":true,"ResultId":"r","StartTime":0.0}]}}'
    )


def test_a_change_of_speaker_is_written_without_content() -> None:
    assert MedicalItem(25.22, 25.22, ITEM_SPEAKER_CHANGE, "").to_json_dict() == {
        "EndTime": 25.22,
        "StartTime": 25.22,
        "Type": "speaker-change",
        "VocabularyFilterMatch": False,
    }
    assert MedicalItem(0.0, 0.0, "pronunciation", "").to_json_dict()["Content"] == ""


@pytest.mark.parametrize(
    "payload",
    [b'{"Transcript":{"Results":[]}}', b'{"Transcript":{}}', b"{}", b'{"Transcript":null}', b'{"Other":1}'],
)
def test_events_without_results(payload: bytes) -> None:
    assert parse_transcript_event(payload) == ()


def test_absent_values_have_the_service_defaults_and_unknown_fields_are_ignored() -> None:
    document = {
        "ResultId": "r",
        "LanguageCode": "xx",
        "Alternatives": [{"Items": [{"Type": "speaker-change"}]}],
    }
    (result,) = parse_transcript_event(payload_of(document))
    item = MedicalItem(0.0, 0.0, "speaker-change", "")
    assert result == MedicalResult("r", 0.0, 0.0, False, (MedicalAlternative("", (item,)),))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"secret words",
        b"\xff",
        b"[]",
        b'{"Transcript":["secret words"]}',
        b"[" * 100_000,
        payload_of({"StartTime": "secret words"}),
        payload_of({"StartTime": True}),
        payload_of({"IsPartial": "secret words"}),
        payload_of({"ResultId": 5}),
        payload_of({"Alternatives": {"Transcript": "secret words"}}),
        payload_of({"Alternatives": ["secret words"]}),
        payload_of({"StartTime": float("nan")}),
    ],
)
def test_other_shapes_are_refused_without_their_text(payload: bytes) -> None:
    with pytest.raises(ResultFormatError) as caught:
        parse_transcript_event(payload)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_repr_hides_text() -> None:
    item = MedicalItem(0, 1, "pronunciation", "secretword")
    entity = MedicalEntity(0, 1, "PHI", "secretname")
    event = MedicalTranscriptEvent(
        (MedicalResult("r", 0, 1, False, (MedicalAlternative("secret line", (item,), (entity,)),)),)
    )
    assert "secret" not in repr(event)
