"""A Transcribe server on `h2` that produces faults of the wire: what an ASGI server cannot be made to do.

A script (see `scripted_server`) may starve the window, reset the stream, go away. `next_audio` checks each
event's signature in the chain that the request's signature began, so a client that signs wrongly fails the
script; the request's own signature is another test's matter (test_sigv4.py).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from connectors.transcribe.events import parse_audio_event
from connectors.transcribe.eventstream import Message, MessageDecoder, decode_message
from connectors.transcribe.sigv4 import (
    derive_signing_key,
    event_signature,
    parse_authorization,
    parse_signed_event,
)
from tests.fakes.scripted_server import (
    CREDENTIALS,
    REGION,
    REQUEST_ID,
    Script,
    ScriptedServer,
    ScriptedStream,
)

__all__ = ["CREDENTIALS", "REGION", "H2Server", "Script", "ServerStream"]

STREAM_ID = 1


@dataclass
class H2Server(ScriptedServer):
    """See `ScriptedServer`; without `acknowledge` the window opens only when a script grants it."""

    initial_window_bytes: int = 65_535
    max_frame_bytes: int = 16_384
    acknowledge: bool = True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> ServerStream:
        return ServerStream(reader, writer, self)


class ServerStream(ScriptedStream):
    """What a script sees of one connection with one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: H2Server) -> None:
        super().__init__(reader, writer)
        self._server = server
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._decoder = MessageDecoder()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._window = asyncio.Event()
        self._prior = ""
        self.headers: dict[str, str] = {}
        self.client_reset: int | None = None

    async def run(self, script: Script) -> None:
        """Greet the client, then serve the connection with `script`."""
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._server.initial_window_bytes,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: self._server.max_frame_bytes,
            },
        )
        self._h2.initiate_connection()
        self._flush()
        try:
            await super().run(script)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionResetError("the client left") from error

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

    def respond(self, status: int | None = None, headers: Iterable[tuple[str, str]] = ()) -> None:
        own = [(":status", str(status or 200)), ("x-amzn-request-id", REQUEST_ID)]
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

    def end(self) -> None:
        self._h2.end_stream(STREAM_ID)
        self._flush()

    def reset(self, error_code: int) -> None:
        """RST_STREAM."""
        self._h2.reset_stream(STREAM_ID, error_code)
        self._flush()

    def goaway(self, error_code: int, last_stream_id: int = STREAM_ID) -> None:
        """GOAWAY as raw bytes, since `h2` would close the connection with it."""
        payload = struct.pack(">II", last_stream_id, error_code)
        self.write_raw(len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload)

    def grant(self, window_bytes: int) -> None:
        """Give the client window; for servers with `acknowledge=False`."""
        self._h2.increment_flow_control_window(window_bytes, STREAM_ID)
        self._h2.increment_flow_control_window(window_bytes)
        self._flush()

    def take_everything(self) -> None:
        self.grant(2**30)

    # The machinery

    def _receive(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._handle(event)
        self._flush()

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
