"""A server whose every step a test's script decides: the part that `h2_server` and `ws_server` share.

Each connection with its one stream is handed to the script, an async function that takes the server's side of
the stream and says step by step what happens: respond, send results, stop reading, cut the connection.

The key below is synthetic.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Any, Self

from connectors.transcribe.events import encode_transcript_event
from connectors.transcribe.model import MedicalResult
from connectors.transcribe.sigv4 import Credentials

CREDENTIALS = Credentials("AKIDSYNTHETIC", "synthetic-secret-key", "synthetic-session-token")
REGION = "us-east-1"
REQUEST_ID = "synthetic-request-id"

Script = Callable[[Any], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the TCP connection with RST, as a crashed host does."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class ScriptedStream(ABC):
    """What a script sees of one connection with one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.client_left = asyncio.Event()
        self.client_ended = asyncio.Event()
        """The client has said that no more audio comes."""
        self.received_bytes = 0
        self.pings = 0

    async def run(self, script: Script) -> None:
        """Serve the connection with `script`."""
        self.resume_reading()
        try:
            await self._requested.wait()
            await script(self)
            await self._writer.drain()
        finally:
            self.pause_reading()

    # What a script does

    @abstractmethod
    async def next_audio(self) -> bytes | None:
        """The next chunk of audio; None for the event that ends it."""

    async def all_audio(self) -> bytes:
        """Everything up to the end."""
        chunks = []
        while (chunk := await self.next_audio()) is not None:
            chunks.append(chunk)
        return b"".join(chunks)

    @abstractmethod
    def respond(self, status: int | None = None, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the response's head, without a status that of the acceptance."""

    @abstractmethod
    async def send(self, data: bytes, *, piece_bytes: int = 16_384) -> None:
        """Send body bytes as fast as the client takes them."""

    async def send_results(self, *results: MedicalResult) -> None:
        """Send one TranscriptEvent."""
        await self.send(encode_transcript_event(results))

    @abstractmethod
    def end(self) -> None:
        """End the response in good order."""

    @abstractmethod
    def take_everything(self) -> None:
        """Let the client send as much as the socket takes."""

    def write_raw(self, data: bytes) -> None:
        """Bytes that need not be of the protocol."""
        self._writer.write(data)

    def abort(self) -> None:
        """Cut the TCP connection with RST, as a crashed host does."""
        reset(self._writer)

    def close(self) -> None:
        """Close the TCP connection in order."""
        self._writer.close()

    def pause_reading(self) -> None:
        """Leave the client's bytes in the socket."""
        if self._task is not None:
            self._task.cancel()

    def resume_reading(self) -> None:
        """Read on."""
        self._task = asyncio.ensure_future(self._read())

    # The machinery

    @abstractmethod
    def _receive(self, data: bytes) -> None:
        """Bytes from the client."""

    async def _read(self) -> None:
        while data := await self._read_some():
            self._receive(data)
        self.client_left.set()

    async def _read_some(self) -> bytes:
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""


@dataclass
class ScriptedServer(ABC):
    """`async with SomeServer(script) as server:` listens on `server.port` of 127.0.0.1 meanwhile."""

    script: Script
    ssl_context: ssl.SSLContext | None = None
    port: int = 0
    streams: list[Any] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @abstractmethod
    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> ScriptedStream:
        """The stream of a new connection."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl_context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for stream in self.streams:
            stream.close()
            stream.pause_reading()
        await asyncio.sleep(0)
        if error is None and self.errors:
            raise self.errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = self._accept(reader, writer)
        self.streams.append(stream)
        try:
            await stream.run(self.script)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        except BaseException as error:
            self.errors.append(error)
        finally:
            stream.close()
