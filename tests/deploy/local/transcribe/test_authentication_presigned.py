"""Presigned URLs: every way of making them is accepted, anything changed or late is refused by name."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Sequence
from random import Random
from time import strptime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import SIGNATURE_PARAMETER, WEBSOCKET_PATH, presign_websocket
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    Credentials,
    CredentialScope,
    canonical_request,
    derive_signing_key,
    request_signature,
)
from deploy.local.transcribe.authentication import Keyring, SignedHttpRequest
from deploy.local.transcribe.errors import ServiceFault

HOST = "localhost:8443"
REGION = "us-east-1"
CREDENTIALS = Credentials("AKIDTEST", "a secret of the tests")
WITH_TOKEN = Credentials("AKIDTEST", "a secret of the tests", "a/token+of the tests==")
DATE_TIME = "20261123T170435Z"
Pairs = Sequence[tuple[str, str]]


def presigned(
    now_ms: int, *, credentials: Credentials = WITH_TOKEN, host: str = HOST, **options: Any
) -> SignedHttpRequest:
    """A request with our client's URL."""
    parameters = StartMedicalStreamTranscriptionRequest(vocabulary_name="heart")
    url = presign_websocket(host, parameters, credentials, REGION, now_ms, **options)
    return request(url, host)


def request(url: str, host: str = HOST) -> SignedHttpRequest:
    parts = urlsplit(url)
    return SignedHttpRequest("GET", parts.path, parts.query, {"host": host})


def with_pairs(original: SignedHttpRequest, pairs: Pairs) -> SignedHttpRequest:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return SignedHttpRequest(original.method, original.path, query, original.headers)


def pairs_of(original: SignedHttpRequest) -> list[tuple[str, str]]:
    return parse_qsl(original.query, keep_blank_values=True)


def replaced(original: SignedHttpRequest, name: str, value: str) -> SignedHttpRequest:
    pairs = [(key, value if key == name else old) for key, old in pairs_of(original)]
    assert (name, value) in pairs
    return with_pairs(original, pairs)


def fault_of(keyring: Keyring, changed: SignedHttpRequest, now_ms: int) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        keyring.verify_presigned(changed, now_ms)
    return caught.value


def signed_by_hand(pairs: Pairs, header: str = "host") -> SignedHttpRequest:
    """A URL with just these parameters, signed, and one header."""
    canonical = canonical_request("GET", WEBSOCKET_PATH, pairs, [(header, HOST)], EMPTY_PAYLOAD_SHA256)
    scope = CredentialScope(DATE_TIME[:8], REGION)
    key = derive_signing_key(CREDENTIALS.secret_access_key, scope.date, REGION)
    signature = request_signature(key, canonical, DATE_TIME, scope)
    bare = SignedHttpRequest("GET", WEBSOCKET_PATH, "", {header: HOST})
    return with_pairs(bare, [*pairs, (SIGNATURE_PARAMETER, signature)])


OWN = [
    ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
    ("X-Amz-Credential", f"AKIDTEST/{DATE_TIME[:8]}/{REGION}/transcribe/aws4_request"),
    ("X-Amz-Date", DATE_TIME),
    ("X-Amz-Expires", "60"),
    ("X-Amz-SignedHeaders", "host"),
    ("language-code", "en-US"),
]


# What is accepted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "localhost", "127.0.0.1:40000", "[::1]:8443"])
@pytest.mark.parametrize("credentials", [CREDENTIALS, WITH_TOKEN], ids=["no-token", "token"])
def test_our_clients_url_is_accepted(
    keyring: Keyring, now_ms: int, host: str, credentials: Credentials
) -> None:
    keyring.verify_presigned(presigned(now_ms, host=host, credentials=credentials), now_ms)


@pytest.mark.parametrize("token", [None, "a/token+of the tests=="])
def test_botocores_url_is_accepted(keyring: Keyring, token: str | None) -> None:
    credentials = botocore.credentials.Credentials(
        CREDENTIALS.access_key_id, CREDENTIALS.secret_access_key, token
    )
    url = f"https://{HOST}{WEBSOCKET_PATH}?language-code=en-US&vocabulary-name=a%2Fb%20c"
    signed = botocore.awsrequest.AWSRequest("GET", url)
    botocore.auth.SigV4QueryAuth(credentials, "transcribe", REGION, expires=60).add_auth(signed)
    ours = request(signed.url)
    date_time = dict(pairs_of(ours))["X-Amz-Date"]
    keyring.verify_presigned(ours, timegm(strptime(date_time, "%Y%m%dT%H%M%SZ")) * 1000)


