"""The two operations' parameters: which are checked, which are echoed, how a language is chosen."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from connectors.transcribe.model import HEADER_PREFIX, PATH
from connectors.transcribe.presigned import WEBSOCKET_PATH
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.operations import OPERATIONS, StreamParameters, read_medical, read_standard

SESSION_ID = "12345678-1234-1234-1234-123456789abc"
STANDARD = {"language-code": "en-US", "media-encoding": "pcm", "sample-rate": "16000"}
MEDICAL = STANDARD | {"specialty": "CARDIOLOGY", "type": "DICTATION"}
IDENTIFIED = {"media-encoding": "pcm", "sample-rate": "16000", "language-options": "en-US,de-DE"}


def headers(parameters: Mapping[str, str]) -> dict[str, str]:
    return {HEADER_PREFIX + name: value for name, value in parameters.items()}


def echoed(stream: StreamParameters) -> dict[str, str]:
    return {name.removeprefix(HEADER_PREFIX): value for name, value in stream.echoed.items()}


def refusal_of_standard(parameters: Mapping[str, str]) -> str:
    with pytest.raises(ServiceFault) as caught:
        read_standard(headers(parameters))
    assert (caught.value.code, caught.value.http_status) == ("BadRequestException", 400)
    return caught.value.message


def test_each_operation_has_a_path_for_each_transport() -> None:
    assert {(o.name, o.path, o.is_websocket) for o in OPERATIONS.values()} == {
        ("StartMedicalStreamTranscription", PATH, False),
        ("StartMedicalStreamTranscription", WEBSOCKET_PATH, True),
        ("StartStreamTranscription", "/stream-transcription", False),
        ("StartStreamTranscription", "/stream-transcription-websocket", True),
    }
    assert all(path == operation.path for path, operation in OPERATIONS.items())
    assert all(
        (operation.read is read_medical) == operation.name.startswith("StartMedical")
        for operation in OPERATIONS.values()
    )


# Medical --------------------------------------------------------------------------------------------------


def test_medical_parameters_are_read_and_echoed() -> None:
    given = MEDICAL | {"vocabulary-name": "heart", "session-id": SESSION_ID, "show-speaker-label": "true"}
    stream = read_medical(headers(given) | {"x-amzn-unrelated": "1"})
    assert (stream.medical.specialty, stream.medical.vocabulary_name) == ("CARDIOLOGY", "heart")
    assert echoed(stream) == given


@pytest.mark.parametrize("missing", MEDICAL)
def test_each_required_medical_parameter_is(missing: str) -> None:
    rest = {name: value for name, value in MEDICAL.items() if name != missing}
    with pytest.raises(ServiceFault, match="is missing") as caught:
        read_medical(headers(rest))
    assert HEADER_PREFIX + missing in caught.value.message


def test_medical_speech_is_american() -> None:
    with pytest.raises(ServiceFault, match="LanguageCode is 'en-GB'"):
        read_medical(headers(MEDICAL | {"language-code": "en-GB"}))


# Standard -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en-US", "de-DE", "zh-HK", "ast-ES"])
def test_any_language_may_be_named_and_is_echoed(language: str) -> None:
    stream = read_standard(headers(STANDARD | {"language-code": language}))
    assert echoed(stream) == STANDARD | {"language-code": language}


@pytest.mark.parametrize("language", ["english", "en", "EN-us", "en-US-x", "en_US", "1"])
def test_what_is_no_language_is_refused_with_its_value(language: str) -> None:
    assert repr(language) in refusal_of_standard(STANDARD | {"language-code": language})


@pytest.mark.parametrize("parameter", ["identify-language", "identify-multiple-languages"])
@pytest.mark.parametrize("true", ["true", "True", " true "])
def test_a_language_may_be_found_out_instead(parameter: str, true: str) -> None:
    given = IDENTIFIED | {parameter: true, "preferred-language": "de-DE"}
    assert echoed(read_standard(headers(given))) == given


@pytest.mark.parametrize("given", [{}, {"identify-language": "false"}, {"language-code": ""}])
def test_without_any_language_it_is_missing(given: dict[str, str]) -> None:
    assert "LanguageCode is missing" in refusal_of_standard(IDENTIFIED | given)


@pytest.mark.parametrize(
    "given",
    [
        {"language-code": "en-US", "identify-language": "true"},
        {"language-code": "en-US", "identify-multiple-languages": "true"},
        {"identify-language": "true", "identify-multiple-languages": "true"},
    ],
)
def test_the_ways_to_say_the_language_exclude_each_other(given: dict[str, str]) -> None:
    assert "exclude each other" in refusal_of_standard(IDENTIFIED | given)


def test_a_language_that_is_not_to_be_found_out_may_be_named() -> None:
    given = STANDARD | {"identify-language": "false"}
    assert echoed(read_standard(headers(given))) == given


def test_a_language_is_found_out_among_options() -> None:
    rest = {name: value for name, value in IDENTIFIED.items() if name != "language-options"}
    assert "LanguageOptions is missing" in refusal_of_standard(rest | {"identify-language": "true"})


def test_the_parameters_that_only_the_standard_operation_has_are_echoed_as_they_came() -> None:
    given = STANDARD | {
        "content-identification-type": "PII",  # which is no value of the medical operation
        "content-redaction-type": "PII",
        "enable-partial-results-stabilization": "true",
        "language-model-name": "mine",
        "partial-results-stability": "high",
        "pii-entity-types": "NAME",
        "session-resume-window": "10",
        "vocabulary-filter-method": "mask",
        "vocabulary-filter-name": "rude",
        "vocabulary-filter-names": "rude,ruder",
        "vocabulary-names": "a,b",
    }
    assert echoed(read_standard(headers(given))) == given


def test_shared_parameters_are_read_and_echoed() -> None:
    given = STANDARD | {
        "enable-channel-identification": "true",
        "number-of-channels": "2",
        "session-id": SESSION_ID,
        "show-speaker-label": "true",
        "vocabulary-name": "heart",
    }
    stream = read_standard(headers(given))
    assert stream.medical.number_of_channels == 2
    assert stream.medical.vocabulary_name == "heart"
    assert echoed(stream) == given


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sample-rate": "1"}, "MediaSampleRateHertz is 1"),
        ({"sample-rate": ""}, "MediaSampleRateHertz is missing"),
        ({"media-encoding": "mp3"}, "MediaEncoding is 'mp3'"),
        ({"session-id": "1"}, "SessionId is '1'"),
        ({"number-of-channels": "2"}, "NumberOfChannels is 2"),
        ({"vocabulary-name": "a b"}, "VocabularyName is 'a b'"),
        ({"show-speaker-label": "yes"}, "ShowSpeakerLabel is 'yes'"),
    ],
)
def test_shared_parameters_are_checked(given: dict[str, str], text: str) -> None:
    assert text in refusal_of_standard(STANDARD | given)


def test_medical_parameters_mean_nothing_to_the_standard_operation() -> None:
    given = STANDARD | {"specialty": "DENTISTRY", "type": "SONG"}
    assert echoed(read_standard(headers(given))) == STANDARD
