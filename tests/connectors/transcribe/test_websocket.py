"""What only a WebSocket has, against a server that produces faults: closing frames, its handshake."""

from __future__ import annotations

import asyncio
import logging

import pytest
import trustme

from connectors.transcribe.errors import (
    AccessDeniedError,
    ConnectionClosedError,
    EndpointError,
    LimitExceededError,
    ProtocolError,
    ReadTimeoutError,
    TranscribeError,
)
from connectors.transcribe.events import encode_exception, encode_transcript_event
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.websocket import open_websocket_stream
from tests.connectors.transcribe.harness import (
    CARRIERS,
    CHUNK,
    FINAL,
    REQUEST,
    Carrier,
    Wire,
    opening_fails,
    receive_all,
    receiving_fails,
    run,
    silent,
)
from tests.fakes.h2_server import H2Server
from tests.fakes.ws_server import WsServer, WsStream

CARRIER = CARRIERS["websocket"]
PLAIN = Wire(CARRIER)


@pytest.fixture
def carrier() -> Carrier:
    return CARRIER


async def close_code_of(server: WsServer) -> int | None:
    """The code in the client's closing frame, once it is gone."""
    stream: WsStream = server.streams[0]
    await asyncio.wait_for(stream.client_left.wait(), 5)
    return stream.client_close


def test_the_request_is_presigned_for_the_host_and_its_port(wire: Wire) -> None:
    """The server has checked the signature; here is what else was asked for."""

    async def script(stream: WsStream) -> None:
        stream.respond(headers=[("x-amzn-SessionId", "s-1")])
        stream.end()

    async def client(stream: TranscribeStream, server: WsServer) -> None:
        served: WsStream = server.streams[0]
        assert served.request is not None
        assert served.request.path.startswith("/medical-stream-transcription-websocket?X-Amz-Algorithm=")
        assert served.request.headers.get_all("Host") == [f"127.0.0.1:{server.port}"]
        assert "Sec-WebSocket-Extensions" not in served.request.headers
        assert "Authorization" not in served.request.headers
        assert served.query["X-Amz-Expires"] == "300"
        assert served.query["X-Amz-Security-Token"] == "synthetic-session-token"
        assert (served.query["specialty"], served.query["session-id"]) == ("PRIMARYCARE", REQUEST.session_id)
        assert stream.session_id == "s-1"
        assert await receive_all(stream) == []

    run(script, client, wire)


def test_the_end_is_an_event_and_the_connection_stays_for_the_results(wire: Wire) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        assert await stream.all_audio() == CHUNK
        await asyncio.sleep(0.1)
        assert stream.client_close is None
        await stream.send_results(FINAL)
        stream.end()
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: WsServer) -> None:
        await stream.send_audio(CHUNK)
        await stream.end()
        assert await receive_all(stream) == [FINAL]
        assert await close_code_of(server) == 1000

    run(script, client, wire)


@pytest.mark.parametrize(
    ("code", "kind", "throttling"),
    [
        (1001, ConnectionClosedError, False),
        (1002, ProtocolError, False),
        (1007, ProtocolError, False),
        (1008, ConnectionClosedError, False),
        (1011, ConnectionClosedError, False),
        (1013, ConnectionClosedError, True),
        (4000, ConnectionClosedError, False),
    ],
)
def test_a_closing_frame_with_an_error_comes_after_the_results(
    wire: Wire, code: int, kind: type[TranscribeError], throttling: bool
) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.next_audio()
        await stream.send_results(FINAL)
        stream.close_with(code, "a reason that nobody has checked")
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: WsServer) -> None:
        await stream.send_audio(CHUNK)
        assert await stream.receive() == (FINAL,)
        error = await receiving_fails(stream, kind)
        assert (error.retryable, error.throttling) == (True, throttling)
        assert str(code) in str(error)
        assert "reason" not in str(error)
        assert await close_code_of(server) == code  # answered in kind

    run(script, client, wire)


