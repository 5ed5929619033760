"""What both transports do alike, against scripted servers: flow, failures of the wire, opening, closing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

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
    IllegalCallError,
    LimitExceededError,
    ProtocolError,
    ReadTimeoutError,
    SignatureExpiredError,
    StreamClosedError,
    StreamEndedError,
    TlsError,
    TranscribeError,
    TruncatedStreamError,
    WriteTimeoutError,
)
from connectors.transcribe.events import encode_exception, encode_transcript_event
from connectors.transcribe.model import MedicalAlternative, MedicalResult
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.wire_stream import WireStream
from tests.connectors.transcribe.harness import (
    CHUNK,
    FINAL,
    REQUEST,
    Carrier,
    Wire,
    now_ms,
    opening_fails,
    receive_all,
    receiving_fails,
    run,
    send_chunks,
    silent,
    write_bundle,
)
from tests.fakes.scripted_server import REGION, Script, ScriptedServer, ScriptedStream

LONG = MedicalResult("r-2", 0.0, 9.0, False, (MedicalAlternative("synthetic " * 500),))  # 5 kB
MORE_THAN_SOCKETS_HOLD = 100_000  # chunks: 320 MB


@pytest.fixture
def plain(carrier: Carrier) -> Wire:
    """Cleartext, where TLS makes no difference."""
    return Wire(carrier)


# The orderly path


def test_audio_goes_out_and_results_come_back_after_the_end(wire: Wire) -> None:
    received: list[bytes] = []

    async def script(stream: ScriptedStream) -> None:
        stream.respond(headers=[("x-amzn-transcribe-session-id", REQUEST.session_id or "")])
        await stream.send_results()
        received.append(await stream.all_audio())
        await stream.client_ended.wait()
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert stream.request_id == "synthetic-request-id"
        assert stream.session_id == REQUEST.session_id
        assert await stream.receive() == ()
        await send_chunks(stream, 60)  # 192,000 bytes: three times HTTP/2's initial window
        await stream.end()
        assert await receive_all(stream) == [FINAL]
        assert await stream.receive() is None

    run(script, client, wire)
    assert received == [CHUNK * 60]


def test_sending_and_receiving_go_on_at_the_same_time(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        while await stream.next_audio() is not None:
            await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        receiver = asyncio.ensure_future(receive_all(stream))
        for _ in range(40):
            await stream.send_audio(CHUNK)
            await asyncio.sleep(0)
        await stream.end()
        assert await receiver == [FINAL] * 40

    run(script, client, wire)


def test_each_stream_has_a_connection_of_its_own(plain: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.all_audio()
        stream.end()

    async def client(stream: TranscribeStream, server: ScriptedServer) -> None:
        second = await plain.connect(server.port)
        assert len(server.streams) == 2
        for one in (stream, second):
            await one.end()
            assert await receive_all(one) == []
        await second.close()

    run(script, client, plain)


def test_results_cut_into_single_bytes_and_larger_than_a_window(plain: Wire) -> None:
    huge = MedicalResult("r-2", 0.0, 9.0, False, (MedicalAlternative("synthetic " * 20_000),))

    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send(encode_transcript_event([FINAL]), piece_bytes=1)
        await stream.send(encode_transcript_event([huge]))
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert await receive_all(stream) == [FINAL, huge]

    run(script, client, plain)


# Back-pressure


async def stop_reading(stream: ScriptedStream) -> None:
    """Accept the stream and then leave everything in the socket."""
    stream.respond()
    await stream.send_results()
    stream.take_everything()
    await asyncio.sleep(0.05)
    stream.pause_reading()
    await stream.client_left.wait()


def test_a_peer_that_stops_reading_blocks_sending_until_the_timeout(wire: Wire) -> None:
    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(WriteTimeoutError, match=r"0\.4 s") as caught:
            await send_chunks(stream, MORE_THAN_SOCKETS_HOLD)
        assert caught.value.retryable

    run(stop_reading, client, wire, write_timeout_seconds=0.4, read_timeout_seconds=5)


def test_a_failed_stream_leaves_its_connection_even_if_nobody_closes_it(wire: Wire) -> None:
    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(WriteTimeoutError):
            await send_chunks(stream, MORE_THAN_SOCKETS_HOLD)
        assert isinstance(stream, WireStream)
        await asyncio.wait_for(stream._lost.wait(), 3)  # unsent bytes do not keep the socket open

    run(stop_reading, client, wire, write_timeout_seconds=0.3, read_timeout_seconds=5)


async def send_numbered(stream: TranscribeStream, sent: list[bytes]) -> None:
    """Send until cancelled; `sent` are the chunks whose sending has returned."""
    while True:
        chunk = len(sent).to_bytes(4, "big") + CHUNK[4:]
        await stream.send_audio(chunk)
        sent.append(chunk)


async def until_it_stands(sent: list[bytes]) -> None:
    before = -1
    while len(sent) != before:
        before = len(sent)
        await asyncio.sleep(0.1)


def stops_reading_until(resume: asyncio.Event, received: list[bytes]) -> Script:
    """It accepts the stream, leaves everything in the socket until then, and takes all of the audio."""

    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        stream.take_everything()
        await asyncio.sleep(0.05)
        stream.pause_reading()
        await resume.wait()
        stream.resume_reading()
        received.append(await stream.all_audio())
        stream.end()

    return script


def test_a_send_cancelled_in_its_wait_has_sent_nothing(wire: Wire) -> None:
    received: list[bytes] = []
    resume = asyncio.Event()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await asyncio.sleep(0.1)
        sent: list[bytes] = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_numbered(stream, sent), 0.5)
        resume.set()
        await stream.send_audio(b"after")
        await stream.end()
        assert await receive_all(stream) == []
        assert received == [b"".join(sent) + b"after"]

    run(stops_reading_until(resume, received), client, wire)


def test_a_reader_that_is_slow_stops_the_service(wire: Wire) -> None:
    sent: list[int] = []
    count = 6000  # 30 MB: more than sockets hold

    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        for number in range(count):
            await stream.send_results(LONG)
            sent.append(number)
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        before = -1
        while before != len(sent):  # until nothing moves any more
            before = len(sent)
            await asyncio.sleep(0.3)
        assert 5 < len(sent) < count
        assert await receive_all(stream) == [LONG] * count

    run(script, client, wire)


# The service says no


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [(400, "BadRequestException", BadRequestError), (429, "LimitExceededException", LimitExceededError)],
)
def test_a_refusal_before_the_stream(wire: Wire, status: int, name: str, kind: type[TranscribeError]) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond(status, [("x-amzn-errortype", f"{name}:http://internal/")])
        await stream.send(b'{"Message":"no, because"}')
        stream.end()

    error = opening_fails(script, kind, wire)
    assert (error.code, error.message, error.request_id) == (name, "no, because", "synthetic-request-id")


def test_a_refusal_whose_body_never_ends_is_still_the_refusal(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond(429, [("x-amzn-errortype", "LimitExceededException")])
        await stream.client_left.wait()

    opening_fails(script, LimitExceededError, wire, connect_timeout_seconds=1)


def test_an_exception_in_the_stream_comes_after_the_results(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.next_audio()
        await stream.send_results(FINAL)
        await stream.send(encode_exception("LimitExceededException", "the longest duration is reached"))
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await stream.send_audio(CHUNK)
        assert await stream.receive() == (FINAL,)
        error = await receiving_fails(stream, LimitExceededError)
        assert error.throttling
        assert error.request_id == "synthetic-request-id"

    run(script, client, wire)


def test_a_clean_end_before_the_client_s(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert await receive_all(stream) == [FINAL]
        with pytest.raises(StreamEndedError):
            await stream.send_audio(CHUNK)

    run(script, client, wire)


# The service's clock


def expired(ahead_seconds: int) -> list[tuple[str, str]]:
    """Headers of a refusal by a service whose clock is so far ahead."""
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + ahead_seconds))
    return [("x-amzn-errortype", "BadRequestException"), ("date", moment)]


EXPIRED = b'{"Message":"Signature expired: 20261123T170435Z is now earlier than 20261123T170935Z"}'


@pytest.mark.parametrize("ahead_seconds", [3600, -3600])
def test_a_refused_signature_corrects_the_clock(plain: Wire, ahead_seconds: int) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond(403, expired(ahead_seconds))
        await stream.send(EXPIRED)
        stream.end()

    clock = ServiceClock(now_ms)
    opening_fails(script, SignatureExpiredError, plain, clock=clock)
    assert abs(clock.offset_ms - 1000 * ahead_seconds) < 10_000


def test_any_other_refusal_leaves_the_clock_alone(plain: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond(400, expired(3600))
        await stream.send(b'{"Message":"no, because"}')
        stream.end()

    clock = ServiceClock(now_ms)
    opening_fails(script, BadRequestError, plain, clock=clock)
    assert clock.offset_ms == 0


def test_streams_refused_within_correct_the_clock_they_share_once(plain: Wire) -> None:
    both_are_open = asyncio.Event()

    async def script(stream: ScriptedStream) -> None:
        stream.respond(headers=expired(600)[1:])
        await both_are_open.wait()
        await stream.send(encode_exception("BadRequestException", "Signature expired: an hour"))
        stream.end()

    clock = ServiceClock(now_ms)

    async def client(first: TranscribeStream, server: ScriptedServer) -> None:
        second = await plain.connect(server.port, clock=clock)
        both_are_open.set()
        for stream in (first, second):
            await receiving_fails(stream, SignatureExpiredError)
        await second.close()

    run(script, client, plain, clock=clock)
    assert abs(clock.offset_ms - 600_000) < 10_000


# The wire breaks


@pytest.mark.parametrize("cut", ["abort", "close"])
def test_a_cut_connection(wire: Wire, cut: str) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send_results(FINAL)
        await stream.next_audio()
        getattr(stream, cut)()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert await stream.receive() == (FINAL,)
        await stream.send_audio(CHUNK)
        error = await receiving_fails(stream, ConnectionClosedError)
        assert error.retryable

    run(script, client, wire)


def test_a_connection_cut_while_sending_waits(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        stream.take_everything()
        stream.pause_reading()
        await asyncio.sleep(0.5)
        stream.abort()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        with pytest.raises(ConnectionClosedError):
            await send_chunks(stream, MORE_THAN_SOCKETS_HOLD)

    run(script, client, wire)


def test_a_connection_about_to_be_lost_takes_no_more_audio(wire: Wire) -> None:
    """A sender that never has to wait would otherwise not let the event loop tell of the loss."""

    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.next_audio()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await stream.send_audio(CHUNK)
        assert isinstance(stream, WireStream)
        assert stream._transport is not None
        stream._transport.abort()
        with pytest.raises(ConnectionClosedError):
            await stream.send_audio(CHUNK)

    run(script, client, wire)


def test_a_connection_cut_before_the_response(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.abort()

    assert opening_fails(script, ConnectionClosedError, wire).retryable


def test_a_response_that_ends_inside_a_message(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send(encode_transcript_event([FINAL]) + encode_transcript_event([FINAL])[:50])
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert await stream.receive() == (FINAL,)
        await receiving_fails(stream, TruncatedStreamError)

    run(script, client, wire)


def test_bytes_that_are_not_of_the_protocol(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send_results()
        await asyncio.sleep(0.05)
        stream.write_raw(b"\xff" * 100)
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await receiving_fails(stream, ProtocolError)

    run(script, client, wire)


def test_a_silent_peer_is_probed_and_then_given_up(wire: Wire) -> None:
    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        started = time.monotonic()
        await receiving_fails(stream, ReadTimeoutError)
        assert 0.35 < time.monotonic() - started < 2

    run(stop_reading, client, wire, read_timeout_seconds=0.4, write_timeout_seconds=5)


def stand_still() -> None:
    """Nothing runs in the loop for a second, as when the process is stopped."""
    time.sleep(1)


def test_a_standstill_of_our_own_is_not_the_peer_s_silence(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.send_results()
        await asyncio.sleep(0.3)
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        stand_still()
        assert await receive_all(stream) == [FINAL]

    run(script, client, wire, read_timeout_seconds=0.6)


def test_a_standstill_of_our_own_is_not_a_refusal_to_take_audio(wire: Wire) -> None:
    resume = asyncio.Event()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await asyncio.sleep(0.1)
        sent: list[bytes] = []
        sending = asyncio.ensure_future(send_numbered(stream, sent))
        await until_it_stands(sent)
        blocked_at = len(sent)
        stand_still()
        resume.set()
        while len(sent) == blocked_at:  # `run` ends it
            assert not sending.done()
            await asyncio.sleep(0.01)
        sending.cancel()
        await stream.end()
        assert await receive_all(stream) == []

    script = stops_reading_until(resume, [])
    run(script, client, wire, write_timeout_seconds=0.8, read_timeout_seconds=5)


def test_a_quiet_peer_that_answers_the_probe_is_kept(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await asyncio.sleep(1.8)
        await stream.send_results(FINAL)
        stream.end()

    async def client(stream: TranscribeStream, server: ScriptedServer) -> None:
        assert await receive_all(stream) == [FINAL]
        assert server.streams[0].pings > 0

    run(script, client, wire, read_timeout_seconds=0.8)


# Opening and closing


def test_nobody_listens(plain: Wire) -> None:
    async def main() -> None:
        async with plain.server(silent) as server:
            port = server.port
        with pytest.raises(ConnectError, match=rf"http://127\.0\.0\.1:{port}: Connection refused") as caught:
            await plain.connect(port)
        assert type(caught.value) is ConnectError

    asyncio.run(main())


def test_a_host_that_does_not_exist(plain: Wire) -> None:
    async def main() -> None:
        endpoint = resolve_endpoint(REGION, "https://no-such-host.invalid")
        with pytest.raises(ConnectError, match=r"https://no-such-host\.invalid"):
            await plain.connect_to(endpoint)

    asyncio.run(main())


def test_a_server_that_never_answers(wire: Wire) -> None:
    error = opening_fails(silent, ConnectTimeoutError, wire, connect_timeout_seconds=0.3)
    assert "within 0.3 s" in str(error)


def test_a_server_that_never_shakes_hands(wire: Wire) -> None:
    """It takes the TCP connection: of TLS, or of the request, nothing comes back."""
    left = asyncio.Event()

    async def main() -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65_536):
                pass
            writer.close()
            left.set()

        async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectTimeoutError):
                await wire.connect(server.sockets[0].getsockname()[1], connect_timeout_seconds=0.3)
            await asyncio.wait_for(left.wait(), 5)

    asyncio.run(main())


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def speak_something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.test ESMTP\r\n")
    await reader.read(65_536)
    writer.close()


@pytest.mark.parametrize("answer", [hang_up, speak_something_else])
def test_tls_with_a_server_that_has_none_says_why(carrier: Carrier, ca_bundle: str, answer: Answer) -> None:
    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = resolve_endpoint(REGION, f"https://127.0.0.1:{port}")
            with pytest.raises((ConnectError, TlsError)) as caught:
                await Wire(carrier).connect_to(endpoint, ca_bundle=ca_bundle)
            reason = str(caught.value).rpartition(": ")[2]
            assert reason not in ("", "None")

    asyncio.run(main())


def test_a_server_that_wants_tls(carrier: Carrier, authority: trustme.CA) -> None:
    """Speaking cleartext to it ends without an answer, or with an alert, which is not of the protocol."""

    async def main() -> None:
        async with carrier.server(silent, carrier.tls(authority)) as server:
            with pytest.raises((ConnectionClosedError, ProtocolError), match="does it") as caught:
                await Wire(carrier).connect(server.port)
            assert caught.value.retryable

    asyncio.run(main())


def test_a_certificate_of_an_unknown_authority(
    carrier: Carrier, authority: trustme.CA, tmp_path: Path
) -> None:
    async def script(_stream: ScriptedStream) -> None:
        raise AssertionError("a request arrived")

    wire = Wire(carrier, carrier.tls(authority), write_bundle(trustme.CA(), tmp_path))
    error = opening_fails(script, TlsError, wire)
    assert "not trusted" in str(error)
    assert error.fatal


def test_a_certificate_for_another_host(carrier: Carrier, authority: trustme.CA, ca_bundle: str) -> None:
    wire = Wire(carrier, carrier.tls(authority, "another.test"), ca_bundle)
    assert "not trusted" in str(opening_fails(silent, TlsError, wire))


def test_a_ca_bundle_is_trusted(carrier: Carrier, authority: trustme.CA, tmp_path: Path) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        assert await receive_all(stream) == []

    run(script, client, Wire(carrier, carrier.tls(authority), write_bundle(authority, tmp_path)))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_named(
    carrier: Carrier, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"bundle\.pem"):
        tls_context(str(path), carrier.alpn_protocol)


def test_close_tells_the_service_and_wakes_the_reader(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.client_left.wait()

    async def client(stream: TranscribeStream, server: ScriptedServer) -> None:
        reader = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0.05)
        await stream.close()
        await stream.close()
        with pytest.raises(StreamClosedError):
            await reader
        with pytest.raises(StreamClosedError):
            await stream.send_audio(CHUNK)
        await asyncio.wait_for(server.streams[0].client_left.wait(), 5)
        said = {"http2": ("client_reset", 8), "websocket": ("client_close", 1001)}  # CANCEL, going away
        name, code = said[wire.carrier.name]
        assert getattr(server.streams[0], name) == code

    run(script, client, wire)


def test_close_does_not_wait_for_a_peer_that_reads_nothing(wire: Wire) -> None:
    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_chunks(stream, MORE_THAN_SOCKETS_HOLD), 0.5)
        started = time.monotonic()
        await stream.close()
        assert time.monotonic() - started < 3

    run(stop_reading, client, wire)


def test_close_while_results_wait_for_their_reader(wire: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        for _ in range(6000):
            await stream.send_results(LONG)

    async def client(stream: TranscribeStream, server: ScriptedServer) -> None:
        await stream.receive()
        await asyncio.sleep(0.3)
        started = time.monotonic()
        await stream.close()
        assert time.monotonic() - started < 3
        assert isinstance(stream, WireStream)
        await asyncio.wait_for(stream._lost.wait(), 1)

    run(script, client, wire)


def test_opening_can_be_cancelled_and_leaves_no_connection(wire: Wire) -> None:
    async def main() -> None:
        async with wire.server(silent) as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await wire.connect(server.port)
            await asyncio.wait_for(server.streams[0].client_left.wait(), 5)

    asyncio.run(main())


def test_audio_after_the_end_is_an_illegal_call(plain: Wire) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.all_audio()
        stream.end()

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await stream.end()
        with pytest.raises(IllegalCallError):
            await stream.send_audio(CHUNK)
        assert await receive_all(stream) == []

    run(script, client, plain)


# Privacy


def test_nothing_of_request_audio_or_text_is_logged_at_debug(
    plain: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(stream: ScriptedStream) -> None:
        stream.respond()
        await stream.all_audio()
        await stream.send_results(FINAL)
        await stream.send(encode_transcript_event([FINAL])[:-1] + b"\x00")

    async def client(stream: TranscribeStream, _server: ScriptedServer) -> None:
        await stream.send_audio(b"synthetic audio!")
        await stream.end()
        assert await stream.receive() == (FINAL,)
        with pytest.raises(TranscribeError) as caught:
            await stream.receive()
        assert "synthetic words" not in str(caught.value) + repr(stream)

    with caplog.at_level(logging.DEBUG):
        run(script, client, plain)
    assert caplog.records  # asyncio says something at DEBUG: capturing works
    for secret in (
        "synthetic words",
        "synthetic audio",
        "synthetic-session-token",
        "synthetic-secret",
        "Signature=",
        "X-Amz-",
    ):
        assert secret not in caplog.text