def test_the_javascript_sdks_url_is_accepted(keyring: Keyring, now_ms: int) -> None:
    """It signs a user agent in the query, for sixty seconds, and always a session id; the port is 8443."""
    pairs = [
        *OWN,
        ("media-encoding", "pcm"),
        ("sample-rate", "16000"),
        ("session-id", "12345678-1234-1234-1234-123456789abc"),
        ("specialty", "PRIMARYCARE"),
        ("type", "DICTATION"),
        ("x-amz-user-agent", "aws-sdk-js/3.1141.0 ua/2.1 os/linux lang/js md/nodejs#20.11.0 m/E,Z"),
    ]
    keyring.verify_presigned(signed_by_hand(pairs), now_ms)


def test_the_order_of_the_query_is_of_no_importance(keyring: Keyring, now_ms: int) -> None:
    original = presigned(now_ms)
    pairs = pairs_of(original)
    Random(1).shuffle(pairs)  # noqa: S311 - no secret
    keyring.verify_presigned(with_pairs(original, pairs), now_ms)


def test_the_host_may_have_been_signed_without_its_port(keyring: Keyring, now_ms: int) -> None:
    signed = presigned(now_ms, host="localhost")
    received = SignedHttpRequest(signed.method, signed.path, signed.query, {"host": HOST})
    keyring.verify_presigned(received, now_ms)


def test_a_url_of_another_day_is_good_over_midnight(keyring: Keyring, now_ms: int) -> None:
    midnight_ms = now_ms - now_ms % 86_400_000 + 86_400_000
    keyring.verify_presigned(presigned(midnight_ms - 1000), midnight_ms + 1000)


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA512", "IncompleteSignatureException"),
        ("X-Amz-Credential", "AKIDTEST", "IncompleteSignatureException"),
        (
            "X-Amz-Credential",
            "AKIDOTHER/20261123/us-east-1/transcribe/aws4_request",
            "UnrecognizedClientException",
        ),
        (
            "X-Amz-Credential",
            "AKIDTEST/20261123/eu-west-1/transcribe/aws4_request",
            "InvalidSignatureException",
        ),
        ("X-Amz-Credential", "AKIDTEST/20261123/us-east-1/s3/aws4_request", "InvalidSignatureException"),
        (
            "X-Amz-Credential",
            "AKIDTEST/20261122/us-east-1/transcribe/aws4_request",
            "IncompleteSignatureException",
        ),
        ("X-Amz-Date", "20261123T170436Z", "InvalidSignatureException"),
        ("X-Amz-Date", "20261123", "IncompleteSignatureException"),
        ("X-Amz-Date", "", "IncompleteSignatureException"),
        ("X-Amz-Expires", "299", "InvalidSignatureException"),
        ("X-Amz-Expires", "0", "BadRequestException"),
        ("X-Amz-Expires", "301", "BadRequestException"),
        ("X-Amz-Expires", "-1", "IncompleteSignatureException"),
        ("X-Amz-Expires", "soon", "IncompleteSignatureException"),
        ("X-Amz-Expires", "1" * 7, "IncompleteSignatureException"),
        ("X-Amz-Security-Token", "another token", "InvalidSignatureException"),
        ("X-Amz-SignedHeaders", "host;x-amz-date", "InvalidSignatureException"),
        ("X-Amz-SignedHeaders", "x-amz-date", "InvalidSignatureException"),
        ("X-Amz-SignedHeaders", "", "IncompleteSignatureException"),
        ("X-Amz-Signature", "0" * 64, "InvalidSignatureException"),
        ("X-Amz-Signature", "0" * 63, "IncompleteSignatureException"),
        ("X-Amz-Signature", "é" * 64, "IncompleteSignatureException"),
        ("language-code", "en-GB", "InvalidSignatureException"),
        ("media-encoding", "flac", "InvalidSignatureException"),
        ("sample-rate", "8000", "InvalidSignatureException"),
        ("specialty", "UROLOGY", "InvalidSignatureException"),
        ("type", "DICTATION", "InvalidSignatureException"),
        ("vocabulary-name", "lung", "InvalidSignatureException"),
    ],
)
def test_a_changed_parameter_is_refused(
    keyring: Keyring, now_ms: int, name: str, value: str, code: str
) -> None:
    assert fault_of(keyring, replaced(presigned(now_ms), name, value), now_ms).code == code


