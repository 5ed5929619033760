"""Signatures against botocore, the retired Amazon Python SDK, published vectors and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import botocore.auth
import pytest
from amazon_transcribe.auth import Credentials as OracleCredentials
from amazon_transcribe.eventstream import EventSigner as OracleSigner
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe import sigv4
from connectors.transcribe.errors import AuthorizationFormatError, HeaderError, ParameterError
from connectors.transcribe.eventstream import Message, Timestamp, decode_message
from connectors.transcribe.sigv4 import (
    STREAMING_EVENTS_PAYLOAD,
    Authorization,
    Credentials,
    CredentialScope,
    EventSigner,
    SignedRequest,
    amz_date,
    canonical_request,
    derive_signing_key,
    event_signature,
    format_authorization,
    parse_authorization,
    parse_signed_event,
    request_signature,
    sign_request,
)

CREDENTIALS = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "token/with=signs")
NOW_MS = 1_795_453_475_575  # 2026-11-23T17:04:35.575Z
SEED = "0" * 64

tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)


def sign(headers: dict[str, str], credentials: Credentials = CREDENTIALS) -> SignedRequest:
    return sign_request(
        "POST",
        "example.test:8443",
        "/medical-stream-transcription",
        headers,
        credentials,
        "us-east-1",
        NOW_MS,
    )


def botocore_authorization(
    monkeypatch: pytest.MonkeyPatch, signed: SignedRequest, credentials: Credentials
) -> str:
    """What botocore signs for the same request at the same time."""
    now = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))
    given_headers = {
        name: value
        for name, value in signed.headers.items()
        if name not in ("authorization", "x-amz-security-token", "x-amz-date")
    }
    request = AWSRequest(
        "POST", "https://example.test:8443/medical-stream-transcription", headers=given_headers
    )
    oracle = BotocoreCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    botocore.auth.SigV4Auth(oracle, "transcribe", "us-east-1").add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize("session_token", [None, "token/with=signs"])
def test_botocore_signs_the_request_alike(monkeypatch: pytest.MonkeyPatch, session_token: str | None) -> None:
    credentials = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", session_token)
    signed = sign({"X-Amzn-Transcribe-Specialty": "CARDIOLOGY", "x-spaced": "a   b"}, credentials)
    assert signed.headers["authorization"] == botocore_authorization(monkeypatch, signed, credentials)
    assert signed.headers["x-amz-content-sha256"] == STREAMING_EVENTS_PAYLOAD
    assert signed.headers.get("x-amz-security-token") == session_token
    assert signed.headers["authorization"].endswith(signed.seed_signature)


@given(st.dictionaries(tokens.map("x-".__add__), header_values, max_size=5))
def test_botocore_signs_any_headers_alike(headers: dict[str, str]) -> None:
    signed = sign(headers)
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert signed.headers["authorization"] == botocore_authorization(monkeypatch, signed, CREDENTIALS)


def test_published_vector_get_vanilla() -> None:
    """AWS's Signature Version 4 test suite, case get-vanilla."""
    scope = CredentialScope("20150830", "us-east-1", "service")
    key = derive_signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "service")
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]
    canonical = canonical_request("GET", "/", [], headers, sha256(b"").hexdigest())
    signature = request_signature(key, canonical, "20150830T123600Z", scope)
    assert signature == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_botocore_writes_queries_alike(query: list[tuple[str, str]]) -> None:
    oracle = botocore.auth.SigV4Auth(BotocoreCredentials("a", "b"), "transcribe", "us-east-1")
    request = AWSRequest("GET", "https://example.test/", params=query)
    expected = oracle.canonical_query_string(request)
    assert canonical_request("GET", "/", query, [], "").split("\n")[2] == expected


def test_authority_may_stand_for_host() -> None:
    """The JavaScript SDK signs `:authority`; it sorts before every other header."""
    canonical = canonical_request("POST", "/", [], [("x-a", "1"), (":authority", "h:1")], "p")
    assert canonical == "POST\n/\n\n:authority:h:1\nx-a:1\n\n:authority;x-a\np"


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1"])
def test_authorization_round_trip(region: str) -> None:
    parts = Authorization("AKID", CredentialScope("20261123", region), ("host", "x-amz-date"), "a" * 64)
    assert parse_authorization(format_authorization(parts)) == parts


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer secret-thing",
        "AWS4-HMAC-SHA256 Credential=A/20261123/us-east-1/transcribe, SignedHeaders=host, Signature="
        + "a" * 64,
        "AWS4-HMAC-SHA256 Credential=A/20261123/r/transcribe/aws4_request, SignedHeaders=host, Signature=0",
    ],
)
def test_other_authorizations_are_refused_without_their_value(value: str) -> None:
    with pytest.raises(AuthorizationFormatError) as caught:
        parse_authorization(value)
    assert "secret-thing" not in str(caught.value)


