"""The connection without I/O: any cut of the server's bytes, and the ends of a connection's life."""

from __future__ import annotations

import struct

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import (
    ConnectionClosedError,
    EndpointError,
    ProtocolError,
    ServiceError,
    StreamResetError,
    TranscribeError,
)
from connectors.transcribe.events import encode_transcript_event
from connectors.transcribe.http2_connection import Http2Connection
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import MedicalResult, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.protocol import EndOfStream
from connectors.transcribe.sigv4 import Credentials

NOW_MS = 1_795_453_475_575
RESULT = MedicalResult("r", 0.0, 1.0, is_partial=False)
GOAWAY = b"\x00\x00\x08\x07\x00" + bytes(4) + struct.pack(">II", 1, 0)


def pair() -> tuple[Http2StreamProtocol, Http2Connection, h2.connection.H2Connection]:
    """A client that has sent its request, and the `h2` server that has read it."""
    protocol = Http2StreamProtocol(
        StartMedicalStreamTranscriptionRequest(),
        Credentials("AKIDSYNTHETIC", "secretEXAMPLE"),
        authority="example.test",
        region="us-east-1",
    )
    connection = Http2Connection(protocol)
    connection.start(NOW_MS)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(connection.data_to_send())
    return protocol, connection, server


def respond(server: h2.connection.H2Connection, status: str = "200") -> None:
    server.send_headers(1, [(":status", status), ("x-amzn-request-id", "r-1")])


def failure(protocol: Http2StreamProtocol) -> TranscribeError:
    with pytest.raises(TranscribeError) as caught:
        protocol.next_event()
    return caught.value


@given(st.data())
def test_results_are_the_same_wherever_the_server_s_bytes_are_cut(data: st.DataObject) -> None:
    protocol, connection, server = pair()
    respond(server)
    server.send_data(1, encode_transcript_event([RESULT]))
    wire = server.data_to_send() + GOAWAY
    server.send_data(1, encode_transcript_event([RESULT]), end_stream=True)
    wire += server.data_to_send() + GOAWAY
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        connection.receive_data(wire[start:end])
        while (event := protocol.next_event()) not in (None, EndOfStream.END):
            events.append(event)
        connection.acknowledge()
    assert [event.results for event in events if event is not None] == [(RESULT,), (RESULT,)]
    assert protocol.next_event() is EndOfStream.END
    assert protocol.request_id == "r-1"


@given(st.binary(min_size=1, max_size=200))
def test_arbitrary_bytes_never_raise_out_of_the_connection(garbage: bytes) -> None:
    protocol, connection, server = pair()
    respond(server)
    connection.receive_data(server.data_to_send())
    connection.receive_data(garbage)
    connection.acknowledge()
    connection.abandon()
    connection.data_to_send()
    assert protocol.failure is None or protocol.failure.retryable


def test_the_window_is_filled_in_frames_of_the_peer_s_size_and_the_end_comes_last() -> None:
    protocol, connection, server = pair()
    respond(server)
    connection.receive_data(server.data_to_send())
    body = b""
    for number in range(30):
        connection.send(protocol.send_audio(bytes((number,)) * 3200, NOW_MS))
    connection.send(protocol.end(NOW_MS), end_stream=True)
    ended = False
    while not ended:
        events = server.receive_data(connection.data_to_send())
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                assert len(event.data or b"") <= 16_384
                body += event.data or b""
                server.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            ended = ended or isinstance(event, h2.events.StreamEnded)
        assert ended or connection.pending_bytes > 0
        connection.receive_data(server.data_to_send())
    assert len(body) == connection.sent_bytes == 30 * (3200 + 187) + 83
    assert connection.pending_bytes == 0


def test_an_unknown_error_code_keeps_its_number() -> None:
    protocol, connection, server = pair()
    server.reset_stream(1, 0x99)
    connection.receive_data(server.data_to_send())
    error = failure(protocol)
    assert isinstance(error, StreamResetError)
    assert (error.error_code, "error 153" in str(error)) == (0x99, True)


def test_an_odd_status_is_a_refusal() -> None:
    protocol, connection, server = pair()
    server.send_headers(1, [(":status", "418")], end_stream=True)
    connection.receive_data(server.data_to_send())
    error = failure(protocol)
    assert isinstance(error, ServiceError)
    assert error.http_status == 418


def test_the_library_s_text_does_not_reach_the_error() -> None:
    """`h2` quotes header values in its messages."""
    protocol, connection, server = pair()
    server.config.validate_outbound_headers = server.config.normalize_outbound_headers = False
    server.send_headers(1, [(":status", "200"), ("Upper-Secret", "secret-value")])
    connection.receive_data(server.data_to_send())
    error = failure(protocol)
    assert type(error) is ProtocolError
    assert "ecret" not in str(error)
    assert error.__cause__ is None


def test_http1_is_recognised() -> None:
    protocol, connection, _ = pair()
    connection.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert isinstance(failure(protocol), EndpointError)


def test_a_lost_connection_says_whether_there_was_an_answer() -> None:
    for answered in (False, True):
        protocol, connection, server = pair()
        if answered:
            connection.receive_data(server.data_to_send())
        connection.connection_lost(None)
        error = failure(protocol)
        assert isinstance(error, ConnectionClosedError)
        assert ("without an answer" in str(error)) is not answered


def test_abandoning_resets_the_stream_once_and_never_a_finished_one() -> None:
    protocol, connection, server = pair()
    connection.send(protocol.send_audio(b"x", NOW_MS))
    connection.abandon()
    events = server.receive_data(connection.data_to_send())
    assert any(isinstance(event, h2.events.StreamReset) for event in events)
    assert connection.pending_bytes == 0

    protocol, connection, server = pair()
    respond(server)
    server.end_stream(1)
    connection.receive_data(server.data_to_send())
    connection.abandon()
    events = server.receive_data(connection.data_to_send())
    assert not any(isinstance(event, h2.events.StreamReset) for event in events)
    assert any(isinstance(event, h2.events.ConnectionTerminated) for event in events)


def test_abandoning_before_the_request_is_silent() -> None:
    protocol = Http2StreamProtocol(
        StartMedicalStreamTranscriptionRequest(),
        Credentials("AKIDSYNTHETIC", "secretEXAMPLE"),
        authority="example.test",
        region="us-east-1",
    )
    connection = Http2Connection(protocol)
    connection.abandon()
    assert connection.data_to_send() == b""


def test_a_window_that_opens_bit_by_bit_is_filled_in_no_tiny_frames() -> None:
    protocol, connection, server = pair()
    respond(server)
    connection.receive_data(server.data_to_send())
    for _ in range(25):
        connection.send(protocol.send_audio(bytes(3200), NOW_MS))
    sizes = frame_sizes(server, connection.data_to_send())
    assert sum(sizes) == 65_535
    for _ in range(100):
        server.increment_flow_control_window(200)
        server.increment_flow_control_window(200, 1)
        connection.receive_data(server.data_to_send())
        sizes += frame_sizes(server, connection.data_to_send())
    assert sum(sizes) > 80_000
    assert min(sizes) >= 1000
    assert connection.pending_bytes < 1024


def frame_sizes(server: h2.connection.H2Connection, data: bytes) -> list[int]:
    return [
        len(event.data or b"")
        for event in server.receive_data(data)
        if isinstance(event, h2.events.DataReceived)
    ]
