"""Proxies on loopback: CONNECT and SOCKS 5, that tunnel to this machine whatever name they are asked for.

`async with ConnectProxy() as proxy:` listens on `proxy.port`. With `credentials` a client has to give them;
with `answer` the proxy says that instead of making a tunnel, or `pieces` of it one after another.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nVia: synthetic\r\n\r\n"


@dataclass
class ScriptedProxy(ABC):
    """The part that both kinds share; `targets` are the host:port that clients asked for."""

    credentials: tuple[str, str] | None = None
    answer: bytes | None = None
    hang: bool = False
    """Say nothing at all, or nothing more once `answer` is said."""
    targets: list[str] = field(default_factory=list)
    client_left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
            self.client_left.set()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()

    @abstractmethod
    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""

    async def _say_or_hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """True when the proxy makes no tunnel."""
        if self.answer is not None:
            writer.write(self.answer)
        if self.hang:
            await reader.read()
        return self.hang or self.answer is not None


async def tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    port: int,
    *pieces: bytes,
) -> None:
    """Connect to `port` of this machine, say `pieces`, and carry bytes both ways until both have ended."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        *before, last = pieces
        for piece in before:
            writer.write(piece)
            await asyncio.sleep(0.02)
        # What the server says first travels in one packet with the proxy's own last words.
        first = await read_what_is_there(far_reader)
        writer.write(last + first)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
    finally:
        far_writer.close()


async def read_what_is_there(reader: asyncio.StreamReader) -> bytes:
    with suppress(TimeoutError):
        return await asyncio.wait_for(reader.read(65_536), 0.05)
    return b""


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class ConnectProxy(ScriptedProxy):
    """HTTP's CONNECT, with Basic authorization. `pieces`: its good answer, cut where it travels in parts."""

    pieces: tuple[bytes, ...] = (ESTABLISHED,)
    headers: list[str] = field(default_factory=list)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *self.headers = head.strip().split("\r\n")
        method, target, _ = request.split(" ")
        self.targets.append(target)
        if await self._say_or_hang(reader, writer):
            return
        if method != "CONNECT" or not self._authorized():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno")
            return
        await tunnel(reader, writer, int(target.rpartition(":")[2]), *self.pieces)

    def _authorized(self) -> bool:
        if self.credentials is None:
            return True
        token = b64encode(":".join(self.credentials).encode()).decode()
        return f"Proxy-Authorization: Basic {token}" in self.headers


@dataclass
class SocksProxy(ScriptedProxy):
    """SOCKS 5 (RFC 1928) with user and password (RFC 1929); `status` is its reply to a request."""

    status: int = 0

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if await self._say_or_hang(reader, writer):
            return
        wanted = 0 if self.credentials is None else 2
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes((5, wanted)))
        if wanted and not await self._authorized(reader, writer):
            return
        host, port = await self._requested(reader)
        self.targets.append(f"{host}:{port}")
        reply = bytes((5, self.status, 0, 1)) + bytes(6)
        if self.status:
            writer.write(reply)
        else:
            await tunnel(reader, writer, port, reply)

    async def _authorized(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readexactly(1)
        given = []
        for _ in range(2):
            (length,) = await reader.readexactly(1)
            given.append((await reader.readexactly(length)).decode())
        good = tuple(given) == self.credentials
        writer.write(bytes((1, 0 if good else 1)))
        return good

    async def _requested(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "a name was expected: the proxy looks it up"
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode()
        return host, int.from_bytes(await reader.readexactly(2), "big")