def test_own_vector_of_the_end_event() -> None:
    """Computed once with other code from the documented recipe."""
    signer = EventSigner(Credentials("AKID", "secretEXAMPLE"), "us-east-1", SEED)
    message = decode_message(signer.sign_end(NOW_MS))
    signature = message.headers[":chunk-signature"]
    assert isinstance(signature, bytes)
    assert signature.hex() == "2eaa9b107af93475b3f26512546a005c582a608fb0570f2cedae4049f87f1baa"
    assert message.headers[":date"] == Timestamp(NOW_MS)
    assert parse_signed_event(message).is_end


def test_sizes_are_those_of_recorded_traffic() -> None:
    signer = EventSigner(CREDENTIALS, "us-east-1", SEED)
    assert len(signer.sign_end(NOW_MS)) == 83
    assert len(signer.sign(bytes(8192 + 104), NOW_MS)) == 8379


@given(st.lists(st.tuples(st.binary(max_size=64), st.integers(0, 36_000_000)), min_size=1, max_size=6))
def test_a_chain_is_what_server_functions_and_the_retired_sdk_compute(
    events: list[tuple[bytes, int]],
) -> None:
    signer = EventSigner(CREDENTIALS, "us-east-1", SEED)
    prior, now_ms = SEED, NOW_MS
    for payload, step_ms in events:
        now_ms += step_ms  # hours at times, so chains cross midnight
        event = parse_signed_event(decode_message(signer.sign(payload, now_ms)))
        date = amz_date(now_ms)[:8]
        key = derive_signing_key(CREDENTIALS.secret_access_key, date, "us-east-1")
        scope = CredentialScope(date, "us-east-1")
        assert event.payload == payload
        assert event.date_ms == now_ms
        assert event.signature == event_signature(key, scope, prior, now_ms, payload)
        assert event.signature == oracle_signature(payload, now_ms, prior)
        prior = event.signature.hex()


def oracle_signature(payload: bytes, now_ms: int, prior: str) -> bytes:
    """The signature amazon-transcribe 0.6.4 computes for the same event."""
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)
    oracle = OracleSigner("transcribe", "us-east-1", lambda: now)
    credentials = OracleCredentials(CREDENTIALS.access_key_id, CREDENTIALS.secret_access_key)
    signature = oracle.sign(payload, bytes.fromhex(prior), credentials)[":chunk-signature"]
    assert isinstance(signature, bytes)
    return signature


def test_a_change_anywhere_changes_the_signature() -> None:
    key = derive_signing_key("secretEXAMPLE", "20261123", "us-east-1")
    scope = CredentialScope("20261123", "us-east-1")
    base = event_signature(key, scope, SEED, NOW_MS, b"audio")
    others = [
        event_signature(derive_signing_key("other", "20261123", "us-east-1"), scope, SEED, NOW_MS, b"audio"),
        event_signature(key, CredentialScope("20261123", "eu-west-1"), SEED, NOW_MS, b"audio"),
        event_signature(key, scope, "1" * 64, NOW_MS, b"audio"),
        event_signature(key, scope, SEED, NOW_MS + 1, b"audio"),  # within the second: only :date tells
        event_signature(key, scope, SEED, NOW_MS, b"audiO"),
    ]
    assert base not in others


def test_milliseconds_are_cut_from_the_date() -> None:
    assert amz_date(NOW_MS) == amz_date(1_795_453_475_999) == "20261123T170435Z"


@pytest.mark.parametrize("headers", [{}, {":date": 5}, {":date": Timestamp(1), ":chunk-signature": "text"}])
def test_events_without_date_or_signature_are_refused(headers: dict[str, object]) -> None:
    with pytest.raises(HeaderError):
        parse_signed_event(Message(headers, b""))  # type: ignore[arg-type]


def test_a_seed_that_is_no_signature_is_refused() -> None:
    with pytest.raises(ParameterError):
        EventSigner(CREDENTIALS, "us-east-1", "xyz")


def test_nothing_secret_shows() -> None:
    signed = sign({})
    signer = EventSigner(CREDENTIALS, "us-east-1", signed.seed_signature)
    shown = (
        repr(CREDENTIALS)
        + repr(signed)
        + repr(signer)
        + repr(parse_authorization(signed.headers["authorization"]))
    )
    for secret in ("secretEXAMPLE", "token/with=signs", signed.seed_signature):
        assert secret not in shown
    assert "AKIDSYNTHETIC" in shown
    assert sigv4.SERVICE == "transcribe"
