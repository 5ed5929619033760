"""The presigned URL that opens a WebSocket stream: parameters and signature in the query, nothing in headers.

    wss://transcribestreaming.REGION.amazonaws.com:8443/medical-stream-transcription-websocket
        ?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=…&X-Amz-Date=…&X-Amz-Expires=300
        &X-Amz-SignedHeaders=host&language-code=en-US&…&X-Amz-Signature=…

The only signed header is `host`, with its port; the payload hash is that of nothing; a session token is
part of the signed query. The events on such a stream are not signed. Client side: `presign_websocket`. Server
side: `parse_presigned` takes a query apart, and the same arithmetic as for headers checks it.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html ("Setting up a WebSocket
stream") and https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from connectors.transcribe.errors import AuthorizationFormatError, bounded
from connectors.transcribe.model import HEADER_PREFIX, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import (
    ALGORITHM,
    EMPTY_PAYLOAD_SHA256,
    Authorization,
    Credentials,
    CredentialScope,
    amz_date,
    canonical_request,
    derive_signing_key,
    request_signature,
)

WEBSOCKET_PATH = "/medical-stream-transcription-websocket"
MAX_EXPIRES_SECONDS = 300
SIGNATURE_PARAMETER = "X-Amz-Signature"

_FORMS = {
    "X-Amz-Algorithm": (re.compile(ALGORITHM), ALGORITHM),
    "X-Amz-Credential": (
        re.compile(r"[^/\s]+/[0-9]{8}/[^/\s]+/[^/\s]+/aws4_request"),
        "KEY/YYYYMMDD/REGION/SERVICE/aws4_request",
    ),
    "X-Amz-Date": (re.compile(r"[0-9]{8}T[0-9]{6}Z"), "YYYYMMDDTHHMMSSZ"),
    "X-Amz-Expires": (re.compile(r"[0-9]{1,6}"), "a number of seconds"),
    "X-Amz-SignedHeaders": (re.compile(r"[^;\s]+(;[^;\s]+)*"), "a list of header names"),
    SIGNATURE_PARAMETER: (re.compile(r"[0-9a-f]{64}"), "64 hex digits"),
}


@dataclass(frozen=True, slots=True)
class PresignedQuery:
    """A presigned query taken apart: who signed, when (`date_time` as in `X-Amz-Date`), for how long.

    `signed` are the pairs that the signature covers: all but the signature itself.
    """

    authorization: Authorization
    date_time: str
    expires_seconds: int
    signed: tuple[tuple[str, str], ...] = field(repr=False)


def query_parameters(request: StartMedicalStreamTranscriptionRequest) -> dict[str, str]:
    """The request's parameters by their query names, which are the header names without the prefix."""
    return {name.removeprefix(HEADER_PREFIX): value for name, value in request.to_headers().items()}


def header_names(query: Mapping[str, str]) -> dict[str, str]:
    """Query parameters by the names of the headers that say the same over HTTP/2."""
    return {HEADER_PREFIX + name: value for name, value in query.items() if not name.startswith("X-Amz-")}


def presign_websocket(
    authority: str,
    request: StartMedicalStreamTranscriptionRequest,
    credentials: Credentials,
    region: str,
    now_ms: int,
    *,
    expires_seconds: int = MAX_EXPIRES_SECONDS,
) -> str:
    """Path and query of the signed URL; `authority` is the `Host` header as sent, with its port.

    The result opens a stream in the account's name until it expires: it is a secret.
    """
    date_time = amz_date(now_ms)
    scope = CredentialScope(date_time[:8], region)
    query = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": date_time,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": "host",
        **query_parameters(request),
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    pairs = sorted(query.items())
    canonical = canonical_request("GET", WEBSOCKET_PATH, pairs, [("host", authority)], EMPTY_PAYLOAD_SHA256)
    key = derive_signing_key(credentials.secret_access_key, scope.date, region)
    signature = request_signature(key, canonical, date_time, scope)
    encoded = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    return f"{WEBSOCKET_PATH}?{encoded}&{SIGNATURE_PARAMETER}={signature}"


def parse_presigned(query: Sequence[tuple[str, str]]) -> PresignedQuery:
    """The parts of decoded query pairs; raises `AuthorizationFormatError`, which names the parameter."""
    values = dict(query)
    for name, count in Counter(name for name, _ in query).items():
        if count > 1:
            raise AuthorizationFormatError(f"the query parameter {bounded(repr(name), 60)} is given twice")
    for name, (form, description) in _FORMS.items():
        if not form.fullmatch(values.get(name, "")):
            raise AuthorizationFormatError(f"{name} is not {description}")
    key_id, date, region, service, _ = values["X-Amz-Credential"].split("/")
    signed_headers = tuple(values["X-Amz-SignedHeaders"].split(";"))
    signature = values[SIGNATURE_PARAMETER]
    return PresignedQuery(
        Authorization(key_id, CredentialScope(date, region, service), signed_headers, signature),
        values["X-Amz-Date"],
        int(values["X-Amz-Expires"]),
        tuple(pair for pair in query if pair[0] != SIGNATURE_PARAMETER),
    )
