"""Signature Version 4 as the service checks it: the request, then the chain of event signatures.

The arithmetic is `connectors.transcribe.sigv4`'s (its tests hold it against botocore); here is what a
server decides: which key, region and service are known, which ways of writing the same request are
accepted, how old a signature may be.

Clients differ in how they sign, and all of these reach the real service, so all are accepted:

* `host` with or without the port, or the pseudo-header `:authority` in its place (JavaScript SDK);
* over a WebSocket the signature is in the query (`presigned`), and says how long it is good for;
* a payload hash of `STREAMING-AWS4-HMAC-SHA256-EVENTS` or, with no `x-amz-content-sha256` header, of an
empty body.
"""

from __future__ import annotations

import hmac
from calendar import timegm
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import strptime
from urllib.parse import parse_qsl

from connectors.transcribe.errors import AuthorizationFormatError, EventStreamError
from connectors.transcribe.eventstream import Message
from connectors.transcribe.presigned import MAX_EXPIRES_SECONDS, PresignedQuery, parse_presigned
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    MAX_SIGNATURE_AGE_MS,
    SERVICE,
    STREAMING_EVENTS_PAYLOAD,
    Authorization,
    CredentialScope,
    amz_date,
    canonical_request,
    derive_signing_key,
    event_signature,
    parse_authorization,
    parse_signed_event,
    request_signature,
)
from deploy.local.transcribe.errors import ServiceFault, bad_request

LOCAL_ACCESS_KEY_ID = "AKIDLOCALENDPOINT"
LOCAL_SECRET_ACCESS_KEY = "local-endpoint-key-which-is-no-secret"  # noqa: S105 - public, opens nothing
"""The key pair the endpoint knows unless it is told another. It is public and good for nothing else."""


@dataclass(frozen=True, slots=True)
class SignedHttpRequest:
    """A request as received; header names in lower case, `host` from the `:authority` pseudo-header."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The region the endpoint is in and the keys it knows (access key id → secret)."""

    region: str
    secrets: Mapping[str, str] = field(repr=False)

    def verify_request(self, request: SignedHttpRequest, now_ms: int) -> EventVerifier:
        """Check the request's signature; returns the verifier of the events that follow.

        Raises:
            ServiceFault: Names what is wrong: header, key, region, age or signature.
        """
        authorization = _authorization(request)
        secret = self._secret(authorization)
        date_time = _signing_date(request, authorization)
        check_age(date_time, _parse_ms(date_time), now_ms)
        key = derive_signing_key(secret, authorization.scope.date, self.region)
        query = parse_qsl(request.query, keep_blank_values=True)
        canonical = _canonical_variants(request, query, authorization, _payload_hashes(request))
        _compare(canonical, key, date_time, authorization)
        return EventVerifier(self.region, secret, authorization.signature)

    def verify_presigned(self, request: SignedHttpRequest, now_ms: int) -> None:
        """Check the signature in the query of a WebSocket's request; nothing after it is signed.

        Raises:
            ServiceFault: Names what is wrong: parameter, key, region, age or signature.
        """
        try:
            presigned = parse_presigned(parse_qsl(request.query, keep_blank_values=True))
        except AuthorizationFormatError as error:
            raise ServiceFault("IncompleteSignatureException", f"{error}.") from None
        authorization = presigned.authorization
        secret = self._secret(authorization)
        _check_host_signed(authorization)
        _check_expiry(presigned, now_ms)
        key = derive_signing_key(secret, authorization.scope.date, self.region)
        canonical = _canonical_variants(request, presigned.signed, authorization, (EMPTY_PAYLOAD_SHA256,))
        _compare(canonical, key, presigned.date_time, authorization)

    def _secret(self, authorization: Authorization) -> str:
        scope = authorization.scope
        if scope.service != SERVICE:
            raise ServiceFault(
                "InvalidSignatureException",
                f"Credential should be scoped to correct service: '{SERVICE}', not '{scope.service}'.",
            )
        if scope.region != self.region:
            raise ServiceFault(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region: this endpoint is in '{self.region}', "
                f"the request is signed for '{scope.region}'.",
            )
        try:
            return self.secrets[authorization.access_key_id]
        except KeyError:
            raise ServiceFault(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            ) from None


def _authorization(request: SignedHttpRequest) -> Authorization:
    value = request.headers.get("authorization")
    if value is None:
        raise ServiceFault(
            "MissingAuthenticationTokenException", "The request has no Authorization header; sign it."
        )
    try:
        authorization = parse_authorization(value)
    except AuthorizationFormatError as error:
        raise ServiceFault("IncompleteSignatureException", f"{error}.") from None
    _check_host_signed(authorization)
    return authorization


def _check_host_signed(authorization: Authorization) -> None:
    if not {"host", ":authority"} & set(authorization.signed_headers):
        raise ServiceFault(
            "InvalidSignatureException", "'Host' must be a 'SignedHeader' in the Authorization."
        )


