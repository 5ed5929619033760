"""A Transcribe server on a WebSocket that produces faults of the wire; `websockets` without its I/O below.

The same scripts as for `h2_server` run on it (see `scripted_server`). The request's presigned URL is checked
with the synthetic key, and that each message holds one event; nothing else is signed on a WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from connectors.transcribe.events import parse_audio_event
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.presigned import parse_presigned
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    canonical_request,
    derive_signing_key,
    request_signature,
)
from tests.fakes.scripted_server import CREDENTIALS, REQUEST_ID, Script, ScriptedServer, ScriptedStream


@dataclass
class WsServer(ScriptedServer):
    """See `ScriptedServer`; without `answer_pings` the client's PINGs go unanswered."""

    answer_pings: bool = True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WsStream:
        return WsStream(reader, writer, self)


class WsStream(ScriptedStream):
    """What a script sees of one connection with one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: WsServer) -> None:
        super().__init__(reader, writer)
        self._server = server
        self._ws = ServerProtocol(max_size=None)
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._accepted = False
        self.request: Request | None = None
        self.client_close: int | None = None

    async def run(self, script: Script) -> None:
        """Serve the connection with `script`."""

        async def checked(stream: WsStream) -> None:
            stream._check_signature()
            await script(stream)

        await super().run(checked)

    @property
    def query(self) -> dict[str, str]:
        """The request's parameters, the signature's among them."""
        assert self.request is not None
        return dict(parse_qsl(urlsplit(self.request.path).query, strict_parsing=True))

    # What a script does

    async def next_audio(self) -> bytes | None:
        """The next chunk of audio, None for the empty event; a message that is not one event fails."""
        return parse_audio_event(decode_message(await self._messages.get())) or None

    def respond(self, status: int | None = None, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Accept, or write the head of a refusal; its body goes to the connection's end."""
        assert self.request is not None
        given = [("x-amzn-RequestId", REQUEST_ID), *headers]
        if status is None:
            response = self._ws.accept(self.request)
            for name, value in given:
                response.headers[name] = value
            self._ws.send_response(response)
            self._accepted = self._ws.state is State.OPEN
            self._flush()
        else:
            lines = (f"HTTP/1.1 {status} Refused", *(f"{name}: {value}" for name, value in given))
            self.write_raw("\r\n".join((*lines, "", "")).encode())

    async def send(self, data: bytes, *, piece_bytes: int | None = None) -> None:
        """Send one message, in fragments of `piece_bytes` if given; of a refusal, bytes of its body."""
        if not self._accepted:
            self.write_raw(data)
            return
        step = piece_bytes or len(data)
        for start in range(0, len(data), step):
            send = self._ws.send_continuation if start else self._ws.send_binary
            send(data[start : start + step], fin=start + step >= len(data))
        self._flush()
        await self._writer.drain()

    def end(self) -> None:
        self.close_with(1000) if self._accepted else self.close()

    def close_with(self, code: int, reason: str = "") -> None:
        """The closing frame."""
        self._ws.send_close(code, reason)
        self._flush()

    def send_text(self, text: str) -> None:
        """A text message, which no event is."""
        self._ws.send_text(text.encode())
        self._flush()

    def take_everything(self) -> None:
        """Nothing to do: a WebSocket has TCP's flow control alone."""

    # The machinery

    def _receive(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Request):
                self.request = event
                self._requested.set()
            elif isinstance(event, Frame):
                self._handle(event)
        self._flush()

    def _handle(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            data = bytes(frame.data)
            self._messages.put_nowait(data)
            if not parse_audio_event(decode_message(data)):
                self.client_ended.set()
        elif frame.opcode is Opcode.PING:
            self.pings += 1
            if not self._server.answer_pings:
                self._ws.data_to_send()
        elif frame.opcode is Opcode.CLOSE and self._ws.close_rcvd is not None:
            self.client_close = self._ws.close_rcvd.code

    def _check_signature(self) -> None:
        assert self.request is not None
        parts = urlsplit(self.request.path)
        presigned = parse_presigned(parse_qsl(parts.query, keep_blank_values=True))
        scope = presigned.authorization.scope
        host = self.request.headers["Host"]
        canonical = canonical_request(
            "GET", parts.path, presigned.signed, [("host", host)], EMPTY_PAYLOAD_SHA256
        )
        key = derive_signing_key(CREDENTIALS.secret_access_key, scope.date, scope.region)
        expected = request_signature(key, canonical, presigned.date_time, scope)
        assert presigned.authorization.signature == expected, "the presigned URL's signature is wrong"

    def _flush(self) -> None:
        if data := b"".join(self._ws.data_to_send()):
            self._writer.write(data)
