"""Opens a Transcribe stream over HTTP/2.

One connection per stream, as the service asks; TLS with ALPN `h2`, or cleartext with prior knowledge. The
layers, from the wire up: `connecting` makes the connection, `wire_stream` moves bytes with asyncio,
`http2_connection` speaks HTTP/2, `http2_protocol` signs, `protocol` speaks Transcribe; the last three without
any I/O.
"""

from __future__ import annotations

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.connecting import open_stream
from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.http2_connection import Http2Connection
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from schemas.library_logs import pin

# hpack logs every header, the session token among them, at DEBUG.
pin("hpack", "h2")


async def open_http2_stream(
    endpoint: Endpoint,
    request: StartMedicalStreamTranscriptionRequest,
    credentials: Credentials,
    *,
    clock: ServiceClock,
    ca_bundle: str | None = None,
    connect_timeout_seconds: float = 10.0,
    read_timeout_seconds: float = 15.0,
    write_timeout_seconds: float = 15.0,
) -> TranscribeStream:
    """Connect, send the request and wait until the service accepts it; raises `TranscribeError`.

    `connect_timeout_seconds` covers all of that. `clock` dates the signatures. `ca_bundle` is a PEM file to
    trust in place of the system's authorities.
    """
    protocol = Http2StreamProtocol(
        request, credentials, authority=endpoint.authority, region=endpoint.region, scheme=endpoint.scheme
    )
    return await open_stream(
        Http2Connection(protocol),
        endpoint,
        clock=clock,
        connect_timeout_seconds=connect_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
        write_timeout_seconds=write_timeout_seconds,
        ca_bundle=ca_bundle,
    )
