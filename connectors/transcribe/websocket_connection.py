"""One WebSocket connection that carries one Transcribe stream, without any I/O: `websockets` below.

The same few methods as `http2_connection`: received bytes go in with `receive_data`, bytes to write come out
of `data_to_send`. A WebSocket has no flow control of its own, so TCP's is used: what is written waits in the
socket, and `reading_paused` tells the shell to read no further while results wait for their reader. Whatever
ends the stream early reaches the protocol as a typed error, the service's close codes among them.

A refusal's head is read here as well, beside the library: the library hands an answer out only when its
body is complete, and a refusal whose connection breaks before that is still the refusal.

Source: RFC 6455; https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html ("Handling
WebSocket streaming errors"): a refusal, of a wrong key too, is an exception event after the upgrade. The
service closes normally after its last result, and after an exception it has sent.
"""

from __future__ import annotations

import re
from typing import ClassVar

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, SecurityError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from connectors.transcribe.errors import (
    ConnectionClosedError,
    EndpointError,
    ProtocolError,
    TlsError,
    TranscribeError,
)
from connectors.transcribe.eventstream import MAX_HEADERS_BYTES, MAX_PAYLOAD_BYTES
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol
from schemas.library_logs import pin

# At DEBUG the library logs every frame, and the URL, which is a secret.
pin("websockets", "websockets.client")

MAX_MESSAGE_BYTES = MAX_HEADERS_BYTES + MAX_PAYLOAD_BYTES + 16
MAX_HEAD_BYTES = 64 * 1024
MAX_WAITING_EVENTS = 64  # beyond it the socket is read no further until the reader has caught up

_CLEAN_CLOSE = (CloseCode.NORMAL_CLOSURE, CloseCode.NO_STATUS_RCVD)
_OUR_FAULT = (CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA, CloseCode.INVALID_DATA)
_HINT = "does it serve WebSockets, and is https or http right?"
_PING = b"alive?"
_HTTP = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_NO_WEBSOCKET = (404, 405, 426)  # what a server without one answers; the service names its errors


