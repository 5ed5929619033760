"""A small HTTP/2 client on `h2` for several streams on one connection, and for looking at single frames.

It signs requests and events as the SDKs do and answers flow control; what comes is kept as it came: `frames`
holds type, stream and payload of every frame of the server in order, each stream its headers, body and end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

import h2.config
import h2.connection
import h2.events
import pytest

from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.http2_frames import FRAME_HEADER_BYTES, FrameFilter
from connectors.transcribe.model import PATH
from connectors.transcribe.sigv4 import Credentials, EventSigner, sign_request

GOAWAY, DATA = 7, 0


@dataclass
class ClientStream:
    """One request and what came of its response."""

    number: int
    signer: EventSigner
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """Of the response; 0 before it came."""
        return int(dict(self.headers).get(":status", 0))


class H2Client:
    """`async with H2Client(port, credentials) as client:` connects to 127.0.0.1 in cleartext."""

    def __init__(self, port: int, credentials: Credentials, *, region: str = "us-east-1") -> None:
        self._port = port
        self._credentials = credentials
        self._region = region
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._filter = FrameFilter()  # h2 would close on a GOAWAY
        self._partial_frame = b""
        self.frames: list[tuple[int, int, bytes]] = []
        self.streams: dict[int, ClientStream] = {}
        self.closed: str | None = None
        self.acknowledges = True

    async def __aenter__(self) -> H2Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._h2.initiate_connection()
        self._flush()
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        self._writer.close()

    def open(self, headers: Mapping[str, str], path: str = PATH) -> ClientStream:
        """Send a signed request."""
        authority = f"127.0.0.1:{self._port}"
        signed = sign_request(
            "POST", authority, path, headers, self._credentials, self._region, self._now_ms()
        )
        pseudo = {":method": "POST", ":scheme": "http", ":authority": authority, ":path": path}
        rest = [(name, value) for name, value in signed.headers.items() if name != "host"]
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, [*pseudo.items(), *rest])
        self._flush()
        signer = EventSigner(self._credentials, self._region, signed.seed_signature)
        self.streams[number] = ClientStream(number, signer)
        return self.streams[number]

    async def send(self, stream: ClientStream, audio: bytes | None) -> None:
        """One signed event; None for the end of audio and request. Nothing if the server has left."""
        inner = b"" if audio is None else encode_audio_event(audio)
        data = stream.signer.sign(inner, self._now_ms())
        await self.until(lambda: self.closed or self._window_of(stream) >= len(data))
        if self.closed or stream.reset is not None:
            return
        self._h2.send_data(stream.number, data, end_stream=audio is None)
        self._flush()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for the server to make `condition` true; the connection's end is what fails it."""
        deadline = time.monotonic() + 10
        while not condition():
            if self.closed is not None or time.monotonic() > deadline:
                pytest.fail(f"it did not happen; the connection is {self.closed or 'open'}")
            await asyncio.sleep(0.002)

    async def until_closed(self) -> str:
        """Wait for the connection's end: `ended`, or `reset`."""
        await asyncio.wait_for(asyncio.shield(self._reading), 10)
        return self.closed or ""

    def grow_window(self, stream: ClientStream, size: int) -> None:
        """Give the server window, where `acknowledges` is off."""
        self._h2.increment_flow_control_window(size)
        self._h2.increment_flow_control_window(size, stream.number)
        self._flush()

    def _window_of(self, stream: ClientStream) -> int:
        return 2**31 if stream.reset is not None else self._h2.local_flow_control_window(stream.number)

    @staticmethod
    def _now_ms() -> int:
        return time.time_ns() // 1_000_000

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65_536):
                self._receive(data)
            self.closed = "ended"
        except ConnectionResetError:
            self.closed = "reset"

    def _receive(self, data: bytes) -> None:
        self._split_frames(data)
        kept, _ = self._filter.receive_data(data)
        for event in self._h2.receive_data(kept):
            self._handle(event)
        self._flush()

    def _split_frames(self, data: bytes) -> None:
        data = self._partial_frame + data
        while len(data) >= FRAME_HEADER_BYTES:
            end = FRAME_HEADER_BYTES + int.from_bytes(data[:3], "big")
            if len(data) < end:
                break
            number = int.from_bytes(data[5:9], "big")
            self.frames.append((data[3], number, data[FRAME_HEADER_BYTES:end]))
            data = data[end:]
        self._partial_frame = data

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                headers = [(str(name), str(value)) for name, value in event.headers or ()]
                self.streams[event.stream_id or 0].headers = headers
            case h2.events.DataReceived():
                self.streams[event.stream_id or 0].body += event.data or b""
                if self.acknowledges and event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            case h2.events.StreamEnded():
                self.streams[event.stream_id or 0].ended = True
            case h2.events.StreamReset():
                self.streams[event.stream_id or 0].reset = int(event.error_code or 0)
