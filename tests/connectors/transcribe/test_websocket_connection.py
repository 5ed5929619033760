"""The WebSocket connection without I/O, against the server half of `websockets`: cuts, closes, noise."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from connectors.transcribe.errors import (
    BadRequestError,
    ConnectionClosedError,
    EndpointError,
    LimitExceededError,
    ProtocolError,
    ServiceError,
    SignatureExpiredError,
    StreamClosedError,
    StreamEndedError,
    TlsError,
    TranscribeError,
    TruncatedStreamError,
)
from connectors.transcribe.events import encode_exception, encode_transcript_event, parse_audio_event
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.model import (
    MedicalResult,
    MedicalTranscriptEvent,
    StartMedicalStreamTranscriptionRequest,
)
from connectors.transcribe.protocol import EndOfStream
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.websocket_connection import (
    MAX_MESSAGE_BYTES,
    MAX_WAITING_EVENTS,
    WebSocketConnection,
)
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol

NOW_MS = 1_795_453_475_575
SESSION_ID = "01234567-89ab-cdef-0123-456789abcdef"
RESULT = MedicalResult("r", 0.0, 1.0, is_partial=False)
EVENT = encode_transcript_event([RESULT])
BODY = b'{"Message":"no, because"}'


def client() -> WebSocketConnection:
    protocol = WebSocketStreamProtocol(
        StartMedicalStreamTranscriptionRequest(),
        Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "tokenEXAMPLE"),
        authority="example.test:8443",
        region="us-east-1",
    )
    return WebSocketConnection(protocol, "example.test", 8443, secure=True)


@dataclass
class Pair:
    """A client that has sent its request, and the server that has read it."""

    connection: WebSocketConnection
    server: ServerProtocol
    request: Request

    @classmethod
    def requested(cls) -> Pair:
        connection, server = client(), ServerProtocol()
        connection.start(NOW_MS)
        server.receive_data(connection.data_to_send())
        (request,) = server.events_received()
        assert isinstance(request, Request)
        return cls(connection, server, request)

    @classmethod
    def accepted(cls) -> Pair:
        pair = cls.requested()
        pair.accept()
        pair.deliver()
        assert pair.protocol.accepted
        return pair

    @property
    def protocol(self) -> WebSocketStreamProtocol:
        return self.connection.protocol

    def accept(self, **headers: str) -> None:
        response = self.server.accept(self.request)
        given = {"x-amzn-RequestId": "r-1", "x-amzn-SessionId": SESSION_ID}
        for name, value in (given | headers).items():
            response.headers[name] = value
        self.server.send_response(response)

    def outbound(self) -> bytes:
        """What the server has to say."""
        return b"".join(self.server.data_to_send())

    def deliver(self) -> None:
        self.connection.receive_data(self.outbound())

    def frames(self) -> list[Frame]:
        """What the client has sent since, as the server reads it."""
        self.server.receive_data(self.connection.data_to_send())
        return [event for event in self.server.events_received() if isinstance(event, Frame)]

    def events(self) -> list[object]:
        found: list[object] = []
        while (event := self.protocol.next_event()) is not None:
            if event is EndOfStream.END:
                return [*found, event]
            found.append(event.results)  # type: ignore[union-attr]
        return found

    def failure(self) -> TranscribeError:
        with pytest.raises(TranscribeError) as caught:
            self.protocol.next_event()
        assert caught.value is self.protocol.failure
        return caught.value


# The orderly path


def test_the_request_is_signed_for_the_host_it_names() -> None:
    request = Pair.requested().request
    parts = urlsplit(request.path)
    query = parse_qs(parts.query)
    assert parts.path == "/medical-stream-transcription-websocket"
    assert request.headers.get_all("Host") == ["example.test:8443"]
    assert query["X-Amz-SignedHeaders"] == ["host"]
    assert query["X-Amz-Date"] == ["20261123T170435Z"]
    assert "Sec-WebSocket-Extensions" not in request.headers  # audio does not shrink


def test_audio_out_results_in_and_the_server_s_close() -> None:
    pair = Pair.requested()
    pair.accept()
    pair.server.send_binary(encode_transcript_event())
    pair.deliver()
    assert (pair.protocol.request_id, pair.protocol.session_id) == ("r-1", SESSION_ID)
    assert pair.events() == [()]
    for data in (b"one", b"two"):
        pair.connection.send(pair.protocol.send_audio(data, NOW_MS))
    pair.connection.send(pair.protocol.end(NOW_MS), end_stream=True)
    frames = pair.frames()
    assert [frame.opcode for frame in frames] == [Opcode.BINARY] * 3
    assert [parse_audio_event(decode_message(bytes(f.data))) for f in frames] == [b"one", b"two", b""]
    assert pair.connection.sent_bytes == sum(len(frame.data) for frame in frames)
    pair.server.send_binary(EVENT)
    pair.server.send_close(1000)
    pair.deliver()
    assert pair.events() == [(RESULT,), EndOfStream.END]
    (close,) = pair.frames()
    assert close.opcode is Opcode.CLOSE
    pair.connection.connection_lost(None)
    assert pair.events() == [EndOfStream.END]


def test_results_come_after_the_own_end_until_the_server_closes() -> None:
    pair = Pair.accepted()
    pair.connection.send(pair.protocol.end(NOW_MS), end_stream=True)
    for _ in range(3):
        pair.server.send_binary(EVENT)
        pair.deliver()
        assert pair.events() == [(RESULT,)]
    assert not pair.protocol.finished


@pytest.mark.parametrize("code", [1000, None])
def test_a_close_before_the_own_end_is_clean_and_takes_no_more_audio(code: int | None) -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT)
    pair.server.send_close(code)
    pair.deliver()
    assert pair.events() == [(RESULT,), EndOfStream.END]
    with pytest.raises(StreamEndedError) as caught:
        pair.protocol.send_audio(b"x", NOW_MS)
    assert caught.value.retryable
    pair.frames()
    pair.connection.send(b"too late")  # as from a sender that has waited meanwhile
    assert pair.connection.data_to_send() == b""


def test_a_message_in_fragments_with_a_ping_between_them() -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT[:7], fin=False)
    pair.server.send_ping(b"between")
    pair.server.send_continuation(EVENT[7:50], fin=False)
    pair.server.send_continuation(b"", fin=False)
    pair.server.send_continuation(EVENT[50:], fin=True)
    pair.server.send_binary(EVENT)
    pair.deliver()
    assert pair.events() == [(RESULT,), (RESULT,)]
    assert [(frame.opcode, frame.data) for frame in pair.frames()] == [(Opcode.PONG, b"between")]


def test_a_probe_is_a_ping_once_the_stream_was_accepted() -> None:
    pair = Pair.requested()
    pair.connection.ping()
    assert pair.connection.data_to_send() == b""
    pair.accept()
    pair.deliver()
    pair.connection.ping()
    assert [frame.opcode for frame in pair.frames()] == [Opcode.PING]
    pair.deliver()
    assert pair.events() == []
    assert not pair.protocol.finished


def test_reading_pauses_while_results_wait_for_their_reader() -> None:
    pair = Pair.accepted()
    for number in range(MAX_WAITING_EVENTS + 1):
        assert not pair.connection.reading_paused, number
        pair.server.send_binary(EVENT)
        pair.deliver()
    assert pair.connection.reading_paused
    pair.protocol.next_event()
    assert not pair.connection.reading_paused


# Cuts


def whole_conversation() -> tuple[Pair, bytes]:
    pair = Pair.requested()
    pair.accept()
    pair.server.send_binary(EVENT)
    pair.server.send_binary(EVENT[:40], fin=False)
    pair.server.send_ping(b"?")
    pair.server.send_continuation(EVENT[40:], fin=True)
    pair.server.send_close(1000, "done")
    return pair, pair.outbound()


def test_it_does_not_matter_where_the_server_s_bytes_are_cut() -> None:
    for cut in range(len(whole_conversation()[1])):
        pair, wire = whole_conversation()
        pair.connection.receive_data(wire[:cut])
        pair.connection.receive_data(wire[cut:])
        assert pair.events() == [(RESULT,), (RESULT,), EndOfStream.END]


def test_single_bytes() -> None:
    pair, wire = whole_conversation()
    for byte in wire:
        pair.connection.receive_data(bytes((byte,)))
    assert pair.events() == [(RESULT,), (RESULT,), EndOfStream.END]
    assert pair.protocol.request_id == "r-1"


def test_a_connection_lost_anywhere_is_a_retryable_failure_after_the_results() -> None:
    length = len(whole_conversation()[1])
    counts = []
    for cut in range(length):
        pair, wire = whole_conversation()
        pair.connection.receive_data(wire[:cut])
        pair.connection.connection_lost(ConnectionResetError())
        counts.append(pair.protocol.waiting_events)
        for _ in range(counts[-1]):
            pair.protocol.next_event()
        error = pair.failure()
        assert type(error) is ConnectionClosedError
        assert error.retryable
        assert "ConnectionResetError" in str(error)
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


@pytest.mark.parametrize("answered", [False, True])
def test_a_lost_connection_says_whether_there_was_an_answer(answered: bool) -> None:
    pair = Pair.requested()
    if answered:
        pair.connection.receive_data(b"HTTP/1.1 101 Swit")
    pair.connection.connection_lost(None)
    error = pair.failure()
    assert type(error) is ConnectionClosedError
    assert ("without an answer" in str(error)) is not answered


@pytest.mark.parametrize("cut", [0, 7, -1])
def test_a_close_inside_an_event(cut: int) -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT + EVENT[:cut])
    pair.server.send_close(1000)
    pair.deliver()
    assert pair.protocol.next_event() is not None
    if cut:
        assert type(pair.failure()) is TruncatedStreamError
    else:
        assert pair.events() == [EndOfStream.END]


def test_a_close_inside_a_fragmented_message_breaks_the_protocol() -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT[:9], fin=False)
    pair.server.send_close(1000)
    pair.deliver()
    assert type(pair.failure()) is ProtocolError


# The service closes


@pytest.mark.parametrize(
    ("code", "kind", "throttling", "name"),
    [
        (1001, ConnectionClosedError, False, "GOING_AWAY"),
        (1002, ProtocolError, False, "PROTOCOL_ERROR"),
        (1003, ProtocolError, False, "UNSUPPORTED_DATA"),
        (1007, ProtocolError, False, "INVALID_DATA"),
        (1008, ConnectionClosedError, False, "POLICY_VIOLATION"),
        (1009, ConnectionClosedError, False, "MESSAGE_TOO_BIG"),
        (1011, ConnectionClosedError, False, "INTERNAL_ERROR"),
        (1012, ConnectionClosedError, False, "SERVICE_RESTART"),
        (1013, ConnectionClosedError, True, "TRY_AGAIN_LATER"),
        (1014, ConnectionClosedError, False, "BAD_GATEWAY"),
        (3000, ConnectionClosedError, False, "3000"),
        (4999, ConnectionClosedError, False, "4999"),
    ],
)
def test_each_close_code(code: int, kind: type[TranscribeError], throttling: bool, name: str) -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT)
    pair.server.send_close(code, "a reason that nobody has checked")
    pair.deliver()
    assert pair.protocol.next_event() is not None
    error = pair.failure()
    assert type(error) is kind
    assert (error.retryable, error.throttling, error.request_id) == (True, throttling, "r-1")
    assert str(code) in str(error)
    assert name in str(error)
    assert "reason" not in str(error)


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 1016, 2999, 5000])
def test_a_close_code_that_may_not_be_sent(code: int) -> None:
    pair = Pair.accepted()
    pair.connection.receive_data(b"\x88\x02" + code.to_bytes(2, "big"))
    error = pair.failure()
    assert type(error) is ProtocolError
    assert error.retryable


@pytest.mark.parametrize("code", [1000, 1008, 1011])
def test_an_exception_before_the_close_is_what_the_stream_fails_with(code: int) -> None:
    pair = Pair.accepted()
    pair.server.send_binary(EVENT)
    pair.server.send_binary(encode_exception("LimitExceededException", "slow down"))
    pair.server.send_binary(EVENT)
    pair.server.send_close(code)
    pair.deliver()
    pair.connection.connection_lost(ConnectionResetError())
    assert pair.protocol.next_event() is not None
    error = pair.failure()
    assert type(error) is LimitExceededError
    assert (error.message, error.request_id) == ("slow down", "r-1")


def test_a_text_message_is_no_event() -> None:
    pair = Pair.accepted()
    pair.server.send_text(EVENT[:1] + b"synthetic text", fin=False)
    pair.server.send_continuation(EVENT, fin=True)
    pair.deliver()
    error = pair.failure()
    assert type(error) is ProtocolError
    assert error.retryable
    assert "text message" in str(error)
    assert "synthetic" not in str(error)


# The service refuses


def answer(status: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    return "\r\n".join((f"HTTP/{version} {status}", *headers, "", "")).encode() + body


REFUSAL = (
    "400 Bad Request",
    "x-amzn-ErrorType: BadRequestException:http://internal/",
    "x-amzn-RequestId: r-9",
)
THROTTLED = ("429 Too Many", "x-amzn-errortype: LimitExceededException")


@pytest.mark.parametrize(
    ("wire", "ends"),
    [
        (answer(*REFUSAL, f"content-length: {len(BODY)}", body=BODY), False),
        (answer(*REFUSAL, body=BODY), True),
        (answer(*REFUSAL, "connection: close", body=BODY), True),
        (
            answer(*REFUSAL, "transfer-encoding: chunked", body=b"19\r\n" + BODY + b"\r\n0\r\n\r\n"),
            False,
        ),
    ],
    ids=["length", "to the end", "close", "chunked"],
)
def test_a_refusal_and_its_body(wire: bytes, ends: bool) -> None:
    for cut in range(len(wire)):
        pair = Pair.requested()
        pair.connection.receive_data(wire[:cut])
        assert pair.protocol.next_event() is None
        pair.connection.receive_data(wire[cut:])
        if ends:
            pair.connection.connection_lost(None)
        error = pair.failure()
        assert type(error) is BadRequestError
        assert (error.code, error.message) == ("BadRequestException", "no, because")
        assert (error.http_status, error.request_id, error.retryable) == (400, "r-9", False)


@pytest.mark.parametrize(
    "wire",
    [
        answer(*THROTTLED, "content-length: 25", body=BODY[:9]),
        answer(*THROTTLED, "content-length: 25"),
        answer(*THROTTLED, "transfer-encoding: chunked"),
        answer(*THROTTLED, version="1.0"),
        answer(*THROTTLED, "content-length: 1"),
        answer("429", "x-amzn-errortype: LimitExceededException"),
        answer(*THROTTLED, f"content-length: {2**40}"),
    ],
)
@pytest.mark.parametrize("end", ["lost", "timeout"])
def test_a_refusal_whose_body_is_cut_or_unreadable_is_still_the_refusal(wire: bytes, end: str) -> None:
    pair = Pair.requested()
    pair.connection.receive_data(wire)
    if end == "lost":
        pair.connection.connection_lost(ConnectionResetError())
    else:
        pair.protocol.receive_failure(StreamClosedError("the opener's time was up"))
    error = pair.failure()
    assert type(error) is LimitExceededError
    assert error.throttling
    assert isinstance(error, ServiceError)
    assert error.http_status == 429


def test_a_refusal_teaches_the_service_s_time() -> None:
    pair = Pair.requested()
    body = b'{"message":"Signature expired: 20261123T170435Z is now earlier than"}'
    date = "date: Mon, 23 Nov 2026 17:14:35 GMT"
    name = "x-amzn-errortype: InvalidSignatureException"
    pair.connection.receive_data(answer("403 Forbidden", name, date, body=body))
    assert pair.protocol.server_date == "Mon, 23 Nov 2026 17:14:35 GMT"
    pair.connection.connection_lost(None)
    assert type(pair.failure()) is SignatureExpiredError


def test_a_body_that_does_not_end_is_not_kept() -> None:
    pair = Pair.requested()
    tracemalloc.start()
    try:
        pair.connection.receive_data(answer("503 Unavailable"))
        for _ in range(400):
            pair.connection.receive_data(b"<html>" * 10_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000
    error = pair.failure()
    assert isinstance(error, ServiceError)
    assert (error.http_status, error.retryable) == (503, True)


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "301 Moved",
        "302 Found",
        "307 Elsewhere",
        "304 Same",
        "404 Not Found",
        "405 No",
        "426 Upgrade",
    ],
)
def test_an_address_without_a_websocket(status: str) -> None:
    pair = Pair.requested()
    location = "location: https://example.test/?secret=1"
    pair.connection.receive_data(answer(status, location, "content-length: 4", body=b"nope"))
    error = pair.failure()
    assert type(error) is EndpointError
    assert error.fatal
    assert status[:3] in str(error)
    assert "secret" not in str(error)


def test_an_error_of_the_service_with_such_a_status_is_the_service_s() -> None:
    pair = Pair.requested()
    name = "x-amzn-errortype: UnknownOperationException"
    pair.connection.receive_data(answer("404 Not Found", name, "content-length: 0"))
    error = pair.failure()
    assert isinstance(error, ServiceError)
    assert (error.code, error.http_status, error.fatal) == ("UnknownOperationException", 404, True)


@pytest.mark.parametrize(
    ("status", "retryable", "throttling"),
    [
        ("403 Forbidden", False, False),
        ("429 Too Many", True, True),
        ("500 Oops", True, False),
        ("502 Bad Gateway", True, True),
        ("503 Unavailable", True, True),
    ],
)
def test_a_refusal_without_a_name_goes_by_its_status(status: str, retryable: bool, throttling: bool) -> None:
    pair = Pair.requested()
    pair.connection.receive_data(answer(status, "content-length: 6", body=b"<html>"))
    error = pair.failure()
    assert isinstance(error, ServiceError)
    assert (error.retryable, error.throttling) == (retryable, throttling)
    assert f"HTTP status {status[:3]}" in str(error)


# The peer speaks something else


@pytest.mark.parametrize(
    "wire",
    [
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),  # HTTP/2 settings
        b"\x15\x03\x03\x00\x02\x02\x46",  # a TLS alert
        b"SSH-2.0-OpenSSH_9.2 secret-banner\r\n",
        b"HTTP/2 101 Switching\r\n\r\n",
        b"HTTP/1.1 1O1 Switching\r\n\r\n",
        b"HTTP/1.1 101 Switching\nconnection: upgrade\n\n",
        b"HTTP/1.1 101 Switching\r\nno header\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n" + b"x: y\r\n" * 200,
        b"HTTP/1.1 101 Switching\r\nx: " + b"y" * 100_000,
        b"x" * 10_000,
    ],
)
def test_an_answer_that_is_no_http(wire: bytes) -> None:
    pair = Pair.requested()
    pair.connection.receive_data(wire)
    pair.connection.receive_data(b"and more")
    error = pair.failure()
    assert type(error) is ProtocolError
    assert error.retryable
    assert "is https or http right" in str(error)
    assert "secret" not in str(error)
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "change",
    [
        ("Sec-WebSocket-Accept", "c2VjcmV0LWFjY2VwdA=="),
        ("Sec-WebSocket-Accept", None),
        ("Upgrade", "h2c-secret"),
        ("Upgrade", None),
        ("Connection", None),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Sec-WebSocket-Protocol", "secret"),
    ],
)
def test_an_acceptance_that_is_none(change: tuple[str, str | None]) -> None:
    pair = Pair.requested()
    response = pair.server.accept(pair.request)
    name, value = change
    if name in response.headers:
        del response.headers[name]
    if value is not None:
        response.headers[name] = value
    pair.server.send_response(response)
    pair.deliver()
    error = pair.failure()
    assert type(error) is ProtocolError
    assert "broke the WebSocket protocol" in str(error)
    assert "ecret" not in str(error)
    assert not pair.protocol.accepted


@pytest.mark.parametrize("alpn", [None, "http/1.1", "h2"])
def test_tls_may_agree_on_http1_or_on_nothing(alpn: str | None) -> None:
    connection = client()
    connection.tls_established(alpn)
    failed = connection.protocol.failure
    assert (type(failed) is TlsError) is (alpn == "h2")
    connection.receive_data(b"\x00\x00\x12")  # a server that goes on all the same
    connection.connection_lost(None)
    assert (type(connection.protocol.failure) is TlsError) is (alpn == "h2")


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.integers(0, 300))
def test_arbitrary_frames_raise_nothing_out_of_the_connection(noise: bytes, valid: bool, cut: int) -> None:
    pair = Pair.accepted()
    if valid:
        pair.server.send_binary(EVENT)
    wire = pair.outbound() + noise
    for piece in (wire[:cut], wire[cut:]):
        if piece:
            pair.connection.receive_data(piece)
    pair.connection.connection_lost(None)
    pair.connection.abandon()
    pair.connection.data_to_send()
    while not isinstance(event := next_or_error(pair), TranscribeError):
        if event is EndOfStream.END:
            return
    assert event.retryable
    assert event.__cause__ is None


def next_or_error(pair: Pair) -> object:
    try:
        return pair.protocol.next_event()
    except TranscribeError as error:
        return error


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_arbitrary_answers_raise_nothing_out_of_the_connection(pieces: list[bytes]) -> None:
    pair = Pair.requested()
    for piece in pieces:
        pair.connection.receive_data(piece)
    pair.connection.connection_lost(None)
    error = pair.failure()
    assert isinstance(error, ConnectionClosedError | ProtocolError | ServiceError | EndpointError)


SERVER_STEPS: dict[str, Callable[[Pair], object]] = {
    "accept": lambda pair: pair.accept(),
    "result": lambda pair: pair.server.send_binary(EVENT),
    "exception": lambda pair: pair.server.send_binary(encode_exception("ConflictException", "")),
    "close": lambda pair: pair.server.send_close(1000),
}
STEPS: dict[str, Callable[[Pair], object]] = {
    "deliver": lambda pair: pair.deliver(),
    "refuse": lambda pair: pair.connection.receive_data(answer(*THROTTLED, "content-length: 0")),
    "noise": lambda pair: pair.connection.receive_data(b"\xff\x00"),
    "ping": lambda pair: pair.connection.ping(),
    "audio": lambda pair: pair.connection.send(b"synthetic"),
    "write": lambda pair: pair.connection.data_to_send(),
    "abandon": lambda pair: pair.connection.abandon(),
    "give up": lambda pair: pair.protocol.receive_failure(StreamClosedError("the stream was closed")),
    "next": next_or_error,
}


@given(st.lists(st.sampled_from(sorted(STEPS | SERVER_STEPS)), max_size=15))
def test_any_order_of_steps_ends_in_one_outcome_that_stays(steps: list[str]) -> None:
    pair = Pair.requested()
    for step in steps:
        if step in STEPS:
            STEPS[step](pair)
        else:
            with suppress(InvalidState, AssertionError):  # what the server may not say then
                SERVER_STEPS[step](pair)
    pair.connection.connection_lost(None)
    assert pair.protocol.finished
    while isinstance(outcome := next_or_error(pair), MedicalTranscriptEvent):
        pass
    assert outcome is next_or_error(pair)
    assert outcome is EndOfStream.END or isinstance(outcome, TranscribeError)


@given(st.data())
def test_frames_damaged_anywhere_end_in_a_typed_error_or_none(data: st.DataObject) -> None:
    pair = Pair.accepted()
    for _ in range(3):
        pair.server.send_binary(EVENT)
    pair.server.send_close(1000)
    wire = bytearray(pair.outbound())
    place = data.draw(st.integers(0, len(wire) - 1))
    wire[place] ^= data.draw(st.integers(1, 255))
    pair.connection.receive_data(bytes(wire))
    pair.connection.connection_lost(None)
    for _ in range(4):
        event = next_or_error(pair)
        if isinstance(event, TranscribeError):
            assert event.retryable
            return
    assert event is EndOfStream.END


@pytest.mark.parametrize("length", [MAX_MESSAGE_BYTES + 1, 2**40, 2**63 - 1])
def test_a_frame_beyond_the_limit_is_refused_by_its_length(length: int) -> None:
    pair = Pair.accepted()
    tracemalloc.start()
    try:
        pair.connection.receive_data(b"\x82\x7f" + length.to_bytes(8, "big"))
        error = pair.failure()
        for _ in range(100):
            pair.connection.receive_data(bytes(100_000))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(error) is ProtocolError
    assert peak_bytes < 1_000_000


def test_fragments_add_up_to_the_limit() -> None:
    pair = Pair.accepted()
    pair.connection.receive_data(b"\x02\x01\x00")  # the first byte of a message that never ends
    fragment = b"\x00\x7f" + (2**20).to_bytes(8, "big") + bytes(2**20)
    for _ in range(MAX_MESSAGE_BYTES // 2**20 + 1):
        pair.connection.receive_data(fragment)
    assert pair.protocol.failure is not None
    assert isinstance(pair.protocol.failure, ProtocolError)


# Leaving


def test_abandoning_says_why_and_only_once() -> None:
    pair = Pair.accepted()
    pair.connection.abandon()
    (close,) = pair.frames()
    assert (close.opcode, bytes(close.data)) == (Opcode.CLOSE, (1001).to_bytes(2, "big"))
    pair.connection.abandon()
    assert pair.connection.data_to_send() == b""
    pair.deliver()  # the server's closing frame changes nothing
    pair.connection.connection_lost(None)


def test_abandoning_after_a_failure_of_the_stream_s_own_is_no_fault_of_the_connection() -> None:
    pair = Pair.accepted()
    pair.server.send_binary(encode_exception("BadRequestException", ""))
    pair.deliver()
    pair.connection.abandon()
    (close,) = pair.frames()
    assert bytes(close.data) == (1000).to_bytes(2, "big")


@pytest.mark.parametrize("started", [False, True])
def test_abandoning_before_the_acceptance_is_silent(started: bool) -> None:
    connection = client()
    if started:
        connection.start(NOW_MS)
        connection.data_to_send()
    connection.abandon()
    assert connection.data_to_send() == b""


def test_an_answer_after_the_stream_was_closed_changes_nothing() -> None:
    for wire in (None, answer("429 Too Many", "content-length: 0")):
        pair = Pair.requested()
        pair.protocol.receive_failure(StreamClosedError("the stream was closed"))
        if wire is None:
            pair.accept()
            pair.server.send_binary(EVENT)
            pair.server.send_close(1000)
        pair.connection.receive_data(wire or pair.outbound())
        assert type(pair.failure()) is StreamClosedError
