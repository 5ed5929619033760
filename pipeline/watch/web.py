"""The page's server as an ASGI application: static files for everybody, sessions for who has the token.

`/events` is a stream of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
The first has all sessions, unless `Last-Event-ID` names a version of this server's board: then what has
changed since. Nothing waits in a queue: when a browser has taken one event, the next says what has changed
meanwhile. So a slow one gets fewer and larger events, and costs no more memory than its connection's buffer.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.watch.access import Access
from pipeline.watch.shared import SharedBoard

MAX_STREAMS = 16
_TICK_SECONDS = 0.1
_VERSION_DIGITS = 18
_HEARTBEAT_SECONDS = 10.0
_STUCK_SECONDS = 30.0
"""A browser that takes nothing for so long is given up."""
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/stream.js": ("stream.js", "text/javascript; charset=utf-8"),
    "/timeline.js": ("timeline.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def captions_app(
    board: SharedBoard,
    access: Access,
    *,
    show_text: bool,
    stopping: Callable[[], bool] = lambda: False,
    max_streams: int = MAX_STREAMS,
    stuck_seconds: float = _STUCK_SECONDS,
) -> ASGIApp:
    """The application. Streams end when `stopping` says so; without `show_text` no word is sent."""
    streams = EventStreams(
        board,
        access,
        show_text=show_text,
        stopping=stopping,
        max_streams=max_streams,
        stuck_seconds=stuck_seconds,
    )
    routes = [Route(path, _static(*file)) for path, file in _PAGE.items()]
    return _Guarded(Starlette(routes=[*routes, Route("/events", streams, methods=["GET"])]), access)


def _static(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("pipeline.watch").joinpath("page", name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


class _Guarded:
    """Refuses requests under foreign names or from foreign pages, and sends the headers with every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._access.knows_host(host):
            refusal = PlainTextResponse("This server is not known under that name.\n", 421)
            await refusal(scope, receive, send_with_headers)
        elif not self._access.knows_origin(headers.get("origin"), host):
            await PlainTextResponse("Not for other pages.\n", 403)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


class EventStreams:
    """`/events`. Counts its streams; `open` is how many there are."""

    def __init__(
        self,
        board: SharedBoard,
        access: Access,
        *,
        show_text: bool,
        stopping: Callable[[], bool],
        max_streams: int,
        stuck_seconds: float,
    ) -> None:
        self._board = board
        self._access = access
        self._show_text = show_text
        self._stopping = stopping
        self._max_streams = max_streams
        self._stuck_seconds = stuck_seconds
        self._run = secrets.token_hex(4)
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not self._access.admits(headers.get("authorization", "")):
            refusal = {"WWW-Authenticate": "Bearer"}
            await PlainTextResponse("The token is wrong or missing.\n", 401, refusal)(scope, receive, send)
        elif self.open >= self._max_streams:
            busy = {"Retry-After": "5"}
            await PlainTextResponse("Too many browsers watch.\n", 503, busy)(scope, receive, send)
        else:
            self.open += 1
            try:
                await self._serve(receive, send, self._version_in(headers.get("last-event-id", "")))
            finally:
                self.open -= 1

    def _version_in(self, event_id: str) -> int | None:
        """The version in an id of this run's; None in any other."""
        run, _, version = event_id.partition("-")
        is_ours = run == self._run and len(version) <= _VERSION_DIGITS
        return int(version) if is_ours and version.isdecimal() and version.isascii() else None

    async def _serve(self, receive: Receive, send: Send, since: int | None) -> None:
        """Until the browser has gone, or takes nothing, or the server stops."""
        writing = asyncio.ensure_future(self._write(send, since))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                with suppress(TimeoutError):  # it takes nothing
                    writing.result()
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Send, since: int | None) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        quiet_since = time.monotonic()
        while not self._stopping():
            view = self._board.view(since, show_text=self._show_text)
            if view is not None:
                since = view["version"]
                await self._send(send, self._event(view))
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > _HEARTBEAT_SECONDS:
                await self._send(send, b": still here\n\n")
                quiet_since = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _event(self, view: dict[str, object]) -> bytes:
        view |= {"now": round(time.time() * 1000), "text": self._show_text}
        data = json.dumps(view, ensure_ascii=False, separators=(",", ":"))
        return f"id: {self._run}-{view['version']}\ndata: {data}\n\n".encode("utf-8", "replace")

    async def _send(self, send: Send, body: bytes) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": True}
        await asyncio.wait_for(send(message), self._stuck_seconds)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
