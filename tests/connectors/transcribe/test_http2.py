"""What only HTTP/2 has, against a server that produces faults of the wire: windows, resets, GOAWAY, ALPN."""

from __future__ import annotations

import asyncio
import time

import pytest
import trustme

from connectors.transcribe.errors import (
    ConnectionClosedError,
    EndpointError,
    StreamRefusedError,
    StreamResetError,
    TlsError,
    TranscribeError,
    WriteTimeoutError,
)
from connectors.transcribe.stream import TranscribeStream
from tests.connectors.transcribe.harness import (
    CARRIERS,
    CHUNK,
    FINAL,
    Carrier,
    Wire,
    opening_fails,
    receive_all,
    receiving_fails,
    run,
    send_chunks,
)
from tests.fakes.h2_server import H2Server, ServerStream

CARRIER = CARRIERS["http2"]
PLAIN = Wire(CARRIER)
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 2, 7, 11


@pytest.fixture
def carrier() -> Carrier:
    return CARRIER


def test_the_request_names_operation_scheme_and_host(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.end()

    async def client(_stream: TranscribeStream, server: H2Server) -> None:
        headers = server.streams[0].headers
        assert headers[":path"] == "/medical-stream-transcription"
        assert headers[":scheme"] == wire.scheme
        assert headers[":authority"] == f"127.0.0.1:{server.port}"

    run(script, client, wire)


# Windows


def test_audio_waits_for_the_window_and_then_arrives_whole(wire: Wire) -> None:
    received: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.3)
        stream.grant(10_000)
        received.append(await stream.all_audio())
        stream.end()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        await stream.send_audio(CHUNK)
        blocked = asyncio.ensure_future(stream.send_audio(CHUNK))
        await asyncio.sleep(0.1)
        assert not blocked.done()
        assert server.streams[0].received_bytes == 1000
        await blocked
        await stream.end()
        assert await receive_all(stream) == []

    run(script, client, wire, server={"initial_window_bytes": 1000, "acknowledge": False})
    assert received == [CHUNK * 2]


def test_a_send_cancelled_in_its_wait_has_sent_nothing() -> None:
    received: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.2)
        stream.grant(20_000)
        received.append(await stream.all_audio())
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await stream.send_audio(b"a" * 3200)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.send_audio(b"b" * 3200), 0.05)
        await stream.send_audio(b"c" * 3200)
        await stream.end()
        assert await receive_all(stream) == []

    run(script, client, PLAIN, server={"initial_window_bytes": 100, "acknowledge": False})
    assert received == [b"a" * 3200 + b"c" * 3200]


def test_a_window_that_never_opens_is_a_write_timeout() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        await asyncio.sleep(0.5)  # idle time before is not held against the service
        await stream.send_audio(CHUNK)
        started = time.monotonic()
        with pytest.raises(WriteTimeoutError, match=r"0\.4 s") as caught:
            await stream.send_audio(CHUNK)
        assert 0.35 < time.monotonic() - started < 2
        assert caught.value.retryable
        await asyncio.wait_for(server.streams[0].client_left.wait(), 5)

    server = {"initial_window_bytes": 100, "acknowledge": False}
    run(script, client, PLAIN, server=server, write_timeout_seconds=0.4, read_timeout_seconds=5)


def test_a_slow_reader_stops_the_service() -> None:
    sent: list[int] = []

    async def script(stream: ServerStream) -> None:
        stream.respond()
        for number in range(2000):
            await stream.send_results(FINAL)
            sent.append(number)
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await asyncio.sleep(0.3)
        assert 100 < len(sent) < 600  # what fits into a window of 65,535 bytes
        assert len(await receive_all(stream)) == 2000

    run(script, client, PLAIN)


# Resets and GOAWAY


@pytest.mark.parametrize(
    ("code", "kind", "throttling"),
    [
        (NO_ERROR, StreamResetError, False),
        (INTERNAL_ERROR, StreamResetError, False),
        (REFUSED_STREAM, StreamRefusedError, False),
        (ENHANCE_YOUR_CALM, StreamResetError, True),
    ],
)
def test_a_reset_mid_stream(wire: Wire, code: int, kind: type[TranscribeError], throttling: bool) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.next_audio()
        await stream.send_results(FINAL)
        stream.reset(code)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await stream.send_audio(CHUNK)
        assert await stream.receive() == (FINAL,)
        error = await receiving_fails(stream, kind)
        assert (error.retryable, error.throttling) == (True, throttling)

    run(script, client, wire)


def test_a_stream_refused_at_once() -> None:
    async def script(stream: ServerStream) -> None:
        stream.reset(REFUSED_STREAM)

    assert opening_fails(script, StreamRefusedError, PLAIN).retryable


def test_a_reset_after_the_response_is_complete_is_no_failure() -> None:
    """A server may ask the client to stop sending this way (RFC 9113 section 8.1)."""

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.end()
        stream.reset(NO_ERROR)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await receive_all(stream) == [FINAL]

    run(script, client, PLAIN)


def test_a_goaway_without_error_lets_the_stream_finish(wire: Wire) -> None:
    received: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.goaway(NO_ERROR)
        received.append(await stream.all_audio())
        stream.goaway(NO_ERROR)
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await asyncio.sleep(0.05)
        await stream.send_audio(CHUNK)
        await stream.end()
        assert await receive_all(stream) == [FINAL]

    run(script, client, wire)
    assert received == [CHUNK]


def test_a_goaway_with_an_error_fails_the_stream_after_its_results(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.goaway(ENHANCE_YOUR_CALM)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await stream.receive() == (FINAL,)
        error = await receiving_fails(stream, ConnectionClosedError)
        assert "ENHANCE_YOUR_CALM" in str(error)
        assert error.throttling

    run(script, client, wire)


def test_a_goaway_that_excludes_the_stream_is_a_refusal() -> None:
    async def script(stream: ServerStream) -> None:
        stream.goaway(NO_ERROR, last_stream_id=0)

    assert opening_fails(script, StreamRefusedError, PLAIN).retryable


def test_a_connection_cut_while_sending_waits_for_the_window() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.1)
        stream.abort()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        with pytest.raises(ConnectionClosedError):
            await send_chunks(stream, 3)

    run(script, client, PLAIN, server={"initial_window_bytes": 10, "acknowledge": False})


# Servers without HTTP/2


def test_a_server_that_speaks_http1_only() -> None:
    async def main() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            with pytest.raises(EndpointError, match="HTTP/2"):
                await PLAIN.connect(server.sockets[0].getsockname()[1])

    asyncio.run(main())


def test_a_server_without_alpn_h2(authority: trustme.CA, ca_bundle: str) -> None:
    async def script(_stream: ServerStream) -> None:
        raise AssertionError("a request arrived")

    wire = Wire(CARRIER, CARRIER.tls(authority, alpn="http/1.1"), ca_bundle)
    assert opening_fails(script, TlsError, wire).fatal