def test_a_parameter_more_or_less_is_refused(keyring: Keyring, now_ms: int) -> None:
    original = presigned(now_ms)
    pairs = pairs_of(original)
    for number in range(len(pairs)):
        fault_of(keyring, with_pairs(original, pairs[:number] + pairs[number + 1 :]), now_ms)
    added = with_pairs(original, [*pairs, ("show-speaker-label", "true")])
    assert fault_of(keyring, added, now_ms).code == "InvalidSignatureException"
    assert fault_of(keyring, with_pairs(original, []), now_ms).code == "IncompleteSignatureException"


@pytest.mark.parametrize("name", ["type", "X-Amz-Expires", "X-Amz-Signature"])
def test_a_parameter_given_twice_is_refused(keyring: Keyring, now_ms: int, name: str) -> None:
    original = presigned(now_ms)
    pairs = pairs_of(original)
    fault = fault_of(keyring, with_pairs(original, [*pairs, (name, dict(pairs)[name])]), now_ms)
    assert (fault.code, fault.message) == (
        "IncompleteSignatureException",
        f"the query parameter {name!r} is given twice.",
    )


def test_another_method_path_or_host_is_refused(keyring: Keyring, now_ms: int) -> None:
    original = presigned(now_ms)
    for changed in (
        SignedHttpRequest("POST", original.path, original.query, original.headers),
        SignedHttpRequest("GET", "/stream-transcription-websocket", original.query, original.headers),
        SignedHttpRequest("GET", original.path, original.query, {"host": "elsewhere:8443"}),
        SignedHttpRequest("GET", original.path, original.query, {"host": "localhost:8444"}),
        SignedHttpRequest("GET", original.path, original.query, {}),
    ):
        assert fault_of(keyring, changed, now_ms).code == "InvalidSignatureException"


def test_a_url_that_is_good_for_any_host_is_refused(keyring: Keyring, now_ms: int) -> None:
    pairs = list((dict(OWN) | {"X-Amz-SignedHeaders": "x-other"}).items())
    fault = fault_of(keyring, signed_by_hand(pairs, "x-other"), now_ms)
    assert (fault.code, "'Host' must be" in fault.message) == ("InvalidSignatureException", True)


def test_another_secret_is_refused(keyring: Keyring, now_ms: int) -> None:
    stranger = presigned(now_ms, credentials=Credentials("AKIDTEST", "another secret"))
    assert fault_of(keyring, stranger, now_ms).code == "InvalidSignatureException"


@pytest.mark.parametrize("expires_seconds", [0, 301])
def test_a_url_may_not_be_good_for_longer_than_five_minutes_nor_for_no_time(
    keyring: Keyring, now_ms: int, expires_seconds: int
) -> None:
    fault = fault_of(keyring, presigned(now_ms, expires_seconds=expires_seconds), now_ms)
    assert (fault.code, fault.message) == (
        "BadRequestException",
        "X-Amz-Expires must be 1 to 300 seconds.",
    )


@pytest.mark.parametrize("expires_seconds", [1, 60, 90, 300])
def test_a_url_is_good_for_as_long_as_it_says(keyring: Keyring, now_ms: int, expires_seconds: int) -> None:
    signed_ms = now_ms - now_ms % 1000
    original = presigned(signed_ms, expires_seconds=expires_seconds)
    keyring.verify_presigned(original, signed_ms + expires_seconds * 1000)
    fault = fault_of(keyring, original, signed_ms + expires_seconds * 1000 + 1000)
    assert fault.code == "BadRequestException"
    assert fault.message.startswith("Signature expired: 20261123T170435Z is now earlier than ")
    assert f"- {expires_seconds / 60:g} min.)" in fault.message


def test_a_url_from_the_future_is_refused(keyring: Keyring, now_ms: int) -> None:
    original = presigned(now_ms)
    keyring.verify_presigned(original, now_ms - 299_000)
    assert "not yet current" in fault_of(keyring, original, now_ms - 301_000).message


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_character_of_the_query_is_overlooked(
    keyring: Keyring, now_ms: int, data: st.DataObject
) -> None:
    original = presigned(now_ms)
    at = data.draw(st.integers(0, len(original.query) - 1))
    character = data.draw(st.characters(max_codepoint=255) | st.sampled_from("&=%+;"))
    query = original.query[:at] + character + original.query[at + 1 :]
    changed = SignedHttpRequest("GET", original.path, query, original.headers)
    if sorted(pairs_of(changed)) == sorted(pairs_of(original)):
        keyring.verify_presigned(changed, now_ms)
    else:
        fault_of(keyring, changed, now_ms)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_query_is_refused_in_good_order(keyring: Keyring, now_ms: int, query: str) -> None:
    fault_of(keyring, SignedHttpRequest("GET", WEBSOCKET_PATH, query, {"host": HOST}), now_ms)
