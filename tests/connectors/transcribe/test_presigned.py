"""Presigned URLs against botocore's, the way back, and queries that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import AuthorizationFormatError
from connectors.transcribe.model import SPECIALTIES, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import (
    MAX_EXPIRES_SECONDS,
    SIGNATURE_PARAMETER,
    WEBSOCKET_PATH,
    header_names,
    parse_presigned,
    presign_websocket,
    query_parameters,
)
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    Credentials,
    amz_date,
    canonical_request,
    derive_signing_key,
    request_signature,
)

CREDENTIALS = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "token/with=signs+and spaces")
NOW_MS = 1_795_453_475_575  # 2026-11-23T17:04:35.575Z
AUTHORITY = "transcribestreaming.us-east-1.amazonaws.com:8443"
SESSION_ID = "01234567-89ab-cdef-0123-456789abcdef"

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=20)
credentials = st.builds(Credentials, words, printable, st.none() | printable)
regions = st.sampled_from(["us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1"])
authorities = st.sampled_from([AUTHORITY, "example.test", "127.0.0.1:9000", "[::1]:9000"])
moments = st.integers(0, 4_102_444_800_000)  # to the year 2100
requests = st.builds(
    StartMedicalStreamTranscriptionRequest,
    media_sample_rate_hertz=st.integers(8000, 48_000),
    media_encoding=st.sampled_from(["pcm", "flac", "ogg-opus"]),
    specialty=st.sampled_from(SPECIALTIES),
    type=st.sampled_from(["CONVERSATION", "DICTATION"]),
    vocabulary_name=st.none() | st.text("azAZ09._-", min_size=1, max_size=20),
    session_id=st.none() | st.just(SESSION_ID),
    show_speaker_label=st.booleans(),
    content_identification_type=st.none() | st.just("PHI"),
)


def presign(one: Credentials = CREDENTIALS, now_ms: int = NOW_MS, **parameters: object) -> str:
    request = StartMedicalStreamTranscriptionRequest(**parameters)  # type: ignore[arg-type]
    return presign_websocket(AUTHORITY, request, one, "us-east-1", now_ms)


def pairs_of(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


def botocore_url(
    authority: str,
    request: StartMedicalStreamTranscriptionRequest,
    one: Credentials,
    region: str,
    now_ms: int,
    expires_seconds: int,
) -> str:
    """The URL that botocore presigns for the same request at the same time."""
    now = datetime.fromtimestamp(now_ms // 1000, UTC).replace(tzinfo=None)
    oracle = BotocoreCredentials(one.access_key_id, one.secret_access_key, one.session_token)
    # The scheme has no part in the signature; botocore leaves out the port of those it knows.
    plain = AWSRequest("GET", f"wss://{authority}{WEBSOCKET_PATH}", params=query_parameters(request))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: now)
        auth = botocore.auth.SigV4QueryAuth(oracle, "transcribe", region, expires=expires_seconds)
        auth.add_auth(plain)
    return str(plain.url)


@given(authorities, requests, credentials, regions, moments, st.integers(1, MAX_EXPIRES_SECONDS))
def test_botocore_presigns_the_same(
    authority: str,
    request: StartMedicalStreamTranscriptionRequest,
    one: Credentials,
    region: str,
    now_ms: int,
    expires_seconds: int,
) -> None:
    ours = presign_websocket(authority, request, one, region, now_ms, expires_seconds=expires_seconds)
    theirs = botocore_url(authority, request, one, region, now_ms, expires_seconds)
    path, _, query = ours.partition("?")
    assert path == urlsplit(theirs).path == WEBSOCKET_PATH
    # The same encoded pairs, the signature among them; botocore puts the operation's own first.
    assert sorted(query.split("&")) == sorted(urlsplit(theirs).query.split("&"))


@given(authorities, requests, credentials, regions, moments)
def test_what_was_presigned_is_read_back_and_verifies(
    authority: str,
    request: StartMedicalStreamTranscriptionRequest,
    one: Credentials,
    region: str,
    now_ms: int,
) -> None:
    pairs = pairs_of(presign_websocket(authority, request, one, region, now_ms))
    read = parse_presigned(pairs)
    scope = read.authorization.scope
    assert (read.authorization.access_key_id, scope.region) == (one.access_key_id, region)
    assert (read.date_time, scope.date) == (amz_date(now_ms), amz_date(now_ms)[:8])
    assert read.expires_seconds == MAX_EXPIRES_SECONDS
    assert read.authorization.signed_headers == ("host",)
    assert SIGNATURE_PARAMETER not in dict(read.signed)
    canonical = canonical_request(
        "GET", WEBSOCKET_PATH, read.signed, [("host", authority)], EMPTY_PAYLOAD_SHA256
    )
    key = derive_signing_key(one.secret_access_key, scope.date, region)
    assert request_signature(key, canonical, read.date_time, scope) == read.authorization.signature
    assert StartMedicalStreamTranscriptionRequest.from_headers(header_names(dict(pairs))) == request


def test_the_query_is_in_order_and_fully_encoded() -> None:
    url = presign(session_id=SESSION_ID)
    *signed, signature = urlsplit(url).query.split("&")
    names = [pair.partition("=")[0] for pair in signed]
    assert names == sorted(names)
    assert signature.startswith("X-Amz-Signature=")
    assert "X-Amz-Security-Token=token%2Fwith%3Dsigns%2Band%20spaces" in signed
    assert "X-Amz-Credential=AKIDSYNTHETIC%2F20261123%2Fus-east-1%2Ftranscribe%2Faws4_request" in signed
    assert f"session-id={SESSION_ID}" in signed


def test_without_a_session_token_there_is_no_parameter_for_it() -> None:
    assert "X-Amz-Security-Token" not in presign(Credentials("AKIDSYNTHETIC", "secretEXAMPLE"))


@pytest.mark.parametrize(
    ("other", "now_ms", "parameters"),
    [
        (Credentials("AKIDSYNTHETIC", "otherEXAMPLE", CREDENTIALS.session_token), NOW_MS, {}),
        (Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "another token"), NOW_MS, {}),
        (CREDENTIALS, NOW_MS + 1000, {}),
        (CREDENTIALS, NOW_MS, {"specialty": "UROLOGY"}),
    ],
)
def test_a_change_anywhere_changes_the_signature(
    other: Credentials, now_ms: int, parameters: dict[str, object]
) -> None:
    def signature(url: str) -> str:
        return parse_presigned(pairs_of(url)).authorization.signature

    assert signature(presign(other, now_ms, **parameters)) != signature(presign())


PARAMETERS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_missing_parameter_is_named(name: str) -> None:
    pairs = [pair for pair in pairs_of(presign()) if pair[0] != name]
    with pytest.raises(AuthorizationFormatError, match=f"{name} is not"):
        parse_presigned(pairs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA512"),
        ("X-Amz-Algorithm", ""),
        ("X-Amz-Credential", "AKIDSYNTHETIC"),
        ("X-Amz-Credential", "AKID/20261123/us-east-1/transcribe"),
        ("X-Amz-Credential", "AKID/2026-11-23/us-east-1/transcribe/aws4_request"),
        ("X-Amz-Credential", "AKID/٢٠٢٦١١٢٣/us-east-1/transcribe/aws4_request"),
        ("X-Amz-Credential", "/20261123/us-east-1/transcribe/aws4_request"),
        ("X-Amz-Credential", "AKID/20261123/us-east-1/transcribe/aws4_request/more"),
        ("X-Amz-Date", "2026-11-23T17:04:35Z"),
        ("X-Amz-Date", "20261123"),
        ("X-Amz-Expires", "soon"),
        ("X-Amz-Expires", "-1"),
        ("X-Amz-Expires", "300.0"),
        ("X-Amz-Expires", "1" * 5000),
        ("X-Amz-Expires", "٣٠٠"),
        ("X-Amz-SignedHeaders", ""),
        ("X-Amz-SignedHeaders", "host;"),
        ("X-Amz-Signature", "0"),
        ("X-Amz-Signature", "A" * 64),
        ("X-Amz-Signature", "a" * 64 + "\n"),
    ],
)
def test_a_malformed_parameter_is_named_and_its_value_is_not_repeated(name: str, value: str) -> None:
    pairs = [(key, value if key == name else old) for key, old in pairs_of(presign())]
    with pytest.raises(AuthorizationFormatError, match=f"{name} is not") as caught:
        parse_presigned(pairs)
    assert not value or value not in str(caught.value)
    assert CREDENTIALS.session_token not in str(caught.value)


@pytest.mark.parametrize("name", ["X-Amz-Date", "specialty", "n" * 500])
def test_a_parameter_given_twice_is_named(name: str) -> None:
    pairs = [*pairs_of(presign()), (name, "1"), (name, "2")]
    with pytest.raises(AuthorizationFormatError, match=name[:40]) as caught:
        parse_presigned(pairs)
    assert len(str(caught.value)) < 120


@given(
    st.lists(st.tuples(st.sampled_from(PARAMETERS) | st.text(max_size=5), st.text(max_size=12)), max_size=9)
)
def test_arbitrary_queries_raise_that_error_only(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(AuthorizationFormatError):
        parse_presigned(pairs)


def test_nothing_secret_shows_in_what_was_read() -> None:
    read = parse_presigned(pairs_of(presign()))
    assert read.authorization.signature not in repr(read)
    assert CREDENTIALS.session_token is not None
    assert CREDENTIALS.session_token not in repr(read)
    assert urlencode({"": CREDENTIALS.session_token})[1:] not in repr(read)
