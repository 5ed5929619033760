"""Opens a Transcribe stream over HTTP/2: connection, request, and the service's consent.

One connection per stream, as the service asks; TLS with ALPN `h2`, or cleartext with prior knowledge. Three
layers do the work: `http2_stream` moves bytes with asyncio, `http2_connection` speaks HTTP/2 and `protocol`
speaks Transcribe, the last two without any I/O.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from functools import lru_cache

from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    TlsError,
    TranscribeError,
    bounded,
)
from connectors.transcribe.http2_stream import Http2Stream
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.protocol import MedicalStreamProtocol
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream

# hpack logs every header, the session token among them, at DEBUG.
for _name in ("hpack", "h2"):
    logging.getLogger(_name).setLevel(logging.INFO)


async def open_http2_stream(
    endpoint: Endpoint,
    request: StartMedicalStreamTranscriptionRequest,
    credentials: Credentials,
    *,
    now_ms: Callable[[], int],
    connect_timeout_seconds: float = 10.0,
    read_timeout_seconds: float = 15.0,
    write_timeout_seconds: float = 15.0,
    ssl_context: ssl.SSLContext | None = None,
) -> TranscribeStream:
    """Connect, send the request and wait until the service accepts it; raises `TranscribeError`.

    `connect_timeout_seconds` covers all of that. `now_ms` dates the signatures. `ssl_context` replaces the
    default trust store; `tls_context` makes one for a private authority.
    """
    protocol = MedicalStreamProtocol(
        request, credentials, authority=endpoint.authority, region=endpoint.region, scheme=endpoint.scheme
    )
    stream = Http2Stream(protocol, now_ms, read_timeout_seconds, write_timeout_seconds)
    context = (ssl_context or tls_context()) if endpoint.uses_tls else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_timeout_seconds):
            await loop.create_connection(lambda: stream, endpoint.host, endpoint.port, ssl=context)
            await stream.accepted()
    except OSError as error:  # TimeoutError and ssl.SSLError are among them
        stream.abort()
        mapped = _connect_error(error, endpoint, connect_timeout_seconds)
        protocol.receive_failure(mapped)  # a refusal whose body never ended is still a refusal
        raise protocol.failure or mapped from None
    except BaseException:
        stream.abort()
        raise
    return stream


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None = None) -> ssl.SSLContext:
    """A client context that trusts the system's authorities, or those in the PEM file `ca_bundle`."""
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        reason = error.strerror or "not PEM"
        raise ConfigurationError(f"the CA bundle {ca_bundle!r} cannot be used: {reason}") from None
    context.set_alpn_protocols(["h2"])
    return context


def _connect_error(error: OSError, endpoint: Endpoint, timeout_seconds: float) -> TranscribeError:
    """What went wrong while connecting, in one sentence that names the endpoint."""
    match error:
        case TimeoutError():
            return ConnectTimeoutError(f"{endpoint.url} did not answer within {timeout_seconds:g} s")
        case ssl.SSLCertVerificationError():
            return TlsError(f"the certificate of {endpoint.url} is not trusted: {error.verify_message}")
        case ssl.SSLError():
            return TlsError(f"TLS with {endpoint.url} failed: {error.reason}")
    number = error.errno or 0  # resolver errors have negative numbers and their own text
    reason = os.strerror(number) if number > 0 else error.strerror or bounded(str(error), 200)
    return ConnectError(f"cannot connect to {endpoint.url}: {reason}")