class WebSocketConnection:
    """The client's end of a connection; failures are reported to `protocol` and nowhere else."""

    def __init__(self, protocol: WebSocketStreamProtocol, host: str, port: int, *, secure: bool) -> None:
        self._protocol = protocol
        self._address = (secure, host, port)
        self._ws: ClientProtocol | None = None
        self._first_bytes = True
        self._head: bytearray | None = bytearray()  # of the answer, until it is complete
        self._refused = False
        self.sent_bytes = 0

    pending_bytes = 0  # what may not be written yet; the socket's own buffer is the shell's matter
    alpn_protocol: ClassVar[str] = "http/1.1"
    # The service upgrades first and refuses then, by an exception event; its first event says that it did
    # not.
    confirmation_seconds: ClassVar[float] = 0.5

    @property
    def protocol(self) -> WebSocketStreamProtocol:
        return self._protocol

    @property
    def reading_paused(self) -> bool:
        """True while more results wait for the reader than should be held in memory."""
        return self._protocol.waiting_events > MAX_WAITING_EVENTS

    def start(self, now_ms: int) -> None:
        """Queue the presigned request."""
        path, _, query = self._protocol.start(now_ms).partition("?")
        secure, host, port = self._address
        self._ws = ClientProtocol(WebSocketURI(secure, host, port, path, query), max_size=MAX_MESSAGE_BYTES)
        request = self._ws.connect()
        del request.headers["Host"]
        request.headers["Host"] = self._protocol.authority  # exactly what was signed
        self._ws.send_request(request)

    def tls_established(self, alpn_protocol: str | None) -> None:
        """Fail the stream if the peer insists on another protocol."""
        if alpn_protocol not in (None, "http/1.1"):
            self._fail(TlsError(f"the endpoint wants to speak {alpn_protocol!r}; a WebSocket needs http/1.1"))

    def send(self, data: bytes, *, end_stream: bool = False) -> None:  # noqa: ARG002 - `data` says it
        """Queue one event; the last one says itself that it is, and the connection stays open for results."""
        if self._ws is not None and self._ws.state is State.OPEN:
            self._ws.send_binary(data)
            self.sent_bytes += len(data)

    def data_to_send(self) -> bytes:
        """Everything that may be written now; the half-close after a closing handshake is left to `close`."""
        return b"" if self._ws is None else b"".join(self._ws.data_to_send())

    def receive_data(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        if self._ws is None:
            return
        self._first_bytes = False
        if self._head is not None:
            self._read_head(data)
        self._ws.receive_data(data)
        self._handle_events(self._ws)
        if broken := self._ws.parser_exc or self._ws.handshake_exc:
            self._fail(_broken(broken))

    def acknowledge(self) -> None:
        """Nothing to give back: see `reading_paused`."""

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone; it is a failure unless the stream had ended."""
        if self._ws is not None:
            self._ws.receive_eof()  # ends a refusal's body that had no length
            self._handle_events(self._ws)
        reason = f" ({type(error).__name__})" if error else ""
        if self._first_bytes:
            message = f"the endpoint closed the connection without an answer{reason}; {_HINT}"
        else:
            message = f"the connection closed before the stream had ended{reason}"
        self._fail(ConnectionClosedError(message))

    def ping(self) -> None:
        """Ask the peer for a sign of life; possible once the stream was accepted."""
        if self._ws is not None and self._ws.state is State.OPEN:
            self._ws.send_ping(_PING)

    def abandon(self) -> None:
        """Queue the closing frame, unless the peer has sent one and was answered."""
        if self._ws is not None and self._ws.state is State.OPEN:
            finished = self._protocol.finished
            self._ws.send_close(CloseCode.NORMAL_CLOSURE if finished else CloseCode.GOING_AWAY)

    def _read_head(self, data: bytes) -> None:
        assert self._head is not None  # noqa: S101 - the caller has looked
        self._head += data
        if not self._head.startswith(_HTTP[: len(self._head)]):  # HTTP/2, TLS: they would wait for each other
            self._fail(ProtocolError(f"the endpoint's answer is not HTTP/1.1; {_HINT}"))
        head, complete, _ = bytes(self._head).partition(b"\r\n\r\n")
        if not complete and len(self._head) <= MAX_HEAD_BYTES:
            return
        self._head = None
        status_line, *lines = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(status_line)
        if complete and status is not None and status[1] != b"101":
            pairs = (line.decode("latin-1").partition(":") for line in lines)
            self._refuse(int(status[1]), [(name.lower(), value.strip()) for name, _, value in pairs])

    def _handle_events(self, websocket: ClientProtocol) -> None:
        for event in websocket.events_received():
            if isinstance(event, Response):
                self._handle_response(event, valid=websocket.handshake_exc is None)
            elif isinstance(event, Frame):
                self._handle_frame(event, websocket)

    def _handle_response(self, response: Response, *, valid: bool) -> None:
        headers = [(name.lower(), value) for name, value in response.headers.raw_items()]
        if response.status_code == 101:
            if valid:
                self._protocol.receive_response(101, headers)
            return  # `receive_data` says what was wrong with it
        self._refuse(response.status_code, headers)
        self._protocol.receive_data(bytes(response.body or b""))
        self._protocol.receive_end()

    def _refuse(self, status: int, headers: list[tuple[str, str]]) -> None:
        if self._refused:
            return
        self._refused = True
        named = any(name == "x-amzn-errortype" for name, _ in headers)
        if 200 <= status < 400 or (status in _NO_WEBSOCKET and not named):
            self._fail(EndpointError(f"the endpoint serves no WebSocket at this address (HTTP {status})"))
        self._protocol.receive_response(status, headers)

    def _handle_frame(self, frame: Frame, websocket: ClientProtocol) -> None:
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._protocol.receive_data(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self._fail(ProtocolError("the endpoint sent a text message; events are binary"))
        elif frame.opcode is Opcode.CLOSE:
            self._handle_close(websocket.close_rcvd)

    def _handle_close(self, close: Close | None) -> None:
        code = CloseCode.NO_STATUS_RCVD if close is None else close.code
        if code in _CLEAN_CLOSE:
            self._protocol.receive_end()
            return
        message = f"the service closed the WebSocket ({_close_name(code)})"
        error = ProtocolError(message) if code in _OUR_FAULT else ConnectionClosedError(message)
        error.throttling = code == CloseCode.TRY_AGAIN_LATER
        self._fail(error)

    def _fail(self, error: TranscribeError) -> None:
        self._protocol.receive_failure(error)


def _broken(cause: Exception) -> ProtocolError:
    """The library's text may quote what was received; its class says enough."""
    if isinstance(cause, InvalidMessage | SecurityError):
        return ProtocolError(f"the endpoint's answer is not HTTP/1.1; {_HINT}")
    return ProtocolError(f"the endpoint broke the WebSocket protocol ({type(cause).__name__})")


def _close_name(code: int) -> str:
    try:
        return f"close code {code}, {CloseCode(code).name}"
    except ValueError:
        return f"close code {code}"
