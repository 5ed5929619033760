"""The client's connections under fuzzing: what a server answers becomes results or one typed failure."""

from __future__ import annotations

from connectors.transcribe.errors import TranscribeError
from connectors.transcribe.http2_connection import Http2Connection
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.protocol import EndOfStream
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.websocket_connection import WebSocketConnection
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol

NOW_MS = 1_795_453_475_575
CREDENTIALS = Credentials("AKIDFUZZ", "a secret of the fuzzer")
REQUEST = StartMedicalStreamTranscriptionRequest()
SETTINGS_AND_200 = bytes.fromhex("00000004000000000000000101040000000188")
"""A server's empty SETTINGS, and a HEADERS frame with `:status: 200`: the fuzzer need not find them."""


def http2_client(data: bytes) -> None:
    """What comes behind a 200 over HTTP/2."""
    protocol = Http2StreamProtocol(REQUEST, CREDENTIALS, authority="x", region="us-east-1")
    connection = Http2Connection(protocol)
    connection.start(NOW_MS)
    connection.data_to_send()
    connection.receive_data(SETTINGS_AND_200)
    _receive(connection, data)


def websocket_client(data: bytes) -> None:
    """The whole answer to a WebSocket's request."""
    protocol = WebSocketStreamProtocol(REQUEST, CREDENTIALS, authority="x:8443", region="us-east-1")
    connection = WebSocketConnection(protocol, "x", 8443, secure=True)
    connection.start(NOW_MS)
    connection.data_to_send()
    _receive(connection, data)


def _receive(connection: Http2Connection | WebSocketConnection, data: bytes) -> None:
    """The data after its first byte, which says how large the pieces are (0: one); then the end."""
    size = data[0] if data and data[0] else len(data) or 1
    for start in range(1, len(data), size):
        connection.receive_data(data[start : start + size])
        _take_events(connection)
        connection.data_to_send()
    connection.connection_lost(None)
    connection.abandon()
    assert connection.protocol.finished


def _take_events(connection: Http2Connection | WebSocketConnection) -> None:
    try:
        while connection.protocol.next_event() not in (None, EndOfStream.END):
            connection.acknowledge()
    except TranscribeError as error:
        str(error).encode()
