"""Opens a Transcribe stream over a WebSocket: the same stream, for networks that let no HTTP/2 through.

One connection per stream to a presigned URL, without compression (audio does not shrink). The layers are
those of `http2` with `websocket_connection` and `websocket_protocol` in place of HTTP/2's.
"""

from __future__ import annotations

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.connecting import open_stream
from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.websocket_connection import WebSocketConnection
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol


async def open_websocket_stream(
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
    """As `http2.open_http2_stream`, over a WebSocket."""
    protocol = WebSocketStreamProtocol(
        request, credentials, authority=endpoint.authority, region=endpoint.region
    )
    return await open_stream(
        WebSocketConnection(protocol, endpoint.host, endpoint.port, secure=endpoint.uses_tls),
        endpoint,
        clock=clock,
        connect_timeout_seconds=connect_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
        write_timeout_seconds=write_timeout_seconds,
        ca_bundle=ca_bundle,
    )
