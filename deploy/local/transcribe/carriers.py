"""What carries a stream: an HTTP/2 request and its response, or a WebSocket, behind the same few methods.

Both are ASGI on granian 2.8 (measured): over HTTP/2 a last body part with `more_body` false is END_STREAM,
and returning without one RST_STREAM(INTERNAL_ERROR); a client that resets its stream looks like one that
ended the body. A WebSocket's upgrade is refused by the extension `websocket.http.response`. What ASGI cannot
say goes through the front (`front.py`), which knows the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.transcribe.events import encode_exception
from deploy.local.transcribe.errors import ServiceFault, bad_request
from deploy.local.transcribe.front import FrontConnection
from deploy.local.transcribe.results import encode_error_body

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
SendMessage = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[str, str]]

ENHANCE_YOUR_CALM = 11  # RFC 9113 section 7
_INTERNAL_ERROR, _TRY_AGAIN_LATER, _NORMAL = 1011, 1013, 1000  # RFC 6455 section 7.4.1
_SETTLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes of the request; `ended`: no more follow, although the client may wait for results."""

    data: bytes = field(repr=False)
    ended: bool = False


class Carrier(Protocol):
    """One request and its response.

    Attributes:
        lingers: Whether the end of the response should wait for the end of the request.
    """

    lingers: bool

    async def respond(self, headers: Headers) -> None:
        """Accept the stream."""

    async def refuse(self, fault: ServiceFault, common: Headers) -> None:
        """Answer with an error instead; `common` are headers of every answer: request id and date."""

    async def receive(self) -> Incoming | None:
        """The next bytes, None once the client is gone; raises `ServiceFault` for what cannot be an event."""

    async def send(self, data: bytes) -> None:
        """Send one event."""

    async def end(self) -> None:
        """End the response in good order."""

    async def reset(self) -> None:
        """Make sure that the client sees no good end, once the exchange has returned."""

    async def go_away(self, error_code: int) -> None:
        """Send the connection away, with HTTP/2's error code."""

    def split(self, piece_bytes: int) -> None:
        """Send in pieces of so many bytes from now on."""

    async def disconnect(self) -> None:
        """Cut the TCP connection."""


class _AsgiCarrier:
    def __init__(self, receive: Receive, send: SendMessage, front: FrontConnection | None) -> None:
        self._receive = receive
        self._send = send
        self._front = front

    async def disconnect(self) -> None:
        await self._settle()
        if self._front is not None:
            self._front.disconnect()

    async def _settle(self) -> None:
        """What was sent is still on its way through granian, and is to be out before the connection goes."""
        await asyncio.sleep(_SETTLE_SECONDS)


class Http2Carrier(_AsgiCarrier):
    """See `Carrier`."""

    lingers = True

    def __init__(self, receive: Receive, send: SendMessage, front: FrontConnection | None) -> None:
        super().__init__(receive, send, front)
        self._piece_bytes = 0
        self._ended = False

    async def respond(self, headers: Headers) -> None:
        await self._start(200, headers)

    async def refuse(self, fault: ServiceFault, common: Headers) -> None:
        await self._start(fault.http_status, error_headers(fault, common))
        await self._send({"type": "http.response.body", "body": encode_error_body(fault.message)})

    async def _start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})

    async def receive(self) -> Incoming | None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            return None
        ended = not message.get("more_body", False) and not self._ended
        self._ended = self._ended or ended
        return Incoming(bytes(message.get("body", b"")), ended)

    async def send(self, data: bytes) -> None:
        step = self._piece_bytes or len(data) or 1
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def reset(self) -> None:
        """Nothing to do: granian resets a stream whose application returns without an end."""

    async def go_away(self, error_code: int) -> None:
        if error_code:
            await self._settle()
        if self._front is not None:
            self._front.go_away(error_code)

    def split(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes


class WebSocketCarrier(_AsgiCarrier):
    """See `Carrier`. An event is a binary message; a message of zero length says that no more follow."""

    lingers = False

    def __init__(self, receive: Receive, send: SendMessage, front: FrontConnection | None) -> None:
        super().__init__(receive, send, front)
        self._receiving: asyncio.Task[Mapping[str, Any]] | None = None
        self._is_closing = False
        self._has_closed = asyncio.Event()

    async def respond(self, headers: Headers) -> None:
        if self._front is not None:
            self._front.add_upgrade_headers(headers)
        await self._send({"type": "websocket.accept"})

    async def refuse(self, fault: ServiceFault, common: Headers) -> None:
        """By an exception event, as the service does; by an HTTP status if the fault insists on one."""
        if fault.insists_on_status:
            await self._refuse_upgrade(fault, common)
            return
        await self.respond(common)
        await self.send(encode_exception(fault.code, fault.message))
        await self.end()

    async def _refuse_upgrade(self, fault: ServiceFault, common: Headers) -> None:
        headers = _encoded(error_headers(fault, common))
        start = {"type": "websocket.http.response.start", "status": fault.http_status, "headers": headers}
        await self._send(start)
        body = encode_error_body(fault.message)
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def receive(self) -> Incoming | None:
        message = await self._next_message()
        if message is None or message["type"] == "websocket.disconnect":
            return None
        data = message.get("bytes")
        if data is None:
            raise bad_request("Events are binary messages; a text message was received.")
        return Incoming(bytes(data), ended=not data)

    async def _next_message(self) -> Mapping[str, Any] | None:
        """None once this side has closed."""
        if not self._is_closing:
            self._receiving = asyncio.create_task(self._receive_message())
            try:
                return await self._receiving
            except asyncio.CancelledError:
                if not self._is_closing:
                    raise
        await self._has_closed.wait()
        return None

    async def _receive_message(self) -> Mapping[str, Any]:
        return await self._receive()

    async def send(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def end(self) -> None:
        await self._close(_NORMAL)

    async def reset(self) -> None:
        if self._front is not None:
            self._front.break_off()

    async def go_away(self, error_code: int) -> None:
        if error_code:
            await self._close(_TRY_AGAIN_LATER if error_code == ENHANCE_YOUR_CALM else _INTERNAL_ERROR)

    async def _close(self, code: int) -> None:
        """Close; granian would wait with it until a pending `receive` has something, so that ends first."""
        self._is_closing = True
        if self._receiving is not None:
            self._receiving.cancel()
        try:
            await self._send({"type": "websocket.close", "code": code})
        finally:
            self._has_closed.set()

    def split(self, piece_bytes: int) -> None:
        if self._front is not None:
            self._front.split(piece_bytes)


def error_headers(fault: ServiceFault, common: Headers) -> Headers:
    """The headers of an answer that is no stream; `common` has those of every answer, request id and date."""
    return [("content-type", "application/json"), ("x-amzn-errortype", fault.code), *common]


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