def test_the_exception_before_a_closing_frame_is_what_counts(wire: Wire) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.send_results()
        await stream.send(encode_exception("LimitExceededException", "slow down"))
        stream.close_with(1011)

    async def client(stream: TranscribeStream, _server: WsServer) -> None:
        assert (await receiving_fails(stream, LimitExceededError)).message == "slow down"

    run(script, client, wire)


def test_an_exception_in_place_of_the_first_event_is_a_refusal(wire: Wire) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.send(encode_exception("UnrecognizedClientException", "synthetic: wrong key"))
        stream.close_with(1000)

    error = opening_fails(script, AccessDeniedError, wire)
    assert error.message == "synthetic: wrong key"
    assert error.request_id == "synthetic-request-id"


def test_a_service_that_says_nothing_has_not_refused() -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.all_audio()
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: WsServer) -> None:
        await stream.send_audio(CHUNK)
        await stream.end()
        assert await receive_all(stream) == [FINAL]

    run(script, client, PLAIN)


def test_a_text_message_is_no_event() -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.send_text("synthetic text")
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, _server: WsServer) -> None:
        assert await stream.receive() == (FINAL,)
        assert "text" not in str(await receiving_fails(stream, ProtocolError)).replace("text message", "")

    run(script, client, PLAIN)


def test_results_in_the_packet_of_the_acceptance_are_not_lost() -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.send(encode_transcript_event([FINAL]), piece_bytes=40)
        stream.end()

    async def client(stream: TranscribeStream, _server: WsServer) -> None:
        assert await receive_all(stream) == [FINAL]

    run(script, client, PLAIN)


def test_a_peer_that_reads_but_answers_no_probe_is_given_up() -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        await stream.send_results()
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: WsServer) -> None:
        await receiving_fails(stream, ReadTimeoutError)
        assert server.streams[0].pings > 0
        assert await close_code_of(server) == 1001  # going away

    run(script, client, PLAIN, server={"answer_pings": False}, read_timeout_seconds=0.4)


# Servers without a WebSocket


@pytest.mark.parametrize("status", [200, 301, 404, 426])
def test_an_address_without_a_websocket(wire: Wire, status: int) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond(status, [("location", "https://elsewhere.test/?secret")])
        stream.end()

    error = opening_fails(script, EndpointError, wire)
    assert str(status) in str(error)
    assert "secret" not in str(error)


def test_a_server_of_http2_in_cleartext() -> None:
    async def main() -> None:
        async with H2Server(silent) as server:
            with pytest.raises(ProtocolError, match=r"not HTTP/1\.1; does it serve WebSockets") as caught:
                await PLAIN.connect(server.port)
            assert caught.value.retryable

    asyncio.run(main())


def test_a_server_that_speaks_http2_only(authority: trustme.CA, ca_bundle: str) -> None:
    """It finds no common protocol and goes on in its own, as servers on OpenSSL may."""

    async def main() -> None:
        async with H2Server(silent, CARRIER.tls(authority, alpn="h2")) as server:
            wire = Wire(CARRIER, CARRIER.tls(authority), ca_bundle)
            with pytest.raises(ProtocolError, match=r"not HTTP/1\.1; does it serve WebSockets"):
                await wire.connect(server.port)

    asyncio.run(main())


def test_a_server_without_alpn_will_do(authority: trustme.CA, ca_bundle: str) -> None:
    async def script(stream: WsStream) -> None:
        stream.respond()
        stream.end()

    async def client(stream: TranscribeStream, _server: WsServer) -> None:
        assert await receive_all(stream) == []

    context = CARRIER.tls(authority, alpn="some-other")  # nothing in common: none is agreed on
    run(script, client, Wire(CARRIER, context, ca_bundle))


# Privacy


def test_the_library_is_kept_from_logging_frames_and_urls(caplog: pytest.LogCaptureFixture) -> None:
    """A test of its own, since the fake server pins nothing: whoever imports the transport is safe."""
    assert open_websocket_stream is CARRIER.open
    with caplog.at_level(logging.DEBUG):
        for name in ("websockets", "websockets.client"):
            assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
