"""Runs a client's stream against a scripted server, over either carrier, in cleartext or TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import HTTP2, WEBSOCKET, Endpoint, resolve_endpoint
from connectors.transcribe.errors import TranscribeError
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import (
    MedicalAlternative,
    MedicalResult,
    StartMedicalStreamTranscriptionRequest,
)
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.websocket import open_websocket_stream
from tests.fakes.h2_server import H2Server
from tests.fakes.scripted_server import CREDENTIALS, REGION, Script, ScriptedServer, ScriptedStream
from tests.fakes.ws_server import WsServer

REQUEST = StartMedicalStreamTranscriptionRequest(session_id="01234567-89ab-cdef-0123-456789abcdef")
FINAL = MedicalResult("r-1", 0.0, 1.0, False, (MedicalAlternative("synthetic words"),))
CHUNK = bytes(range(256)) * 12 + bytes(128)  # 3,200 bytes


@dataclass(frozen=True)
class Carrier:
    """One of the two transports: how to open a stream, and a server to open it to."""

    name: str
    open: Callable[..., Awaitable[TranscribeStream]]
    server: type[ScriptedServer]
    alpn_protocol: str

    def tls(self, authority: trustme.CA, host: str = "127.0.0.1", alpn: str | None = None) -> ssl.SSLContext:
        """A server's context with a certificate for `host`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(context)
        context.set_alpn_protocols([alpn or self.alpn_protocol])
        return context


CARRIERS = {
    HTTP2: Carrier(HTTP2, open_http2_stream, H2Server, "h2"),
    WEBSOCKET: Carrier(WEBSOCKET, open_websocket_stream, WsServer, "http/1.1"),
}


@dataclass(frozen=True)
class Wire:
    """How client and server of a test reach each other."""

    carrier: Carrier
    server_context: ssl.SSLContext | None = None
    ca_bundle: str | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.server_context is None else "https"

    def server(self, script: Script, **options: Any) -> ScriptedServer:
        return self.carrier.server(script, self.server_context, **options)

    async def connect(self, port: int, **options: Any) -> TranscribeStream:
        return await self.connect_to(resolve_endpoint(REGION, f"{self.scheme}://127.0.0.1:{port}"), **options)

    async def connect_to(self, endpoint: Endpoint, **options: Any) -> TranscribeStream:
        given = {"connect_timeout_seconds": 5, "ca_bundle": self.ca_bundle, "clock": ServiceClock(now_ms)}
        return await self.carrier.open(endpoint, REQUEST, CREDENTIALS, **given | options)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def write_bundle(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


Client = Callable[[TranscribeStream, Any], Awaitable[None]]


def run(
    script: Script, client: Client, wire: Wire, *, server: dict[str, Any] | None = None, **options: Any
) -> None:
    """Run `client` on a stream to a server that follows `script`; both have to finish in time."""

    async def main() -> None:
        async with asyncio.timeout(20), wire.server(script, **(server or {})) as one:
            stream = await wire.connect(one.port, **options)
            try:
                await client(stream, one)
            finally:
                await stream.close()

    asyncio.run(main())


def opening_fails(script: Script, kind: type[TranscribeError], wire: Wire, **options: Any) -> TranscribeError:
    """The error that opening a stream raises."""

    async def unused(_stream: TranscribeStream, _server: ScriptedServer) -> None:
        raise AssertionError("the stream opened")

    with pytest.raises(kind) as caught:
        run(script, unused, wire, **options)
    assert type(caught.value) is kind
    return caught.value


async def receive_all(stream: TranscribeStream) -> list[MedicalResult]:
    results: list[MedicalResult] = []
    while (event := await stream.receive()) is not None:
        results += event
    return results


async def send_chunks(stream: TranscribeStream, count: int) -> None:
    for _ in range(count):
        await stream.send_audio(CHUNK)


async def receiving_fails(stream: TranscribeStream, kind: type[TranscribeError]) -> TranscribeError:
    """The error after the results; the same for whoever calls next, sending or receiving."""
    with pytest.raises(kind) as caught:
        await receive_all(stream)
    assert type(caught.value) is kind
    for call in (stream.receive(), stream.send_audio(CHUNK)):
        with pytest.raises(kind) as again:
            await call
        assert again.value is caught.value
    return caught.value


async def silent(stream: ScriptedStream) -> None:
    """A server that accepts the connection and says nothing."""
    await stream.client_left.wait()
