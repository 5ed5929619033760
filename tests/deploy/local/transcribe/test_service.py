"""Admission: parameters, quota, session ids, refusals on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from connectors.transcribe.model import PATH, StartMedicalStreamTranscriptionRequest
from deploy.local.transcribe.authentication import Keyring
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.faults import Fault, FaultKind
from deploy.local.transcribe.operations import OPERATIONS
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.service import ServiceLimits, TranscribeService
from deploy.local.transcribe.stream import Send

MEDICAL = OPERATIONS[PATH]
SESSION_ID = "12345678-1234-1234-1234-123456789abc"
MakeClient = Callable[..., Any]


@pytest.fixture
def service(keyring: Keyring) -> TranscribeService:
    return TranscribeService(keyring, ServiceLimits(max_streams=2))


def refusal(service: TranscribeService, client: Any, now_ms: int) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        service.admit(MEDICAL, client.request(), now_ms)
    return caught.value


def with_parameters(make_client: MakeClient, **parameters: Any) -> Any:
    return make_client(parameters=StartMedicalStreamTranscriptionRequest(**parameters))


def test_an_admitted_request_is_answered_with_its_parameters_and_ids(
    service: TranscribeService, make_client: MakeClient, now_ms: int
) -> None:
    client = with_parameters(make_client, session_id=SESSION_ID, vocabulary_name="heart")
    admission = service.admit(MEDICAL, client.request(), now_ms)
    headers = dict(admission.response_headers())
    assert headers["x-amzn-request-id"] == headers["x-amzn-requestid"] == admission.request_id
    assert headers["x-amzn-transcribe-session-id"] == SESSION_ID
    assert headers["x-amzn-transcribe-vocabulary-name"] == "heart"
    assert headers["x-amzn-transcribe-sample-rate"] == "16000"
    assert headers["x-amzn-transcribe-show-speaker-label"] == "false"
    assert headers["content-type"] == "application/vnd.amazon.eventstream"


def test_a_session_id_is_made_where_none_is_given(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    first = service.admit(MEDICAL, client.request(), now_ms)
    second = service.admit(MEDICAL, client.request(), now_ms)
    assert len(first.session_id) == 36
    assert first.session_id != second.session_id


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"x-amzn-transcribe-language-code": "en-GB"}, "LanguageCode is 'en-GB'"),
        ({"x-amzn-transcribe-sample-rate": "7999"}, "MediaSampleRateHertz is 7999"),
        ({"x-amzn-transcribe-sample-rate": "fast"}, "MediaSampleRateHertz is 'fast'"),
        ({"x-amzn-transcribe-specialty": "DENTISTRY"}, "Specialty is 'DENTISTRY'"),
        ({"x-amzn-transcribe-type": "SONG"}, "Type is 'SONG'"),
        ({"x-amzn-transcribe-media-encoding": "flac"}, "pcm"),
        ({"x-amzn-transcribe-session-id": "1"}, "SessionId is '1'"),
        ({"x-amzn-transcribe-number-of-channels": "2"}, "NumberOfChannels is 2"),
        ({"x-amzn-transcribe-vocabulary-name": "a b"}, "VocabularyName is 'a b'"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(
    service: TranscribeService, make_client: MakeClient, now_ms: int, headers: Mapping[str, str], text: str
) -> None:
    fault = refusal(service, make_client(extra_headers=headers), now_ms)
    assert (fault.code, fault.http_status) == ("BadRequestException", 400)
    assert text in fault.message


def test_a_missing_parameter_is_named(
    service: TranscribeService, make_client: MakeClient, now_ms: int
) -> None:
    fault = refusal(service, make_client(extra_headers={"x-amzn-transcribe-specialty": ""}), now_ms)
    assert "Specialty is missing" in fault.message


def test_the_signature_comes_first(service: TranscribeService, client: Any, now_ms: int) -> None:
    request = client.request()
    changed = {**request.headers, "x-amzn-transcribe-type": "SONG"}
    with pytest.raises(ServiceFault) as caught:
        service.admit(MEDICAL, replace(request, headers=changed), now_ms)
    assert caught.value.code == "InvalidSignatureException"


def test_streams_beyond_the_quota_are_refused_until_one_is_closed(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    admissions = [service.admit(MEDICAL, client.request(), now_ms) for _ in range(2)]
    for admission in admissions:
        service.open_stream(admission, now_ms)
    fault = refusal(service, client, now_ms)
    assert (fault.code, fault.http_status, fault.retryable) == ("LimitExceededException", 429, True)
    service.close_stream(admissions[0])
    service.admit(MEDICAL, client.request(), now_ms)


def test_a_session_id_in_use_is_refused_until_its_stream_is_closed(
    service: TranscribeService, make_client: MakeClient, now_ms: int
) -> None:
    client = with_parameters(make_client, session_id=SESSION_ID)
    admission = service.admit(MEDICAL, client.request(), now_ms)
    service.open_stream(admission, now_ms)
    fault = refusal(service, client, now_ms)
    assert (fault.code, fault.http_status) == ("ConflictException", 409)
    service.close_stream(admission)
    service.admit(MEDICAL, client.request(), now_ms)


def test_refusals_on_request(service: TranscribeService, client: Any, now_ms: int) -> None:
    service.inject([Fault(FaultKind.REFUSE, times=2, code="LimitExceededException", message="slower")])
    for _ in range(2):
        fault = refusal(service, client, now_ms)
        assert (fault.code, fault.message, fault.http_status) == ("LimitExceededException", "slower", 429)
    service.admit(MEDICAL, client.request(), now_ms)


def test_a_refusal_may_have_any_status(service: TranscribeService, client: Any, now_ms: int) -> None:
    service.inject([Fault(FaultKind.REFUSE, code="ProxyTrouble", http_status=502)])
    assert refusal(service, client, now_ms).http_status == 502


def test_channels_are_identified_on_request(
    service: TranscribeService, make_client: MakeClient, now_ms: int
) -> None:
    client = with_parameters(make_client, enable_channel_identification=True, number_of_channels=2)
    assert service.admit(MEDICAL, client.request(), now_ms).channel_ids == ("ch_0", "ch_1")


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_tells_speakers_and_phi_if_its_request_asked(
    service: TranscribeService, make_client: MakeClient, now_ms: int, asked: bool
) -> None:
    phi = "PHI" if asked else None
    client = with_parameters(make_client, show_speaker_label=asked, content_identification_type=phi)
    stream = service.open_stream(service.admit(MEDICAL, client.request(), now_ms), now_ms)
    final = Segment(0, False, 0.0, 1.0, (Word("room", 0.0, 0.5), Word("7", 0.5, 1.0)))
    sent, *_ = stream.receive_segments(0, [final])
    assert isinstance(sent, Send)
    assert (b'"Speaker":"0"' in sent.data, b'"Entities"' in sent.data) == (asked, asked)