def _check_expiry(presigned: PresignedQuery, now_ms: int) -> None:
    """A presigned URL opens a stream for as long as it says, five minutes at most."""
    if not 1 <= presigned.expires_seconds <= MAX_EXPIRES_SECONDS:
        raise bad_request(f"X-Amz-Expires must be 1 to {MAX_EXPIRES_SECONDS} seconds.")
    date_ms = _parse_ms(presigned.date_time)
    if date_ms is None or not presigned.date_time.startswith(presigned.authorization.scope.date):
        raise ServiceFault(
            "IncompleteSignatureException",
            "X-Amz-Date (YYYYMMDDTHHMMSSZ) is missing or is not of the day in the credential scope.",
        )
    check_age(presigned.date_time, date_ms, now_ms, max_age_ms=presigned.expires_seconds * 1000)


def _compare(canonicals: Iterable[str], key: bytes, date_time: str, authorization: Authorization) -> None:
    """Raise `ServiceFault` unless one of the canonical requests has the signature that was sent."""
    for canonical in canonicals:
        expected = request_signature(key, canonical, date_time, authorization.scope)
        if hmac.compare_digest(expected, authorization.signature):
            return
    raise ServiceFault(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method.",
    )


def _signing_date(request: SignedHttpRequest, authorization: Authorization) -> str:
    date_time = request.headers.get("x-amz-date", "")
    if not date_time.startswith(f"{authorization.scope.date}T") or _parse_ms(date_time) is None:
        raise ServiceFault(
            "IncompleteSignatureException",
            "x-amz-date (YYYYMMDDTHHMMSSZ) is missing or is not of the day in the credential scope.",
        )
    return date_time


def _parse_ms(date_time: str) -> int | None:
    try:
        return timegm(strptime(date_time, "%Y%m%dT%H%M%SZ")) * 1000
    except ValueError:
        return None


def check_age(
    date_time: str, date_ms: int | None, now_ms: int, *, max_age_ms: int = MAX_SIGNATURE_AGE_MS
) -> None:
    """Refuse a signature too far from `now_ms`, five minutes as a rule; the sentences are the service's."""
    if date_ms is None or date_ms < now_ms - max_age_ms:
        oldest = amz_date(now_ms - max_age_ms)
        raise bad_request(
            f"Signature expired: {date_time} is now earlier than {oldest} "
            f"({amz_date(now_ms)} - {max_age_ms / 60_000:g} min.)"
        )
    if date_ms > now_ms + MAX_SIGNATURE_AGE_MS:
        latest = amz_date(now_ms + MAX_SIGNATURE_AGE_MS)
        raise bad_request(
            f"Signature not yet current: {date_time} is still later than {latest} "
            f"({amz_date(now_ms)} + 5 min.)"
        )


def _canonical_variants(
    request: SignedHttpRequest,
    query: Sequence[tuple[str, str]],
    authorization: Authorization,
    payload_hashes: Iterable[str],
) -> Iterator[str]:
    """The canonical requests that count as this request, the usual one first."""
    for payload_hash in payload_hashes:
        for host in _host_values(request.headers.get("host", "")):
            known = {**request.headers, "host": host, ":authority": host}
            signed = [(name, known.get(name, "")) for name in authorization.signed_headers]
            yield canonical_request(request.method, request.path, query, signed, payload_hash)


def _payload_hashes(request: SignedHttpRequest) -> tuple[str, ...]:
    accepted = (STREAMING_EVENTS_PAYLOAD, EMPTY_PAYLOAD_SHA256)
    sent = request.headers.get("x-amz-content-sha256")
    if sent is None:
        return accepted
    if sent not in accepted:
        raise ServiceFault(
            "InvalidSignatureException", f"x-amz-content-sha256 must be {STREAMING_EVENTS_PAYLOAD}."
        )
    return (sent,)


def _host_values(host: str) -> tuple[str, ...]:
    name, separator, port = host.rpartition(":")
    return (host, name) if separator and port.isdigit() else (host,)


class EventVerifier:
    """Checks the chain of one stream's events; each signature covers the one before."""

    __slots__ = ("_key", "_prior", "_region", "_scope", "_secret")

    def __init__(self, region: str, secret_access_key: str, seed_signature: str) -> None:
        self._region = region
        self._secret = secret_access_key
        self._prior = seed_signature
        self._scope = CredentialScope("", region)
        self._key = b""

    def verify(self, message: Message, now_ms: int) -> bytes:
        """Return the inner message's bytes (empty for the end of the audio).

        Raises:
            ServiceFault: The message is unsigned, its signature wrong or too old.
        """
        try:
            event = parse_signed_event(message)
        except EventStreamError as error:
            raise bad_request(f"The event could not be verified: {error}.") from None
        date_time = amz_date(event.date_ms)
        check_age(date_time, event.date_ms, now_ms)
        if date_time[:8] != self._scope.date:
            self._scope = CredentialScope(date_time[:8], self._region)
            self._key = derive_signing_key(self._secret, date_time[:8], self._region)
        expected = event_signature(self._key, self._scope, self._prior, event.date_ms, event.payload)
        if not hmac.compare_digest(expected, event.signature):
            raise bad_request(
                "The event signature we calculated does not match the signature you provided: "
                "events must arrive unchanged, each once and in order."
            )
        self._prior = expected.hex()
        return event.payload
