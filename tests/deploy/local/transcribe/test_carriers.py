"""The carriers against a scripted ASGI server: what each method sends, what each message becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from typing import Any

import pytest

from connectors.transcribe.eventstream import decode_message
from deploy.local.transcribe.carriers import (
    ENHANCE_YOUR_CALM,
    Carrier,
    Http2Carrier,
    Incoming,
    WebSocketCarrier,
    error_headers,
)
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.front import Front, FrontConnection

DATE = "Mon, 23 Nov 2026 17:04:35 GMT"
COMMON = [("x-amzn-requestid", "request-1"), ("date", DATE)]
FAULT = ServiceFault("LimitExceededException", "slower, please")
INSISTING_FAULT = ServiceFault("LimitExceededException", "slower, please", http_status=503)


class Server:
    """ASGI's two functions; `incoming` is what `receive` gives, `sent` what was sent."""

    def __init__(self, *incoming: Mapping[str, Any]) -> None:
        self.incoming: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        for message in incoming:
            self.incoming.put_nowait(message)
        self.sent: list[Mapping[str, Any]] = []
        self._receiving = asyncio.Lock()

    async def receive(self) -> Mapping[str, Any]:
        async with self._receiving:
            return await self.incoming.get()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Like granian's: a close waits while a message is being received."""
        async with self._receiving if message["type"] == "websocket.close" else nullcontext():
            self.sent.append(message)


