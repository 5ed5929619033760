"""The endpoint's front door: accepts connections, ends TLS, and passes bytes to the HTTP server behind it.

It is there for what no ASGI server can be told to do on the wire: a GOAWAY between two frames, a connection
cut as by a crash, bytes in tiny pieces, headers in the answer to a WebSocket's upgrade (granian sends none).
The application finds its connection by the port that the front uses towards the server, which is the `client`
of the ASGI scope. Back-pressure passes through: who does not read makes the other side wait, and soon, since
the sockets on the way hold little (a WebSocket has no other flow control than TCP's).

Each direction ends by itself, where the transport can do that (TLS cannot). A client's reset is passed on as
one. A server that leaves is another matter: it resets a connection merely because audio was left unread, and
that must not cost its last words, so what it has sent is delivered and the client's connection lingers.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from typing import cast

from deploy.local.transcribe.http2_boundaries import FrameBoundaries

_HTTP2_PREFACE = b"PRI * HTTP/2.0"
_SWITCHING = b"HTTP/1.1 101"
_MAX_HEAD_BYTES = 16 * 1024
_ANY_STREAM = 2**31 - 1
SOCKET_BUFFER_BYTES = 64 * 1024
_LINGER_SECONDS = 1.0
_QUIET_SECONDS = 0.1
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


@dataclass(slots=True)
class Front:
    """All connections; `by_port` has those that reached the server, by the port that each uses towards it."""

    server_host: str
    server_port: int
    open: set[FrontConnection] = field(default_factory=set)
    by_port: dict[int, FrontConnection] = field(default_factory=dict)

    def accept(self) -> ClientSide:
        """The protocol of a new connection; for `loop.create_server`."""
        return FrontConnection(self).client

    def narrow(self, listener: asyncio.Server) -> None:
        """Let connections that will be accepted hold little of what a client sends ahead."""
        for listening in listener.sockets:
            listening.setsockopt(SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES)

    def close(self) -> None:
        """Cut what is still open."""
        for connection in list(self.open):
            connection.disconnect()

    def find(self, client: Sequence[object] | None) -> FrontConnection | None:
        """The connection behind the `client` of an ASGI scope."""
        return self.by_port.get(int(str(client[1]))) if client else None


class FrontConnection:
    """One client's connection and its continuation to the server."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.client = ClientSide(self)
        self.server = ServerSide(self)
        self._boundaries: FrameBoundaries | None = None
        self._first_bytes = b""
        self._pending_frame = b""
        self._closes_after_frame = False
        self._upgrade_headers: Sequence[tuple[str, str]] = ()
        self._head = b""  # as far as it has come, while there are headers to add after it
        self._piece_bytes = 0
        self._broken_off = False

    # For the application

    def go_away(self, error_code: int) -> None:
        """HTTP/2: send GOAWAY between two frames; with an error the connection is closed after it."""
        payload = struct.pack(">II", _ANY_STREAM, error_code)
        self._pending_frame = len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload
        self._closes_after_frame = bool(error_code)
        if self._boundaries is not None and self._boundaries.at_boundary:
            self._write_pending_frame()

    def add_upgrade_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Headers for the answer to a WebSocket's upgrade, to be called before it is given."""
        self._upgrade_headers = headers

    def split(self, piece_bytes: int) -> None:
        """Pass bytes to the client in pieces from now on."""
        self._piece_bytes = piece_bytes

    def break_off(self) -> None:
        """Close the client's connection behind what the server has sent, with no word of an end."""
        self.from_server(self.server.unread())
        self._leave()

    def disconnect(self) -> None:
        """Cut the client's connection with RST, and leave the server."""
        self.client.reset()

    # Bytes

    async def connect(self) -> None:
        """Continue to the server; what the client sends meanwhile waits in its socket."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, self.front.server_host, self.front.server_port)
        except OSError:
            self.disconnect()

    def from_client(self, data: bytes) -> None:
        """Bytes on their way to the server."""
        if self._boundaries is None and len(self._first_bytes) < len(_HTTP2_PREFACE):
            self._first_bytes += data[: len(_HTTP2_PREFACE)]
            if self._first_bytes.startswith(_HTTP2_PREFACE):
                self._boundaries = FrameBoundaries()
        self.server.write(data)

    def from_server(self, data: bytes) -> None:
        """Bytes on their way to the client."""
        if self._upgrade_headers:
            data = self._with_upgrade_headers(data)
        if self._boundaries is not None:
            boundary = self._boundaries.advance(data)
            if self._pending_frame and boundary is not None:
                self._pass_on(data[:boundary])
                self._write_pending_frame()
                data = data[boundary:]
        self._pass_on(data)

    def _with_upgrade_headers(self, data: bytes) -> bytes:
        """Nothing until the answer's head is complete; then it, with our headers in place of the server's."""
        data, self._head = self._head + data, b""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end and len(head) < _MAX_HEAD_BYTES:
            self._head = data
            return b""
        headers, self._upgrade_headers = self._upgrade_headers, ()
        if not end or not head.startswith(_SWITCHING):
            return data
        status, *lines = head.split(b"\r\n")
        replaced = {name.lower().encode() for name, _ in headers}
        kept = [line for line in lines if line.partition(b":")[0].lower() not in replaced]
        added = [f"{name}: {value}".encode() for name, value in headers]
        return b"\r\n".join((status, *added, *kept)) + end + rest

    def _write_pending_frame(self) -> None:
        frame, self._pending_frame = self._pending_frame, b""
        self._pass_on(frame)
        if self._closes_after_frame:
            self._leave()

    def _leave(self) -> None:
        self._broken_off = True
        self.server.close()
        self.client.linger()

    def _pass_on(self, data: bytes) -> None:
        if self._broken_off:
            return
        step = self._piece_bytes or len(data) or 1
        for start in range(0, len(data), step):
            self.client.write(data[start : start + step])


class _Side(asyncio.Protocol):
    """One end of a connection; the other end is told of everything that happens here."""

    def __init__(self, connection: FrontConnection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.is_gone = False
        self.read_ended = False
        self._write_ended = False

    @property
    def other(self) -> _Side:
        """The end to pass things on to."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send bytes, unless this end is gone."""
        if self.transport is not None and data and not (self._write_ended or self.transport.is_closing()):
            self.transport.write(data)

    def end(self) -> bool:
        """Half-close after what is written; False where that is not possible."""
        if self.transport is None or self.is_gone or not self.transport.can_write_eof():
            return False
        if not self._write_ended:
            self._write_ended = True
            with suppress(OSError):  # reset by the peer: `connection_lost` follows
                self.transport.write_eof()
        return True

    def close(self) -> None:
        """Close after what is written."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close with RST, whatever is still to be written."""
        if self.transport is not None:
            raw = self.transport.get_extra_info("socket")
            if raw.fileno() >= 0:
                raw.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            self.transport.abort()

    def eof_received(self) -> bool:
        """The peer sends no more; True keeps this end open for what the other still has to say."""
        self.read_ended = True
        over_tls = self.transport is not None and self.transport.get_extra_info("ssl_object") is not None
        if over_tls or not self.other.end():
            return False
        if self.other.read_ended:
            self.other.close()
        return not self.other.read_ended

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()


