"""A front door between a scripted server and a plain socket, all of them on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import pytest

from deploy.local.transcribe.front import Front, FrontConnection

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(condition: Callable[[], bool], what: str, *, poll_seconds: float = 0.005) -> None:
    """Return once `condition` holds; fail with `what` if it never does."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(poll_seconds)
    pytest.fail(f"{what} within 5 s")


class Door:
    """A front, and a server behind it that runs `script` for each connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._served: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Door:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.front = Front("127.0.0.1", self._server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self.front.accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = int(self._listener.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._server.close()
        self.front.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as error:
            self._served.set_exception(error)
        else:
            if not self._served.done():  # another connection was served before
                self._served.set_result(None)

    async def served(self) -> None:
        """The script has run; raises what it raised."""
        await asyncio.wait_for(self._served, 20)

    async def connection(self) -> FrontConnection:
        """The one connection, once it has reached the server."""
        await until(lambda: len(self.front.by_port) == 1, "no connection reached the server")
        return next(iter(self.front.by_port.values()))

    async def is_empty(self) -> None:
        """Return once the front has forgotten its connections."""
        await until(lambda: not self.front.open and not self.front.by_port, "a connection was not forgotten")


class Client:
    """A plain socket, so that data before a reset is seen as such."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._port = port

    async def __aenter__(self) -> Client:
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self, most: int = 65_536) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, most), 20)

    async def receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.receive(size - len(data))
            assert piece, f"the connection ended after {len(data)} bytes of {size}"
            data += piece
        return data

    async def receive_all(self) -> bytes:
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        reset(self.socket)
        self.socket.close()


def reset(raw: Any) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