class Door(FrontConnection):
    """Writes down what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(Front("127.0.0.1", 1))
        self.asked: list[tuple[str, object]] = []

    def go_away(self, error_code: int) -> None:
        self.asked.append(("go_away", error_code))

    def add_upgrade_headers(self, headers: Any) -> None:
        self.asked.append(("add_upgrade_headers", headers))

    def split(self, piece_bytes: int) -> None:
        self.asked.append(("split", piece_bytes))

    def break_off(self) -> None:
        self.asked.append(("break_off", None))

    def disconnect(self) -> None:
        self.asked.append(("disconnect", None))


KINDS = [Http2Carrier, WebSocketCarrier]
Kind = Callable[..., Any]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def perform(kind: Kind, *calls: Callable[[Any], Coroutine[Any, Any, None]]) -> tuple[list[Any], list[Any]]:
    """What a new carrier has sent, and asked of its door, after the calls."""
    server, door = Server(), Door()

    async def work() -> None:
        carrier = kind(server.receive, server.send, door)
        for call in calls:
            await call(carrier)

    run(work())
    return server.sent, door.asked


def received(kind: Kind, *messages: Mapping[str, Any]) -> list[Incoming | None]:
    found: list[Incoming | None] = []

    async def work() -> None:
        carrier: Carrier = kind(Server(*messages).receive, Server().send, None)
        for _ in messages:
            found.append(await carrier.receive())

    run(work())
    return found


# What comes in --------------------------------------------------------------------------------------------


def test_a_request_body_is_passed_on_and_ends_once() -> None:
    assert received(
        Http2Carrier,
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"c", "more_body": False},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ) == [Incoming(b"ab"), Incoming(b"c", ended=True), Incoming(b""), None]


def test_binary_messages_are_passed_on_and_an_empty_one_says_that_no_more_follow() -> None:
    assert received(
        WebSocketCarrier,
        {"type": "websocket.receive", "bytes": b"ab"},
        {"type": "websocket.receive", "bytes": b"", "text": None},
        {"type": "websocket.disconnect", "code": 1000},
    ) == [Incoming(b"ab"), Incoming(b"", ended=True), None]


@pytest.mark.parametrize("text", ["words", ""])
def test_a_text_message_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ServiceFault, match="binary") as caught:
        received(WebSocketCarrier, {"type": "websocket.receive", "text": text})
    assert caught.value.code == "BadRequestException"
    assert "words" not in str(caught.value)


def test_audio_is_hidden_from_repr() -> None:
    assert "secret" not in repr(Incoming(b"secret"))


# What goes out --------------------------------------------------------------------------------------------


def test_a_stream_over_http_2_is_accepted_sent_and_ended() -> None:
    sent, asked = perform(
        Http2Carrier,
        lambda carrier: carrier.respond([("x-a", "1")]),
        lambda carrier: carrier.send(b"event"),
        lambda carrier: carrier.end(),
    )
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]},
        {"type": "http.response.body", "body": b"event", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]
    assert asked == []


def test_a_stream_over_a_websocket_is_accepted_sent_and_ended() -> None:
    sent, asked = perform(
        WebSocketCarrier,
        lambda carrier: carrier.respond([("x-a", "1")]),
        lambda carrier: carrier.send(b"event"),
        lambda carrier: carrier.end(),
    )
    assert sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "bytes": b"event"},
        {"type": "websocket.close", "code": 1000},
    ]
    assert asked == [("add_upgrade_headers", [("x-a", "1")])]  # granian would not send them


@pytest.mark.parametrize(
    ("kind", "prefix", "fault"),
    [(Http2Carrier, "http", FAULT), (WebSocketCarrier, "websocket.http", INSISTING_FAULT)],
)
def test_a_refusal_has_status_name_date_and_message(kind: Kind, prefix: str, fault: ServiceFault) -> None:
    (start, body), _ = perform(kind, lambda carrier: carrier.refuse(fault, COMMON))
    assert (start["type"], start["status"]) == (f"{prefix}.response.start", fault.http_status)
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"x-amzn-errortype": b"LimitExceededException",
        b"x-amzn-requestid": b"request-1",
        b"date": DATE.encode(),
    }
    assert body["type"] == f"{prefix}.response.body"
    assert not body.get("more_body", False)
    assert json.loads(body["body"]) == {"Message": "slower, please"}


def test_a_websocket_is_refused_after_its_upgrade_by_an_exception_and_a_close() -> None:
    (accept, refusal, close), asked = perform(WebSocketCarrier, lambda carrier: carrier.refuse(FAULT, COMMON))
    assert accept == {"type": "websocket.accept"}
    message = decode_message(refusal["bytes"])
    assert message.headers[":exception-type"] == "LimitExceededException"
    assert json.loads(message.payload) == {"Message": "slower, please"}
    assert close == {"type": "websocket.close", "code": 1000}
    assert asked == [("add_upgrade_headers", COMMON)]


def test_the_headers_of_an_error_are_in_lower_case() -> None:
    assert all(name == name.lower() for name, _ in error_headers(FAULT, COMMON))


def test_http_2_sends_in_pieces_by_itself() -> None:
    async def split(carrier: Carrier) -> None:
        carrier.split(2)

    sent, asked = perform(Http2Carrier, split, lambda carrier: carrier.send(b"event"))
    assert [part["body"] for part in sent] == [b"ev", b"en", b"t"]
    assert all(part["more_body"] for part in sent)
    assert asked == []


def test_a_websocket_is_split_beneath_its_messages() -> None:
    async def split(carrier: Carrier) -> None:
        carrier.split(2)

    sent, asked = perform(WebSocketCarrier, split, lambda carrier: carrier.send(b"event"))
    assert sent == [{"type": "websocket.send", "bytes": b"event"}]
    assert asked == [("split", 2)]


# How it can go wrong --------------------------------------------------------------------------------------


def test_a_reset() -> None:
    assert perform(Http2Carrier, lambda carrier: carrier.reset()) == ([], [])  # granian does it
    assert perform(WebSocketCarrier, lambda carrier: carrier.reset()) == ([], [("break_off", None)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disconnect(kind: Kind) -> None:
    assert perform(kind, lambda carrier: carrier.disconnect()) == ([], [("disconnect", None)])


@pytest.mark.parametrize("error_code", [0, 2])
def test_http_2_is_sent_away_by_a_goaway(error_code: int) -> None:
    sent, asked = perform(Http2Carrier, lambda carrier: carrier.go_away(error_code))
    assert (sent, asked) == ([], [("go_away", error_code)])


@pytest.mark.parametrize(("error_code", "codes"), [(0, []), (2, [1011]), (ENHANCE_YOUR_CALM, [1013])])
def test_a_websocket_is_sent_away_by_a_closing_frame(error_code: int, codes: list[int]) -> None:
    sent, asked = perform(WebSocketCarrier, lambda carrier: carrier.go_away(error_code))
    assert sent == [{"type": "websocket.close", "code": code} for code in codes]
    assert asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it_is_possible_without_a_front(kind: Kind) -> None:
    async def work() -> None:
        carrier = kind(Server().receive, Server().send, None)
        await carrier.respond([])
        carrier.split(1)
        await carrier.reset()
        await carrier.disconnect()
        await carrier.go_away(2)

    run(work())


# Closing a WebSocket --------------------------------------------------------------------------------------


def test_a_close_ends_the_receive_that_is_waiting() -> None:
    """granian lets a close wait until a pending receive has a message: a silent client would never see it."""

    async def work() -> None:
        server = Server()
        carrier = WebSocketCarrier(server.receive, server.send, None)
        receiving = asyncio.create_task(carrier.receive())
        await asyncio.sleep(0)
        await asyncio.wait_for(carrier.end(), 5)
        assert server.sent == [{"type": "websocket.close", "code": 1000}]
        assert await receiving is None
        assert await carrier.receive() is None

    run(work())


def test_whoever_receives_hears_of_a_close_when_it_is_done() -> None:
    async def work() -> None:
        server, may_close = Server(), asyncio.Event()

        async def send(message: Mapping[str, Any]) -> None:
            await may_close.wait()
            await server.send(message)

        carrier = WebSocketCarrier(server.receive, send, None)
        receiving = asyncio.create_task(carrier.receive())
        closing = asyncio.create_task(carrier.end())
        await asyncio.sleep(0.02)
        assert not receiving.done()
        may_close.set()
        assert await receiving is None
        await closing

    run(work())


def test_a_receive_that_is_cancelled_is_cancelled() -> None:
    async def work() -> None:
        carrier = WebSocketCarrier(Server().receive, Server().send, None)
        receiving = asyncio.create_task(carrier.receive())
        await asyncio.sleep(0.01)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving

    run(work())
