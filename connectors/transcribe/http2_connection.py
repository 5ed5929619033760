"""One HTTP/2 connection that carries one Transcribe stream, without any I/O: `h2` below, the protocol above.

Bytes received go in with `receive_data`, bytes to write come out of `data_to_send`; queued audio moves into
DATA frames as the service's flow-control window allows. `acknowledge` gives window back when the reader has
used what it got. Whatever ends the stream early reaches the protocol as a typed error: a reset, a GOAWAY
that concerns us, bytes that are no HTTP/2, a lost connection.
"""

from __future__ import annotations

from typing import ClassVar

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from connectors.transcribe.errors import (
    ConnectionClosedError,
    EndpointError,
    ProtocolError,
    StreamRefusedError,
    StreamResetError,
    TlsError,
    TranscribeError,
)
from connectors.transcribe.http2_frames import FrameFilter, Goaway
from connectors.transcribe.http2_protocol import Http2StreamProtocol

STREAM_ID = 1  # the first stream a client opens, and the only one here
_CONFIG = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
_LEAST_FRAME_BYTES = 1024
_PING = b"alive?\0\0"


class Http2Connection:
    """The client's end of a connection; failures are reported to `protocol` and nowhere else."""

    def __init__(self, protocol: Http2StreamProtocol) -> None:
        self._protocol = protocol
        self._h2 = h2.connection.H2Connection(_CONFIG)
        self._filter = FrameFilter()
        self._pending = bytearray()
        self._end_stream = False  # the pending bytes are the last
        self._unacknowledged_bytes = 0
        self._first_bytes = True
        self.sent_bytes = 0  # of the request's body; it grows while the peer takes audio

    reading_paused = False  # the flow-control window holds the peer back
    alpn_protocol: ClassVar[str] = "h2"
    confirmation_seconds: ClassVar[float] = 0.0

    @property
    def protocol(self) -> Http2StreamProtocol:
        return self._protocol

    @property
    def pending_bytes(self) -> int:
        """Queued bytes that the flow-control window has no room for."""
        return len(self._pending)

    def start(self, now_ms: int) -> None:
        """Queue the preface and the signed request."""
        self._h2.initiate_connection()
        self._h2.send_headers(STREAM_ID, self._protocol.start(now_ms))

    def tls_established(self, alpn_protocol: str | None) -> None:
        """Fail the stream unless HTTP/2 was agreed on."""
        if alpn_protocol != "h2":
            self._fail(TlsError("the endpoint does not offer HTTP/2 over TLS (ALPN h2)"))

    def send(self, data: bytes, *, end_stream: bool = False) -> None:
        """Queue bytes of the request's body; `end_stream` ends our side after them."""
        self._pending += data
        self._end_stream = end_stream

    def data_to_send(self) -> bytes:
        """Everything that may be written now."""
        if self._pending:
            self._fill_window()
        return self._h2.data_to_send()

    def receive_data(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        if self._first_bytes:
            self._first_bytes = False
            if data.startswith(b"HTTP/1"):
                self._fail(EndpointError("the endpoint answers in HTTP/1; streams need HTTP/2"))
                return
        frames, goaways = self._filter.receive_data(data)
        try:
            for event in self._h2.receive_data(frames):
                self._handle(event)
        except h2.exceptions.ProtocolError as error:
            # The library's text may quote header values; its class says enough.
            self._fail(ProtocolError(f"the endpoint broke HTTP/2 ({type(error).__name__})"))
        for goaway in goaways:
            self._handle_goaway(goaway)
        if overlong := self._filter.overlong_frame_bytes:
            self._fail(
                ProtocolError(f"the endpoint sent a frame of {overlong} bytes; it may not speak HTTP/2")
            )

    def acknowledge(self) -> None:
        """Give the peer back the window of everything received so far."""
        if self._unacknowledged_bytes and not self._protocol.finished:
            self._h2.acknowledge_received_data(self._unacknowledged_bytes, STREAM_ID)
        self._unacknowledged_bytes = 0

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone; it is a failure unless the stream had ended."""
        reason = f" ({type(error).__name__})" if error else ""
        if self._first_bytes:
            hint = "; does it speak HTTP/2, and is https or http right?"
            message = f"the endpoint closed the connection without an answer{reason}{hint}"
        else:
            message = f"the connection closed before the stream had ended{reason}"
        self._fail(ConnectionClosedError(message))

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._h2.ping(_PING)

    def abandon(self) -> None:
        """Queue a reset of the stream, unless both sides are done, and the end of the connection."""
        self._pending.clear()
        try:
            if not self._protocol.finished:
                self._h2.reset_stream(STREAM_ID, h2.errors.ErrorCodes.CANCEL)
            self._h2.close_connection()
        except h2.exceptions.H2Error:
            return  # the stream was never opened, or the connection broke: nothing to say to anyone

    def _fill_window(self) -> None:
        if self._protocol.finished:
            self._pending.clear()
            return
        while self._pending:
            window = self._h2.local_flow_control_window(STREAM_ID)
            room = min(window, self._h2.max_outbound_frame_size)
            if room < len(self._pending) and room < self._least_frame_bytes():
                return
            piece = bytes(self._pending[:room])
            del self._pending[:room]
            self.sent_bytes += len(piece)
            self._h2.send_data(STREAM_ID, piece, end_stream=self._end_stream and not self._pending)

    def _least_frame_bytes(self) -> int:
        """Wait for so much window: servers send a peer away that fills theirs with tiny frames.

        (As TCP avoids the silly window syndrome, RFC 1122 section 4.2.3.4.) A peer
        whose whole window is small gets what it has room for.
        """
        return max(1, min(_LEAST_FRAME_BYTES, self._h2.remote_settings.initial_window_size // 2))

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                self._unacknowledged_bytes += event.flow_controlled_length or 0
                self._protocol.receive_data(event.data or b"")
            case h2.events.ResponseReceived():
                headers = [(_text(name), _text(value)) for name, value in event.headers or ()]
                status = dict(headers).get(":status", "0")
                self._protocol.receive_response(int(status) if status.isdecimal() else 0, headers)
            case h2.events.StreamEnded():
                self._protocol.receive_end()
            case h2.events.StreamReset():
                self._fail(_reset_error(int(event.error_code or 0)))

    def _handle_goaway(self, goaway: Goaway) -> None:
        """A GOAWAY without an error that covers our stream lets it finish; any other one is a failure."""
        name = _error_name(goaway.error_code)
        if goaway.last_stream_id < STREAM_ID:
            message = f"the service sent the connection away before it took the stream ({name})"
            self._fail(StreamRefusedError(message, error_code=goaway.error_code))
        elif goaway.error_code:
            error = ConnectionClosedError(f"the service closed the connection ({name})")
            error.throttling = goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            self._fail(error)

    def _fail(self, error: TranscribeError) -> None:
        self._protocol.receive_failure(error)


def _reset_error(error_code: int) -> StreamResetError:
    name = _error_name(error_code)
    if error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
        return StreamRefusedError(f"the service refused the stream ({name})", error_code=error_code)
    return StreamResetError(f"the service reset the stream ({name})", error_code=error_code)


def _error_name(error_code: int) -> str:
    try:
        return h2.errors.ErrorCodes(error_code).name
    except ValueError:
        return f"error {error_code}"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
