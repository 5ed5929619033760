"""Signature Version 4 of a Transcribe stream: the request, then each event in a chain.

The request is signed like any AWS request, except that its payload hash is the word
`STREAMING-AWS4-HMAC-SHA256-EVENTS`. Its signature is the seed of a chain: every event is wrapped in an outer
event-stream message with its `:date` and a `:chunk-signature` over that date, the event's bytes and
the signature before it. The stream ends with one more outer message around nothing. A service refuses an
event whose date is more than five minutes old when it is processed.

Client side: `sign_request`, then one `EventSigner` per stream, which keeps the credentials it was given:
credentials that change inside a stream break the chain. Server side: `parse_authorization`,
`request_signature`, `event_signature`: the same functions, which the tests check against botocore.

Everything is pure; times are milliseconds since the epoch.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html (event signatures).
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote

from connectors.transcribe.errors import AuthorizationFormatError, HeaderError, ParameterError
from connectors.transcribe.eventstream import Message, Timestamp, frame

ALGORITHM = "AWS4-HMAC-SHA256"
EVENT_ALGORITHM = "AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_EVENTS_PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
EMPTY_PAYLOAD_SHA256 = sha256(b"").hexdigest()
SERVICE = "transcribe"
MAX_SIGNATURE_AGE_MS = 5 * 60 * 1000

# ":date" of type timestamp, and ":chunk-signature" of type bytes with 32 of them: fixed bytes around values.
_DATE_HEADER = struct.Struct(">6sBq")
_SIGNATURE_PREFIX = b"\x10:chunk-signature\x06\x00\x20"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Frozen credentials of one stream; the secrets are hidden from `repr`."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CredentialScope:
    """`YYYYMMDD/region/service/aws4_request`: the day, region and service a signing key is good for."""

    date: str
    region: str
    service: str = SERVICE

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """Every header to send, names in lower case, `host` included; and the chain's first signature in hex."""

    headers: Mapping[str, str] = field(repr=False)
    seed_signature: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of an `Authorization` header; `signed_headers` in the order sent."""

    access_key_id: str
    scope: CredentialScope
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


# Times and keys ----------------------------------------------------------------


def amz_date(now_ms: int) -> str:
    """`YYYYMMDDTHHMMSSZ` of the second that `now_ms` falls in (milliseconds are cut, not rounded)."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(now_ms // 1000))


def derive_signing_key(secret_access_key: str, date: str, region: str, service: str = SERVICE) -> bytes:
    """The 32-byte key for one `date` (`YYYYMMDD`), region and service."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac_sha256(key, part.encode())
    return key


def _hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


# The request -------------------------------------------------------------------


def canonical_request(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Iterable[tuple[str, str]],
    payload_hash: str,
) -> str:
    """The text that stands for a request.

    `path` as sent, without the query; `query` decoded pairs; `headers` exactly those that are signed,
    in any order (`:authority` allowed: the JavaScript SDK signs it in place of `host`).
    """
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in headers)
    return "\n".join(
        (
            method,
            quote(path or "/", safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in signed),
            "",
            ";".join(name for name, _ in signed),
            payload_hash,
        )
    )


def string_to_sign_request(canonical: str, date_time: str, scope: CredentialScope) -> str:
    """What is signed for a request; `date_time` is the `x-amz-date` header."""
    return "\n".join((ALGORITHM, date_time, str(scope), sha256(canonical.encode()).hexdigest()))


def request_signature(signing_key: bytes, canonical: str, date_time: str, scope: CredentialScope) -> str:
    """The hex signature of a canonical request: what `Authorization` must carry, and the events' seed."""
    return _hmac_sha256(signing_key, string_to_sign_request(canonical, date_time, scope).encode()).hex()


def sign_request(
    method: str,
    authority: str,
    path: str,
    headers: Mapping[str, str],
    credentials: Credentials,
    region: str,
    now_ms: int,
    *,
    query: Iterable[tuple[str, str]] = (),
    payload_hash: str = STREAMING_EVENTS_PAYLOAD,
) -> SignedRequest:
    """Sign a request; all `headers` are signed, with `host`, date, payload hash and session token added.

    `authority` is the host as sent, with its port unless it is the scheme's own. Over HTTP/2 leave `host` out
    and send it as `:authority`: servers treat them as one.
    """
    date_time = amz_date(now_ms)
    scope = CredentialScope(date_time[:8], region)
    signed = {name.lower(): value for name, value in headers.items()}
    signed |= {"host": authority, "x-amz-date": date_time, "x-amz-content-sha256": payload_hash}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    canonical = canonical_request(method, path, query, signed.items(), payload_hash)
    key = derive_signing_key(credentials.secret_access_key, scope.date, region)
    signature = request_signature(key, canonical, date_time, scope)
    authorization = Authorization(credentials.access_key_id, scope, tuple(sorted(signed)), signature)
    return SignedRequest(signed | {"authorization": format_authorization(authorization)}, signature)


