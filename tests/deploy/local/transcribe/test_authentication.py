"""Signatures: every way of signing that reaches the service is accepted, everything else refused by name."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable
from dataclasses import replace
from time import strptime
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.transcribe.eventstream import MessageDecoder, Timestamp, decode_message, encode_message
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    STREAMING_EVENTS_PAYLOAD,
    Authorization,
    Credentials,
    CredentialScope,
    canonical_request,
    derive_signing_key,
    format_authorization,
    request_signature,
)
from deploy.local.transcribe.authentication import EventVerifier, Keyring, SignedHttpRequest
from deploy.local.transcribe.errors import ServiceFault

FIVE_MINUTES_MS = 300_000
PATH = "/medical-stream-transcription"
DATE_TIME = "20261123T170435Z"


def code_of(keyring: Keyring, request: SignedHttpRequest, now_ms: int) -> str:
    with pytest.raises(ServiceFault) as caught:
        keyring.verify_request(request, now_ms)
    return caught.value.code


def sign_as(
    credentials: Credentials, signed: dict[str, str], sent: dict[str, str], payload_hash: str
) -> SignedHttpRequest:
    """A request whose signature covers `signed` and which arrives with the headers `sent`."""
    scope = CredentialScope(DATE_TIME[:8], "us-east-1")
    canonical = canonical_request("POST", PATH, (), signed.items(), payload_hash)
    key = derive_signing_key(credentials.secret_access_key, scope.date, scope.region)
    signature = request_signature(key, canonical, DATE_TIME, scope)
    header = format_authorization(
        Authorization(credentials.access_key_id, scope, tuple(sorted(signed)), signature)
    )
    return SignedHttpRequest("POST", PATH, "", {**sent, "authorization": header})


# The request -----------------------------------------------------------------


def test_our_clients_request_is_accepted(client: Any, keyring: Keyring, now_ms: int) -> None:
    assert isinstance(keyring.verify_request(client.request(), now_ms), EventVerifier)


def test_botocores_signature_is_accepted(client: Any, keyring: Keyring) -> None:
    request = botocore.awsrequest.AWSRequest("POST", f"https://example.test:8443{PATH}", data=b"")
    request.headers["x-amzn-transcribe-language-code"] = "en-US"
    credentials = botocore.credentials.Credentials(
        client.credentials.access_key_id, client.credentials.secret_access_key
    )
    botocore.auth.SigV4Auth(credentials, "transcribe", "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "example.test:8443"}
    signed_at_ms = timegm(strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")) * 1000
    keyring.verify_request(SignedHttpRequest("POST", PATH, "", headers), signed_at_ms)


@pytest.mark.parametrize("host_name", ["host", ":authority"])
@pytest.mark.parametrize("signed_host", ["localhost", "localhost:8760"])
@pytest.mark.parametrize("payload_hash", [STREAMING_EVENTS_PAYLOAD, EMPTY_PAYLOAD_SHA256])
@pytest.mark.parametrize("sends_hash", [True, False])
def test_each_known_way_of_signing_is_accepted(
    client: Any,
    keyring: Keyring,
    now_ms: int,
    host_name: str,
    signed_host: str,
    payload_hash: str,
    sends_hash: bool,
) -> None:
    sent = {"host": "localhost:8760", "x-amz-date": DATE_TIME}
    if sends_hash:
        sent["x-amz-content-sha256"] = payload_hash
    signed = {name: value for name, value in sent.items() if name != "host"} | {host_name: signed_host}
    request = sign_as(client.credentials, signed, sent, payload_hash)
    keyring.verify_request(request, now_ms)


def test_a_changed_header_is_refused(client: Any, keyring: Keyring, now_ms: int) -> None:
    request = client.request()
    changed = {**request.headers, "x-amzn-transcribe-type": "DICTATION"}
    assert code_of(keyring, replace(request, headers=changed), now_ms) == "InvalidSignatureException"


def test_a_missing_signed_header_is_refused(client: Any, keyring: Keyring, now_ms: int) -> None:
    request = client.request()
    rest = {name: value for name, value in request.headers.items() if name != "x-amzn-transcribe-type"}
    assert code_of(keyring, replace(request, headers=rest), now_ms) == "InvalidSignatureException"


def test_another_method_path_or_query_is_refused(client: Any, keyring: Keyring, now_ms: int) -> None:
    request = client.request()
    for changed in (
        replace(request, method="GET"),
        replace(request, path="/stream-transcription"),
        replace(request, query="x=1"),
    ):
        assert code_of(keyring, changed, now_ms) == "InvalidSignatureException"


def test_another_secret_is_refused(make_client: Callable[..., Any], keyring: Keyring, now_ms: int) -> None:
    client = make_client(credentials=Credentials("AKIDTEST", "another secret"))
    assert code_of(keyring, client.request(), now_ms) == "InvalidSignatureException"


def test_an_unknown_key_is_refused(make_client: Callable[..., Any], keyring: Keyring, now_ms: int) -> None:
    client = make_client(credentials=Credentials("AKIDOTHER", "a secret of the tests"))
    assert code_of(keyring, client.request(), now_ms) == "UnrecognizedClientException"


def test_another_region_is_refused_naming_both(
    make_client: Callable[..., Any], keyring: Keyring, now_ms: int
) -> None:
    request = make_client(region="eu-west-1").request()
    with pytest.raises(ServiceFault, match=r"'us-east-1'.*'eu-west-1'") as caught:
        keyring.verify_request(request, now_ms)
    assert caught.value.code == "InvalidSignatureException"


def test_another_service_is_refused(client: Any, keyring: Keyring, now_ms: int) -> None:
    request = client.request()
    authorization = request.headers["authorization"].replace("/transcribe/", "/s3/")
    changed = {**request.headers, "authorization": authorization}
    assert code_of(keyring, replace(request, headers=changed), now_ms) == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        ("Bearer x", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=a/b", "IncompleteSignatureException"),
    ],
)
def test_a_request_that_is_not_signed_is_refused(
    client: Any, keyring: Keyring, now_ms: int, authorization: str | None, code: str
) -> None:
    request = client.request()
    headers = {name: value for name, value in request.headers.items() if name != "authorization"}
    if authorization is not None:
        headers["authorization"] = authorization
    assert code_of(keyring, replace(request, headers=headers), now_ms) == code


def test_a_request_without_signed_host_is_refused(client: Any, keyring: Keyring, now_ms: int) -> None:
    request = sign_as(
        client.credentials, {"x-amz-date": DATE_TIME}, {"x-amz-date": DATE_TIME}, EMPTY_PAYLOAD_SHA256
    )
    assert code_of(keyring, request, now_ms) == "InvalidSignatureException"


@pytest.mark.parametrize("date_time", ["", "20261122T170435Z", "20261123T17:04:35Z"])
def test_a_date_that_does_not_fit_is_refused(
    client: Any, keyring: Keyring, now_ms: int, date_time: str
) -> None:
    request = client.request()
    changed = {**request.headers, "x-amz-date": date_time}
    assert code_of(keyring, replace(request, headers=changed), now_ms) == "IncompleteSignatureException"


@pytest.mark.parametrize(
    ("late_ms", "text"),
    [(FIVE_MINUTES_MS + 1000, "Signature expired"), (-FIVE_MINUTES_MS - 1000, "not yet current")],
)
def test_an_old_or_early_request_is_refused(
    client: Any, keyring: Keyring, now_ms: int, late_ms: int, text: str
) -> None:
    request = client.request()
    keyring.verify_request(request, now_ms + late_ms * 9 // 10)
    with pytest.raises(ServiceFault, match=text):
        keyring.verify_request(request, now_ms + late_ms)


def test_secrets_are_hidden_from_repr(client: Any, keyring: Keyring) -> None:
    assert "a secret" not in repr(keyring)
    assert client.request().headers["authorization"] not in repr(client.request())


# The events ---------------------------------------------------------------------


@pytest.fixture
def verifier(client: Any, keyring: Keyring, now_ms: int) -> EventVerifier:
    return keyring.verify_request(client.request(), now_ms)


def verify(verifier: EventVerifier, data: bytes, now_ms: int) -> bytes:
    return verifier.verify(decode_message(data), now_ms)


def test_a_chain_is_followed_to_its_end(client: Any, verifier: EventVerifier, now_ms: int) -> None:
    for number in range(5):
        moment = now_ms + 100 * number
        audio = bytes([number]) * 10
        assert decode_message(verify(verifier, client.event(audio, moment), moment)).payload == audio
    assert verify(verifier, client.end(), now_ms) == b""


def test_a_chain_goes_on_over_midnight(client: Any, keyring: Keyring, now_ms: int) -> None:
    """The signing key is of the event's day, not of the request's."""
    midnight_ms = now_ms - now_ms % 86_400_000 + 86_400_000
    client.now_ms = midnight_ms - 1000
    verifier = keyring.verify_request(client.request(), client.now_ms)
    verify(verifier, client.event(b"ab", midnight_ms - 1), midnight_ms)
    verify(verifier, client.event(b"cd", midnight_ms + 1), midnight_ms)


def test_a_repeated_event_is_refused(client: Any, verifier: EventVerifier, now_ms: int) -> None:
    event = client.event(b"ab")
    verify(verifier, event, now_ms)
    with pytest.raises(ServiceFault, match="does not match"):
        verify(verifier, event, now_ms)


def test_a_missing_event_is_refused(client: Any, verifier: EventVerifier, now_ms: int) -> None:
    client.event(b"ab")
    with pytest.raises(ServiceFault, match="does not match"):
        verify(verifier, client.event(b"cd"), now_ms)


@given(at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_tampered_payload_is_refused(
    client: Any, keyring: Keyring, now_ms: int, at: int, flip: int
) -> None:
    verifier = keyring.verify_request(client.request(), now_ms)
    message = decode_message(client.event(bytes(range(100))))
    payload = bytearray(message.payload)
    payload[at % len(payload)] ^= flip
    with pytest.raises(ServiceFault, match="does not match"):
        verifier.verify(replace(message, payload=bytes(payload)), now_ms)


def test_a_changed_date_is_refused(client: Any, verifier: EventVerifier, now_ms: int) -> None:
    message = decode_message(client.event(b"ab"))
    changed = {**message.headers, ":date": Timestamp(now_ms + 1)}
    with pytest.raises(ServiceFault, match="does not match"):
        verifier.verify(replace(message, headers=changed), now_ms)


@pytest.mark.parametrize("missing", [":date", ":chunk-signature"])
def test_an_unsigned_event_is_refused(
    client: Any, verifier: EventVerifier, now_ms: int, missing: str
) -> None:
    message = decode_message(client.event(b"ab"))
    rest = {name: value for name, value in message.headers.items() if name != missing}
    with pytest.raises(ServiceFault, match="could not be verified"):
        verify(verifier, encode_message(rest, message.payload), now_ms)


def test_an_event_processed_after_five_minutes_is_refused_in_the_services_words(
    client: Any, verifier: EventVerifier, now_ms: int
) -> None:
    event = client.event(b"ab")
    expected = (
        "Signature expired: 20261123T170435Z is now earlier than 20261123T170436Z (20261123T170936Z - 5 min.)"
    )
    with pytest.raises(ServiceFault) as caught:
        verify(verifier, event, now_ms + FIVE_MINUTES_MS + 1000)
    assert caught.value.message == expected
    assert caught.value.code == "BadRequestException"


def test_the_decoder_and_the_verifier_agree_on_bytes_cut_anywhere(
    client: Any, verifier: EventVerifier, now_ms: int
) -> None:
    data = client.event(b"ab") + client.event(b"cd") + client.end()
    decoder = MessageDecoder()
    payloads = []
    for position in range(len(data)):
        decoder.feed(data[position : position + 1])
        payloads += [verifier.verify(message, now_ms) for message in decoder]
    assert [bool(payload) for payload in payloads] == [True, True, False]
