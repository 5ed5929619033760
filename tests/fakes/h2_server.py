"""A Transcribe server on `h2` that produces faults of the wire: what an ASGI server cannot be made to do.

Each accepted stream is handed to a script, an async function that takes a `ServerStream` and says step by
step what the server does: respond, send results, starve the window, reset, go away, cut the connection.
`next_audio` checks each event's signature in the chain that the request's signature began, so a client that
signs wrongly fails the script; the request's own signature is another test's matter (test_sigv4.py).

The key below is synthetic.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from connectors.transcribe.events import encode_transcript_event, parse_audio_event
from connectors.transcribe.eventstream import Message, MessageDecoder, decode_message
from connectors.transcribe.model import MedicalResult
from connectors.transcribe.sigv4 import (
    Credentials,
    derive_signing_key,
    event_signature,
    parse_authorization,
    parse_signed_event,
)

CREDENTIALS = Credentials("AKIDSYNTHETIC", "synthetic-secret-key", "synthetic-session-token")
REGION = "us-east-1"
STREAM_ID = 1

Script = Callable[["ServerStream"], Awaitable[None]]


@dataclass
class H2Server:
    """`async with H2Server(script) as server:` listens on `server.port` of 127.0.0.1 until the block ends."""

    script: Script
    ssl_context: ssl.SSLContext | None = None
    initial_window_bytes: int = 65_535
    max_frame_bytes: int = 16_384
    acknowledge: bool = True
    port: int = 0
    streams: list[ServerStream] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> H2Server:
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
            stream.stop()
        await asyncio.sleep(0)
        if error is None and self.errors:
            raise self.errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = ServerStream(reader, writer, self)
        self.streams.append(stream)
        try:
            await stream.run(self.script)
        except (ConnectionError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        except BaseException as error:
            self.errors.append(error)
        finally:
            stream.close()


class ServerStream:
    """What a script sees of one connection with one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: H2Server) -> None:
        self._reader, self._writer, self._server = reader, writer, server
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._decoder = MessageDecoder()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._requested, self._window = asyncio.Event(), asyncio.Event()
        self._prior = ""
        self._task: asyncio.Task[None] | None = None
        self.headers: dict[str, str] = {}
        self.client_ended = asyncio.Event()
        self.client_reset: int | None = None
        self.client_left = asyncio.Event()
        self.received_bytes = 0
        self.pings = 0

    async def run(self, script: Script) -> None:
        """Serve the connection with `script`."""
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._server.initial_window_bytes,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: self._server.max_frame_bytes,
            },
        )
        self._h2.initiate_connection()
        self._flush()
        self._task = asyncio.ensure_future(self._read())
        try:
            await self._requested.wait()
            await script(self)
            await self._drain()
        finally:
            self._task.cancel()

    # What a script does

    async def next_audio(self) -> bytes | None:
        """The next chunk of audio, its signature checked; None for the signed empty event."""
        event = parse_signed_event(await self._messages.get())
        authorization = parse_authorization(self.headers["authorization"])
        key = derive_signing_key(
            CREDENTIALS.secret_access_key, authorization.scope.date, authorization.scope.region
        )
        expected = event_signature(
            key, authorization.scope, self._prior or authorization.signature, event.date_ms, event.payload
        )
        assert event.signature == expected, "the client's event signature is wrong"
        self._prior = expected.hex()
        return None if event.is_end else parse_audio_event(decode_message(event.payload))

    async def all_audio(self) -> bytes:
        """Everything up to the signed empty event."""
        chunks = []
        while (chunk := await self.next_audio()) is not None:
            chunks.append(chunk)
        return b"".join(chunks)

    def respond(self, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the response's head."""
        own = [(":status", str(status)), ("x-amzn-request-id", "synthetic-request-id")]
        self._h2.send_headers(STREAM_ID, own + list(headers))
        self._flush()

    async def send(self, data: bytes, *, piece_bytes: int = 16_384) -> None:
        """Send body bytes within the client's flow-control window."""
        while data:
            room = min(self._h2.local_flow_control_window(STREAM_ID), piece_bytes)
            if room <= 0:
                self._window.clear()
                await self._window.wait()
                continue
            self._h2.send_data(STREAM_ID, data[:room])
            self._flush()
            data = data[room:]

    async def send_results(self, *results: MedicalResult) -> None:
        """Send one TranscriptEvent."""
        await self.send(encode_transcript_event(results))

    def end(self) -> None:
        """End the response."""
        self._h2.end_stream(STREAM_ID)
        self._flush()

    def reset(self, error_code: int) -> None:
        """RST_STREAM."""
        self._h2.reset_stream(STREAM_ID, error_code)
        self._flush()

    def goaway(self, error_code: int, last_stream_id: int = STREAM_ID) -> None:
        """GOAWAY as raw bytes, since `h2` would close the connection with it."""
        payload = struct.pack(">II", last_stream_id, error_code)
        self._writer.write(len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload)

    def write_raw(self, data: bytes) -> None:
        """Bytes that need not be HTTP/2."""
        self._writer.write(data)

    def grant(self, window_bytes: int) -> None:
        """Give the client window; for servers with `acknowledge=False`."""
        self._h2.increment_flow_control_window(window_bytes, STREAM_ID)
        self._h2.increment_flow_control_window(window_bytes)
        self._flush()

    def abort(self) -> None:
        """Cut the TCP connection with RST, as a crashed host does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the TCP connection in order."""
        self._writer.close()

    def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()

    def pause_reading(self) -> None:
        """Leave the client's bytes in the socket."""
        self.stop()

    # The machinery

    async def _read(self) -> None:
        while data := await self._read_some():
            for event in self._h2.receive_data(data):
                self._handle(event)
            self._flush()
        self.client_left.set()

    async def _read_some(self) -> bytes:
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.headers = {str(name): str(value) for name, value in event.headers or ()}
                self._requested.set()
            case h2.events.DataReceived():
                self._receive_body(event.data or b"", event.flow_controlled_length or 0)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._window.set()
            case h2.events.StreamEnded():
                self.client_ended.set()
            case h2.events.StreamReset():
                self.client_reset = int(event.error_code or 0)
            case h2.events.PingReceived():
                self.pings += 1

    def _receive_body(self, data: bytes, flow_controlled_bytes: int) -> None:
        self.received_bytes += len(data)
        if self._server.acknowledge and flow_controlled_bytes:
            self._h2.acknowledge_received_data(flow_controlled_bytes, STREAM_ID)
        self._decoder.feed(data)
        for message in self._decoder:
            self._messages.put_nowait(message)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    async def _drain(self) -> None:
        await self._writer.drain()