class ClientSide(_Side):
    """Towards the client."""

    def __init__(self, connection: FrontConnection) -> None:
        super().__init__(connection)
        self._lingers = False
        self._is_quiet = False

    @property
    def other(self) -> _Side:
        return self.connection.server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self.connection.front.open.add(self.connection)
        self._connecting = asyncio.ensure_future(self.connection.connect())

    def data_received(self, data: bytes) -> None:
        self._is_quiet = False
        self.connection.from_client(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self.connection.front.open.discard(self.connection)
        if exc is None:
            self.other.close()
        else:
            self.other.reset()

    def linger(self) -> None:
        """Close a little later: a close with unread audio is a RST, which can overtake the last words.

        (RFC 9112 section 9.6 says the same of HTTP/1.1 servers.) Where the end can be said at once the client
        is left the time to answer it; over TLS it is said as soon as no audio is under way.
        """
        if self.transport is None or self.is_gone or self._lingers:
            return
        self._lingers = True
        if self.read_ended:
            self.transport.close()
            return
        can_wait = self.end()
        self.transport.resume_reading()
        self._close_when_quiet(round(_LINGER_SECONDS / _QUIET_SECONDS), at_once=not can_wait)

    def _close_when_quiet(self, looks: int, *, at_once: bool) -> None:
        if not looks or (at_once and self._is_quiet):
            self.close()
            return
        self._is_quiet = True
        later = asyncio.get_running_loop().call_later
        later(_QUIET_SECONDS, lambda: self._close_when_quiet(looks - 1, at_once=at_once))


class ServerSide(_Side):
    """Towards the HTTP server of this process."""

    @property
    def other(self) -> _Side:
        return self.connection.client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self._port = int(transport.get_extra_info("sockname")[1])
        client = self.connection.client
        if client.transport is None or client.transport.is_closing():
            self.transport.close()
            return
        self.connection.front.by_port[self._port] = self.connection
        client.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.connection.from_server(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.connection.from_server(self.unread())
        self.is_gone = True
        self.connection.front.by_port.pop(self._port, None)
        self.connection.client.linger()

    def unread(self) -> bytes:
        """What the server has sent and nobody has read yet: a failed write would lose it."""
        received = b""
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            with raw.dup() as socket, suppress(OSError):
                socket.setblocking(False)
                while data := socket.recv(65_536):
                    received += data
        return received
