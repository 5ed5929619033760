"""Admission: parameters, quota, session ids, refusals on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.model import PATH, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import WEBSOCKET_PATH, presign_websocket
from connectors.transcribe.sigv4 import Credentials
from deploy.local.transcribe.authentication import Keyring, SignedHttpRequest
from deploy.local.transcribe.commands import Recognise, ResetStream
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.faults import Fault, FaultKind
from deploy.local.transcribe.operations import OPERATIONS
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.service import ServiceLimits, TranscribeService
from deploy.local.transcribe.stream import Send

MEDICAL = OPERATIONS[PATH]
WEBSOCKET = OPERATIONS[WEBSOCKET_PATH]
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


# Over a WebSocket -----------------------------------------------------------------------------------------


def presigned(
    credentials: Credentials, now_ms: int, changes: Mapping[str, str] | None = None, **parameters: Any
) -> SignedHttpRequest:
    request = StartMedicalStreamTranscriptionRequest(**parameters)
    url = urlsplit(presign_websocket("localhost:8443", request, credentials, "us-east-1", now_ms))
    query = url.query
    for old, new in (changes or {}).items():
        query = query.replace(old, new)
    return SignedHttpRequest("GET", url.path, query, {"host": "localhost:8443"})


def test_a_presigned_request_is_admitted_with_the_parameters_of_its_query(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    request = presigned(
        client.credentials,
        now_ms,
        session_id=SESSION_ID,
        vocabulary_name="heart",
        media_sample_rate_hertz=8000,
        enable_channel_identification=True,
        number_of_channels=2,
    )
    admission = service.admit(WEBSOCKET, request, now_ms)
    assert admission.session_id == SESSION_ID
    assert admission.parameters.vocabulary_name == "heart"
    assert admission.parameters.media_sample_rate_hertz == 8000
    assert admission.channel_ids == ("ch_0", "ch_1")
    stream = service.open_stream(admission, now_ms)
    data = encode_audio_event(bytes(4))
    assert stream.receive_data(data, now_ms) == [Recognise((bytes(2), bytes(2)))]


def test_a_websocket_is_answered_with_its_ids_and_without_its_query(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    admission = service.admit(WEBSOCKET, presigned(client.credentials, now_ms, session_id=SESSION_ID), now_ms)
    headers = dict(admission.upgrade_headers(WEBSOCKET_PATH))
    assert headers == {
        "x-amzn-RequestId": admission.request_id,
        "x-amzn-SessionId": SESSION_ID,
        "websocket-location": WEBSOCKET_PATH,
        "Strict-Transport-Security": "max-age=31536000",
    }


def test_a_header_does_not_replace_a_parameter_of_the_query(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    request = presigned(client.credentials, now_ms)
    headers = {**request.headers, "x-amzn-transcribe-specialty": "UROLOGY"}
    admission = service.admit(WEBSOCKET, replace(request, headers=headers), now_ms)
    assert admission.parameters.specialty == "PRIMARYCARE"


def test_the_signature_of_a_websocket_comes_first_too(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    request = presigned(client.credentials, now_ms, {"CONVERSATION": "SONG"})
    with pytest.raises(ServiceFault) as caught:
        service.admit(WEBSOCKET, request, now_ms)
    assert caught.value.code == "InvalidSignatureException"


def test_a_signed_header_opens_no_websocket_and_a_signed_query_no_other_stream(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    with pytest.raises(ServiceFault) as caught:
        service.admit(WEBSOCKET, client.request(), now_ms)
    assert caught.value.code == "IncompleteSignatureException"
    with pytest.raises(ServiceFault) as caught:
        service.admit(MEDICAL, presigned(client.credentials, now_ms), now_ms)
    assert caught.value.code == "MissingAuthenticationTokenException"


# Connections ----------------------------------------------------------------------------------------------


def test_one_stream_per_connection_on_request(keyring: Keyring, client: Any, now_ms: int) -> None:
    service = TranscribeService(keyring, ServiceLimits(one_stream_per_connection=True))
    first = service.admit(MEDICAL, client.request(), now_ms, "client:1")
    service.open_stream(first, now_ms)
    other = service.admit(MEDICAL, client.request(), now_ms, "client:2")
    service.open_stream(other, now_ms)
    with pytest.raises(ServiceFault, match="Only one stream is allowed per HTTP/2 connection") as caught:
        service.admit(MEDICAL, client.request(), now_ms, "client:1")
    assert (caught.value.code, caught.value.http_status) == ("BadRequestException", 400)
    service.close_stream(first)
    service.admit(MEDICAL, client.request(), now_ms, "client:1")


def test_a_connection_may_have_many_streams_otherwise(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    for _ in range(2):
        service.open_stream(service.admit(MEDICAL, client.request(), now_ms, "client:1"), now_ms)
    assert len(service.streams) == 2


# Faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "expected"), [(None, 1.0), (0, 0.0), (2.5, 2.5)])
def test_the_head_is_held_back_on_request_once(
    service: TranscribeService, client: Any, now_ms: int, seconds: float | None, expected: float
) -> None:
    service.inject([Fault(FaultKind.LATE_HEADERS, seconds=seconds)])
    assert service.admit(MEDICAL, client.request(), now_ms).delay_seconds == expected
    assert service.admit(MEDICAL, client.request(), now_ms).delay_seconds == 0.0


def test_the_longest_of_several_delays_counts(service: TranscribeService, client: Any, now_ms: int) -> None:
    service.inject([Fault(FaultKind.LATE_HEADERS, seconds=3), Fault(FaultKind.LATE_HEADERS, seconds=2)])
    assert service.admit(MEDICAL, client.request(), now_ms).delay_seconds == 3.0


def test_a_refused_request_uses_up_no_delay(service: TranscribeService, client: Any, now_ms: int) -> None:
    service.inject([Fault(FaultKind.LATE_HEADERS, seconds=3), Fault(FaultKind.REFUSE)])
    refusal(service, client, now_ms)
    assert service.admit(MEDICAL, client.request(), now_ms).delay_seconds == 3.0


def test_what_acts_on_requests_does_not_act_on_streams(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    service.inject([Fault(FaultKind.LATE_HEADERS, times=None), Fault(FaultKind.RESET)])
    admission = service.admit(MEDICAL, client.request(), now_ms)
    assert [rule.fault.kind for rule in admission.rules] == [FaultKind.RESET]


def test_running_streams_are_struck_by_vocabulary_and_beyond_the_skipped(
    keyring: Keyring, make_client: MakeClient, now_ms: int
) -> None:
    service = TranscribeService(keyring, ServiceLimits())
    streams = []
    for name in ("heart", "lung", "heart", "heart"):
        client = with_parameters(make_client, vocabulary_name=name)
        admission = service.admit(MEDICAL, client.request(), now_ms)
        streams.append((client, service.open_stream(admission, now_ms)))
    service.inject(
        [Fault(FaultKind.RESET, running=True, vocabulary_name="heart", skip_streams=1, times=None)]
    )
    struck = [stream.receive_data(client.event(b"ab"), now_ms)[-1] for client, stream in streams]
    assert [command == ResetStream() for command in struck] == [False, False, True, True]


def test_a_rule_for_running_streams_is_not_for_those_to_come(
    service: TranscribeService, client: Any, now_ms: int
) -> None:
    service.inject([Fault(FaultKind.RESET, running=True)])
    assert service.admit(MEDICAL, client.request(), now_ms).rules == ()