def format_authorization(authorization: Authorization) -> str:
    """The header's value."""
    credential = f"{authorization.access_key_id}/{authorization.scope}"
    signed_headers = ";".join(authorization.signed_headers)
    signature = authorization.signature
    return f"{ALGORITHM} Credential={credential}, SignedHeaders={signed_headers}, Signature={signature}"


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)


def parse_authorization(value: str) -> Authorization:
    """The parts of an `Authorization` header; raises `AuthorizationFormatError` (without its value)."""
    match = _AUTHORIZATION.fullmatch(value.strip())
    if match is None:
        raise AuthorizationFormatError(
            "the Authorization header is not "
            "'AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...'"
        )
    scope = CredentialScope(match["date"], match["region"], match["service"])
    return Authorization(match["key"], scope, tuple(match["headers"].split(";")), match["signature"])


# Events ------------------------------------------------------------------------


def encode_date_header(date_ms: int) -> bytes:
    """The `:date` header as a header block of 15 bytes: the only header an event's signature covers."""
    return _DATE_HEADER.pack(b"\x05:date", 8, date_ms)


def string_to_sign_event(
    date_time: str, scope: CredentialScope, prior_signature: str, date_header: bytes, payload: bytes
) -> str:
    """What is signed for an event.

    `date_time` is `amz_date` of the event, `date_header` the encoded `:date`, `payload` the whole encoded
    inner message, empty for the end.
    """
    return (
        f"{EVENT_ALGORITHM}\n{date_time}\n{scope}\n{prior_signature}\n"
        f"{sha256(date_header).hexdigest()}\n{sha256(payload).hexdigest()}"
    )


def event_signature(
    signing_key: bytes, scope: CredentialScope, prior_signature: str, date_ms: int, payload: bytes
) -> bytes:
    """The 32 bytes of an event's `:chunk-signature`; `.hex()` of them is the next event's prior signature."""
    date_header = encode_date_header(date_ms)
    text = string_to_sign_event(amz_date(date_ms), scope, prior_signature, date_header, payload)
    return _hmac_sha256(signing_key, text.encode())


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An outer message taken apart: date in milliseconds, signature (32 bytes), the encoded inner message."""

    date_ms: int
    signature: bytes = field(repr=False)
    payload: bytes = field(repr=False)

    @property
    def is_end(self) -> bool:
        """True for the empty signed event that ends a stream."""
        return not self.payload


def parse_signed_event(message: Message) -> SignedEvent:
    """The outer message's parts; raises `HeaderError` when date or signature is missing or mistyped."""
    date, signature = message.headers.get(":date"), message.headers.get(":chunk-signature")
    if not isinstance(date, Timestamp) or not isinstance(signature, bytes):
        raise HeaderError("a signed event needs :date (timestamp) and :chunk-signature (bytes)")
    return SignedEvent(date.milliseconds, signature, message.payload)


class EventSigner:
    """Signs the events of one stream in order; each signature depends on the one before."""

    __slots__ = ("_date_time", "_key", "_prior", "_region", "_scope", "_second", "_secret")

    def __init__(self, credentials: Credentials, region: str, seed_signature: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", seed_signature):
            raise ParameterError("seed_signature is not 64 hex digits", parameter="seed_signature")
        self._secret = credentials.secret_access_key
        self._region = region
        self._prior = seed_signature
        self._second = -1
        self._date_time = ""
        self._scope = CredentialScope("", region)
        self._key = b""

    def __repr__(self) -> str:
        return f"EventSigner(region={self._region!r})"

    def sign(self, payload: bytes, now_ms: int) -> bytes:
        """The complete outer message around `payload`, an encoded event-stream message."""
        if now_ms // 1000 != self._second:
            self._enter_second(now_ms)
        date_header = encode_date_header(now_ms)
        text = string_to_sign_event(self._date_time, self._scope, self._prior, date_header, payload)
        signature = _hmac_sha256(self._key, text.encode())
        self._prior = signature.hex()
        return frame(b"".join((date_header, _SIGNATURE_PREFIX, signature)), payload)

    def sign_end(self, now_ms: int) -> bytes:
        """The signed empty message that ends the stream."""
        return self.sign(b"", now_ms)

    def _enter_second(self, now_ms: int) -> None:
        """Format the date once per second and derive the key once per day."""
        self._second = now_ms // 1000
        self._date_time = amz_date(now_ms)
        date = self._date_time[:8]
        if date != self._scope.date:
            self._scope = CredentialScope(date, self._region)
            self._key = derive_signing_key(self._secret, date, self._region)
