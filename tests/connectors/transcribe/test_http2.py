"""The HTTP/2 client against a server that produces faults of the wire, in cleartext and over TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.connecting import tls_context
from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import (
    BadRequestError,
    ConfigurationError,
    ConnectError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointError,
    IllegalCallError,
    LimitExceededError,
    ProtocolError,
    ReadTimeoutError,
    StreamClosedError,
    StreamEndedError,
    StreamRefusedError,
    StreamResetError,
    TlsError,
    TranscribeError,
    TruncatedStreamError,
    WriteTimeoutError,
)
from connectors.transcribe.events import encode_exception, encode_transcript_event
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import (
    MedicalAlternative,
    MedicalResult,
    StartMedicalStreamTranscriptionRequest,
)
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.wire_stream import WireStream
from tests.fakes.h2_server import CREDENTIALS, REGION, H2Server, Script, ServerStream

REQUEST = StartMedicalStreamTranscriptionRequest(session_id="01234567-89ab-cdef-0123-456789abcdef")
FINAL = MedicalResult("r-1", 0.0, 1.0, False, (MedicalAlternative("synthetic words"),))
CHUNK = bytes(range(256)) * 12 + bytes(128)  # 3,200 bytes
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 2, 7, 11


@dataclass(frozen=True)
class Wire:
    """How client and server of a test reach each other."""

    scheme: str
    server_context: ssl.SSLContext | None = None
    ca_bundle: str | None = None


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_bundle(authority, tmp_path_factory.mktemp("authority"))


def write_bundle(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(params=["http", "https"])
def wire(request: pytest.FixtureRequest, authority: trustme.CA, ca_bundle: str) -> Wire:
    if request.param == "http":
        return Wire("http")
    return Wire("https", server_context(authority), ca_bundle)


def server_context(authority: trustme.CA, protocols: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(list(protocols))
    return context


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def connect(port: int, wire: Wire, **options: Any) -> TranscribeStream:
    endpoint = resolve_endpoint(REGION, f"{wire.scheme}://127.0.0.1:{port}")
    options = {"connect_timeout_seconds": 5, "ca_bundle": wire.ca_bundle} | options
    return await open_http2_stream(endpoint, REQUEST, CREDENTIALS, clock=ServiceClock(now_ms), **options)


Client = Callable[[TranscribeStream, H2Server], Awaitable[None]]


def run(
    script: Script,
    client: Client,
    wire: Wire | None = None,
    *,
    server: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    """Run `client` on a stream to a server that follows `script`; both have to finish in time."""
    link = wire or Wire("http")

    async def main() -> None:
        async with asyncio.timeout(20), H2Server(script, link.server_context, **(server or {})) as one:
            stream = await connect(one.port, link, **options)
            try:
                await client(stream, one)
            finally:
                await stream.close()

    asyncio.run(main())


def opening_fails(
    script: Script, kind: type[TranscribeError], wire: Wire | None = None, **options: Any
) -> TranscribeError:
    """The error that opening a stream raises."""

    async def unused(_stream: TranscribeStream, _server: H2Server) -> None:
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


async def silent(stream: ServerStream) -> None:
    """A server that accepts the connection and says nothing."""
    await stream.client_left.wait()


# The orderly path


def test_audio_goes_out_and_results_come_back_after_the_end(wire: Wire) -> None:
    received: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        stream.respond(headers=[("x-amzn-transcribe-session-id", REQUEST.session_id or "")])
        await stream.send_results()
        received.append(await stream.all_audio())
        await stream.client_ended.wait()
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        assert stream.request_id == "synthetic-request-id"
        assert stream.session_id == REQUEST.session_id
        assert await stream.receive() == ()
        for _ in range(60):  # 192,000 bytes: three times the initial window
            await stream.send_audio(CHUNK)
        await stream.end()
        assert await receive_all(stream) == [FINAL]
        assert await stream.receive() is None
        headers = server.streams[0].headers
        assert headers[":path"] == "/medical-stream-transcription"
        assert headers[":scheme"] == wire.scheme
        assert headers[":authority"] == f"127.0.0.1:{server.port}"

    run(script, client, wire)
    assert received == [CHUNK * 60]


def test_sending_and_receiving_go_on_at_the_same_time(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        while await stream.next_audio() is not None:
            await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        receiver = asyncio.ensure_future(receive_all(stream))
        for _ in range(40):
            await stream.send_audio(CHUNK)
            await asyncio.sleep(0)
        await stream.end()
        assert await receiver == [FINAL] * 40

    run(script, client, wire)


def test_each_stream_has_a_connection_of_its_own() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.all_audio()
        stream.end()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        second = await connect(server.port, Wire("http"))
        assert len(server.streams) == 2
        for one in (stream, second):
            await one.end()
            assert await receive_all(one) == []
        await second.close()

    run(script, client)


def test_results_cut_into_single_bytes_and_larger_than_the_window() -> None:
    long = MedicalResult("r-2", 0.0, 9.0, False, (MedicalAlternative("synthetic " * 20_000),))

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send(encode_transcript_event([FINAL]), piece_bytes=1)
        await stream.send(encode_transcript_event([long]))
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await receive_all(stream) == [FINAL, long]

    run(script, client)


# Back-pressure


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

    run(script, client, server={"initial_window_bytes": 100, "acknowledge": False})
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
    run(script, client, server=server, write_timeout_seconds=0.4, read_timeout_seconds=5)


def test_a_peer_that_stops_reading_its_socket_blocks_sending_until_the_timeout() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.grant(2**30)
        await asyncio.sleep(0.05)
        stream.pause_reading()
        await asyncio.sleep(5)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(WriteTimeoutError):
            await send_chunks(stream, 100_000)  # 320 MB: more than any socket buffers

    run(script, client, write_timeout_seconds=0.4, read_timeout_seconds=5)


def test_a_failed_stream_leaves_its_connection_even_if_nobody_closes_it() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.grant(2**30)
        await asyncio.sleep(0.05)
        stream.pause_reading()
        await asyncio.sleep(8)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(WriteTimeoutError):
            await send_chunks(stream, 100_000)
        assert isinstance(stream, WireStream)
        await asyncio.wait_for(stream._lost.wait(), 3)  # unsent bytes do not keep the socket open

    run(script, client, write_timeout_seconds=0.3, read_timeout_seconds=5)


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

    run(script, client)


# The service says no


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [(400, "BadRequestException", BadRequestError), (429, "LimitExceededException", LimitExceededError)],
)
def test_a_refusal_before_the_stream(wire: Wire, status: int, name: str, kind: type[TranscribeError]) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond(status, [("x-amzn-errortype", f"{name}:http://internal/")])
        await stream.send(b'{"Message":"no, because"}')
        stream.end()

    error = opening_fails(script, kind, wire)
    assert (error.code, error.message, error.request_id) == (name, "no, because", "synthetic-request-id")


def test_a_refusal_whose_body_never_ends_is_still_the_refusal() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond(429, [("x-amzn-errortype", "LimitExceededException")])
        await stream.client_left.wait()

    opening_fails(script, LimitExceededError, connect_timeout_seconds=0.3)


def test_an_exception_in_the_stream_comes_after_the_results(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.next_audio()
        await stream.send_results(FINAL)
        await stream.send(encode_exception("LimitExceededException", "the longest duration is reached"))
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await stream.send_audio(CHUNK)
        assert await stream.receive() == (FINAL,)
        error = await receiving_fails(stream, LimitExceededError)
        assert error.throttling
        assert error.request_id == "synthetic-request-id"

    run(script, client, wire)


def test_a_clean_end_before_the_client_s(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await receive_all(stream) == [FINAL]
        with pytest.raises(StreamEndedError):
            await stream.send_audio(CHUNK)

    run(script, client, wire)


# The wire breaks


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

    assert opening_fails(script, StreamRefusedError).retryable


def test_a_reset_after_the_response_is_complete_is_no_failure() -> None:
    """A server may ask the client to stop sending this way (RFC 9113 section 8.1)."""

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.end()
        stream.reset(NO_ERROR)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await receive_all(stream) == [FINAL]

    run(script, client)


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

    assert opening_fails(script, StreamRefusedError).retryable


@pytest.mark.parametrize("cut", ["abort", "close"])
def test_a_cut_connection(wire: Wire, cut: str) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        await stream.next_audio()
        getattr(stream, cut)()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await stream.receive() == (FINAL,)
        await stream.send_audio(CHUNK)
        error = await receiving_fails(stream, ConnectionClosedError)
        assert error.retryable

    run(script, client, wire)


def test_a_connection_cut_while_sending_waits_for_the_window() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.1)
        stream.abort()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        with pytest.raises(ConnectionClosedError):
            await send_chunks(stream, 3)

    run(script, client, server={"initial_window_bytes": 10, "acknowledge": False})


def test_a_connection_cut_before_the_response() -> None:
    async def script(stream: ServerStream) -> None:
        stream.abort()

    assert opening_fails(script, ConnectionClosedError).retryable


def test_a_response_that_ends_inside_a_message(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.send(encode_transcript_event([FINAL]) + encode_transcript_event([FINAL])[:50])
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await stream.receive() == (FINAL,)
        await receiving_fails(stream, TruncatedStreamError)

    run(script, client, wire)


def test_bytes_that_are_no_http2() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.05)
        stream.write_raw(b"\xff" * 100)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await receiving_fails(stream, ProtocolError)

    run(script, client)


def test_a_silent_peer_is_probed_and_then_given_up() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(0.05)
        stream.pause_reading()
        await asyncio.sleep(5)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        started = time.monotonic()
        await receiving_fails(stream, ReadTimeoutError)
        assert 0.35 < time.monotonic() - started < 2

    run(script, client, read_timeout_seconds=0.4, write_timeout_seconds=5)


def test_a_quiet_peer_that_answers_the_probe_is_kept() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await asyncio.sleep(1.2)
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        assert await receive_all(stream) == [FINAL]
        assert server.streams[0].pings > 0

    run(script, client, read_timeout_seconds=0.4)


# Opening and closing


def test_nobody_listens() -> None:
    async def main() -> None:
        async with H2Server(silent) as server:
            port = server.port
        with pytest.raises(ConnectError, match=rf"http://127\.0\.0\.1:{port}: Connection refused") as caught:
            await connect(port, Wire("http"))
        assert type(caught.value) is ConnectError

    asyncio.run(main())


def test_a_host_that_does_not_exist() -> None:
    async def main() -> None:
        endpoint = resolve_endpoint(REGION, "https://no-such-host.invalid")
        with pytest.raises(ConnectError, match=r"https://no-such-host\.invalid"):
            await open_http2_stream(endpoint, REQUEST, CREDENTIALS, clock=ServiceClock(now_ms))

    asyncio.run(main())


def test_a_server_that_never_answers() -> None:
    error = opening_fails(silent, ConnectTimeoutError, connect_timeout_seconds=0.2)
    assert "within 0.2 s" in str(error)


def test_a_server_that_wants_tls(authority: trustme.CA) -> None:
    """Speaking cleartext to it ends without an answer, or with an alert, which is no HTTP/2."""

    async def main() -> None:
        async with H2Server(silent, server_context(authority)) as server:
            with pytest.raises((ConnectionClosedError, ProtocolError), match="HTTP/2") as caught:
                await connect(server.port, Wire("http"))
            assert caught.value.retryable

    asyncio.run(main())


def test_a_server_that_speaks_http1_only() -> None:
    async def main() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            with pytest.raises(EndpointError, match="HTTP/2"):
                await connect(server.sockets[0].getsockname()[1], Wire("http"))

    asyncio.run(main())


def test_a_server_without_alpn_h2(authority: trustme.CA, ca_bundle: str) -> None:
    async def script(_stream: ServerStream) -> None:
        raise AssertionError("a request arrived")

    wire = Wire("https", server_context(authority, ("http/1.1",)), ca_bundle)
    assert opening_fails(script, TlsError, wire).fatal


def test_a_certificate_of_an_unknown_authority(authority: trustme.CA, tmp_path: Path) -> None:
    async def script(_stream: ServerStream) -> None:
        raise AssertionError("a request arrived")

    wire = Wire("https", server_context(authority), write_bundle(trustme.CA(), tmp_path))
    assert "not trusted" in str(opening_fails(script, TlsError, wire))


def test_a_ca_bundle_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    bundle = write_bundle(authority, tmp_path)

    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        assert await receive_all(stream) == []

    run(script, client, Wire("https", server_context(authority), bundle))
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        tls_context(str(tmp_path / "missing.pem"), "h2")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"text\.pem"):
        tls_context(str(tmp_path / "text.pem"), "h2")


def test_close_tells_the_service_and_wakes_the_reader(wire: Wire) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: H2Server) -> None:
        reader = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0.05)
        await stream.close()
        await stream.close()
        with pytest.raises(StreamClosedError):
            await reader
        with pytest.raises(StreamClosedError):
            await stream.send_audio(CHUNK)
        await asyncio.wait_for(server.streams[0].client_left.wait(), 5)
        assert server.streams[0].client_reset == 8  # CANCEL

    run(script, client, wire)


def test_close_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        stream.grant(2**30)
        await asyncio.sleep(0.05)
        stream.pause_reading()
        await asyncio.sleep(8)

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_chunks(stream, 100_000), 0.5)
        started = time.monotonic()
        await stream.close()
        assert time.monotonic() - started < 3

    run(script, client)


def test_opening_can_be_cancelled_and_leaves_no_connection() -> None:
    async def main() -> None:
        async with H2Server(silent) as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await connect(server.port, Wire("http"))
            await asyncio.wait_for(server.streams[0].client_left.wait(), 5)

    asyncio.run(main())


def test_audio_after_the_end_is_an_illegal_call() -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.all_audio()
        stream.end()

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await stream.end()
        with pytest.raises(IllegalCallError):
            await stream.send_audio(CHUNK)
        assert await receive_all(stream) == []

    run(script, client)


# Privacy


def test_nothing_of_headers_audio_or_text_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.all_audio()
        await stream.send_results(FINAL)
        await stream.send(encode_transcript_event([FINAL])[:-1] + b"\x00")

    async def client(stream: TranscribeStream, _server: H2Server) -> None:
        await stream.send_audio(b"synthetic audio!")
        await stream.end()
        assert await stream.receive() == (FINAL,)
        with pytest.raises(TranscribeError) as caught:
            await stream.receive()
        assert "synthetic words" not in str(caught.value) + repr(stream)

    with caplog.at_level(logging.DEBUG):
        run(script, client)
    assert caplog.records  # asyncio says something at DEBUG: capturing works
    for secret in (
        "synthetic words",
        "synthetic audio",
        "synthetic-session-token",
        "synthetic-secret",
        "Signature=",
    ):
        assert secret not in caplog.text
