"""The endpoint's front door: accepts connections, ends TLS, and passes bytes to the HTTP server behind it.

It is there for what no ASGI server can be told to do on the wire: a GOAWAY between two frames, a connection
cut as by a crash, bytes in tiny pieces, headers in the answer to a WebSocket's upgrade (granian sends none).
The application finds its connection by the port that the front uses towards the server, which is the `client`
of the ASGI scope. Back-pressure passes through: who does not read makes the other side wait.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import cast

from deploy.local.transcribe.http2_boundaries import FrameBoundaries

_HTTP2_PREFACE = b"PRI * HTTP/2.0"
_SWITCHING = b"HTTP/1.1 101"
_ANY_STREAM = 2**31 - 1
_LINGER_SECONDS = 1.0
_LINGER_NOT = struct.pack("ii", 1, 0)  # close() then sends RST


@dataclass(slots=True)
class Front:
    """All connections, by the port that each uses towards the server."""

    server_host: str
    server_port: int
    connections: dict[int, FrontConnection] = field(default_factory=dict)

    def accept(self) -> ClientSide:
        """The protocol of a new connection; for `loop.create_server`."""
        return FrontConnection(self).client

    def close(self) -> None:
        """Cut what is still open."""
        for connection in list(self.connections.values()):
            connection.disconnect()

    def find(self, client: Sequence[object] | None) -> FrontConnection | None:
        """The connection behind the `client` of an ASGI scope."""
        return self.connections.get(int(str(client[1]))) if client else None


class FrontConnection:
    """One client's connection and its continuation to the server."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self.client = ClientSide(self)
        self.server = ServerSide(self)
        self._boundaries: FrameBoundaries | None = None
        self._first_bytes = b""
        self._pending_frame = b""
        self._closes_after_frame = False
        self._upgrade_headers: Sequence[tuple[str, str]] = ()
        self._piece_bytes = 0

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

    def disconnect(self) -> None:
        """Cut the client's connection with RST, and leave the server."""
        if (transport := self.client.transport) is not None:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(SOL_SOCKET, SO_LINGER, _LINGER_NOT)
            transport.abort()

    # Bytes

    async def connect(self) -> None:
        """Continue to the server; what the client sends meanwhile waits in its socket."""
        loop = asyncio.get_running_loop()
        front = self._front
        try:
            await loop.create_connection(lambda: self.server, front.server_host, front.server_port)
        except OSError:
            self.disconnect()

    def server_connected(self, port: int) -> None:
        """The way is open; from now on the application can find the connection."""
        self._front.connections[port] = self

    def server_left(self, port: int) -> None:
        """The server closed its side."""
        self._front.connections.pop(port, None)

    def from_client(self, data: bytes) -> None:
        """Bytes on their way to the server."""
        if self._boundaries is None and len(self._first_bytes) < len(_HTTP2_PREFACE):
            self._first_bytes += data[: len(_HTTP2_PREFACE)]
            if self._first_bytes.startswith(_HTTP2_PREFACE):
                self._boundaries = FrameBoundaries()
        self.server.write(data)

    def from_server(self, data: bytes) -> None:
        """Bytes on their way to the client."""
        if self._upgrade_headers and data.startswith(_SWITCHING):
            data = self._with_upgrade_headers(data)
        if self._boundaries is not None:
            boundary = self._boundaries.advance(data)
            if self._pending_frame and boundary is not None:
                self._pass_on(data[:boundary])
                self._write_pending_frame()
                data = data[boundary:]
        self._pass_on(data)

    def _with_upgrade_headers(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        replaced = {name.lower().encode() for name, _ in self._upgrade_headers}
        status, *lines = head.split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].lower() not in replaced]
        added = [f"{name}: {value}".encode() for name, value in self._upgrade_headers]
        self._upgrade_headers = ()
        return b"\r\n".join((status, *added, *kept)) + end + rest

    def _write_pending_frame(self) -> None:
        frame, self._pending_frame = self._pending_frame, b""
        self._pass_on(frame)
        if self._closes_after_frame:
            self.client.linger()
            self.server.close()

    def _pass_on(self, data: bytes) -> None:
        step = self._piece_bytes or len(data) or 1
        for start in range(0, len(data), step):
            self.client.write(data[start : start + step])


class _Side(asyncio.Protocol):
    """One end of a connection; the other end is told of everything that happens here."""

    def __init__(self, connection: FrontConnection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None

    @property
    def other(self) -> _Side:
        """The end to pass things on to."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send bytes, unless this end is gone."""
        if self.transport is not None and not self.transport.is_closing() and data:
            self.transport.write(data)

    def close(self) -> None:
        """Close after what is written."""
        if self.transport is not None:
            self.transport.close()

    def eof_received(self) -> bool:
        """Half-closed: the other direction may go on, where the transport can do that (TLS cannot)."""
        ours, theirs = self.transport, self.other.transport
        if ours is None or theirs is None or ours.get_extra_info("ssl_object") is not None:
            return False
        if theirs.can_write_eof() and not theirs.is_closing():
            theirs.write_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        transport = self.other.transport
        if transport is None:
            return
        if exc is not None:
            transport.abort()
        else:
            transport.close()

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()


class ClientSide(_Side):
    """Towards the client."""

    @property
    def other(self) -> _Side:
        return self.connection.server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self._connecting = asyncio.ensure_future(self.connection.connect())

    def data_received(self, data: bytes) -> None:
        self.connection.from_client(data)

    def linger(self) -> None:
        """Close a little later: a close with unread audio is a RST, which can overtake the last words.

        (RFC 9112 section 9.6 says the same of HTTP/1.1 servers.)
        """
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.transport.close)


class ServerSide(_Side):
    """Towards the HTTP server of this process."""

    @property
    def other(self) -> _Side:
        return self.connection.client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._port = int(transport.get_extra_info("sockname")[1])
        client = self.connection.client.transport
        if client is None or client.is_closing():
            self.transport.close()
            return
        self.connection.server_connected(self._port)
        client.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.connection.from_server(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.server_left(self._port)
        if exc is None:
            self.connection.client.linger()
        else:
            super().connection_lost(exc)
