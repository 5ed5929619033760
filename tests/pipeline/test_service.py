"""Requests made of a session's settings."""

from __future__ import annotations

import pytest

from connectors.transcribe.errors import EndpointError, ParameterError
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.service import ServiceSettings, medical_request

STREAM_ID = "00000000-0000-4000-8000-000000000000"


def test_a_request_says_what_the_session_chose() -> None:
    settings = SessionSettings(
        specialty="CARDIOLOGY",
        type="DICTATION",
        vocabulary_name="hearts",
        show_speaker_label=True,
        content_identification_type="PHI",
    )
    request = medical_request(AudioFormat(16_000), settings, STREAM_ID)
    request.validate()
    assert request.to_headers() == {
        "x-amzn-transcribe-language-code": "en-US",
        "x-amzn-transcribe-sample-rate": "16000",
        "x-amzn-transcribe-media-encoding": "pcm",
        "x-amzn-transcribe-specialty": "CARDIOLOGY",
        "x-amzn-transcribe-type": "DICTATION",
        "x-amzn-transcribe-vocabulary-name": "hearts",
        "x-amzn-transcribe-session-id": STREAM_ID,
        "x-amzn-transcribe-show-speaker-label": "true",
        "x-amzn-transcribe-content-identification-type": "PHI",
    }


def test_two_channels_are_always_identified() -> None:
    request = medical_request(AudioFormat(16_000, 2), SessionSettings(), STREAM_ID)
    request.validate()
    assert (request.enable_channel_identification, request.number_of_channels) == (True, 2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("asked", [False, True])
def test_channel_identification_asked_for_never_makes_an_invalid_request(channels: int, asked: bool) -> None:
    settings = SessionSettings(enable_channel_identification=asked)
    medical_request(AudioFormat(16_000, channels), settings, STREAM_ID).validate()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_audio_is_sent_at_the_rate_it_has(rate: int) -> None:
    request = medical_request(AudioFormat(rate), SessionSettings(), STREAM_ID)
    request.validate()
    assert request.to_headers()["x-amzn-transcribe-sample-rate"] == str(rate)


@pytest.mark.parametrize("channels", [1, 2])
def test_audio_that_is_resampled_is_announced_at_its_new_rate(channels: int) -> None:
    request = medical_request(AudioFormat(8000, channels), SessionSettings(), STREAM_ID, 16_000)
    request.validate()
    assert request.to_headers()["x-amzn-transcribe-sample-rate"] == "16000"


def test_a_setting_the_service_would_refuse_is_found_before_a_connection_is_made() -> None:
    request = medical_request(AudioFormat(16_000), SessionSettings(specialty="SURGERY"), STREAM_ID)
    with pytest.raises(ParameterError, match="SURGERY"):
        request.validate()


def test_cleartext_beyond_this_machine_is_refused_unless_insisted_upon() -> None:
    remote = "http://transcribe.example:8080"
    with pytest.raises(EndpointError, match="--insecure"):
        ServiceSettings("us-east-1", remote).endpoint()
    assert ServiceSettings("us-east-1", remote, allow_cleartext=True).endpoint().host == "transcribe.example"
    assert ServiceSettings("us-east-1", "http://127.0.0.1:1").endpoint().port == 1
