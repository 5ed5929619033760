"""The application's WebSocket routes, driven as a server would drive them, and the routes around them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest, parse_transcript_event
from connectors.transcribe.presigned import WEBSOCKET_PATH, presign_websocket
from deploy.local.transcribe.app import TranscribeApp
from deploy.local.transcribe.authentication import Keyring
from deploy.local.transcribe.event_log import EventLog
from deploy.local.transcribe.faults import Fault, FaultKind
from deploy.local.transcribe.front import Front, FrontConnection
from deploy.local.transcribe.recognisers.markers import MarkersRecogniser, encode_markers
from deploy.local.transcribe.recognition import InlineHost
from deploy.local.transcribe.service import ServiceLimits, TranscribeService

MakeApp = Callable[..., TranscribeApp]
HOST = "localhost:8443"
SPEECH = encode_markers([["one", "two"], ["three"]], 16_000)
SESSION_ID = "12345678-1234-1234-1234-123456789abc"
CLIENT = ("127.0.0.1", 40_000)


class Conversation:
    """One WebSocket of the application. Like granian's, a close waits while a message is being received."""

    def __init__(self, app: TranscribeApp, scope: Mapping[str, Any]) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.sent: list[Mapping[str, Any]] = []
        self._receiving = asyncio.Lock()
        self.task = asyncio.ensure_future(app(dict(scope), self._receive, self._send))

    async def _receive(self) -> Mapping[str, Any]:
        async with self._receiving:
            return await self.incoming.get()

    async def _send(self, message: Mapping[str, Any]) -> None:
        async with self._receiving if message["type"] == "websocket.close" else nullcontext():
            self.sent.append(message)

    def binary(self, data: bytes) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def text(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    def speak(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 3200):
            self.binary(encode_audio_event(pcm[start : start + 3200]))

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def finished(self) -> None:
        await asyncio.wait_for(self.task, 5)

    @property
    def types(self) -> list[str]:
        return [str(message["type"]) for message in self.sent]

    @property
    def finals(self) -> list[str]:
        messages = [decode_message(part["bytes"]) for part in self.sent if "bytes" in part]
        results = [
            result
            for message in messages
            if ":event-type" in message.headers
            for result in parse_transcript_event(message.payload)
        ]
        return [result.alternatives[0].transcript for result in results if not result.is_partial]

    @property
    def exception(self) -> tuple[str, str]:
        """Of the last message before the close."""
        message = decode_message(self.sent[-2]["bytes"])
        assert message.headers[":message-type"] == "exception"
        return str(message.headers[":exception-type"]), json.loads(message.payload)["Message"]

    @property
    def refusal(self) -> tuple[str, str]:
        """After the upgrade, as the service does it."""
        assert self.types == ["websocket.accept", "websocket.send", "websocket.close"]
        return self.exception


def scope_of(client: Any, path: str = WEBSOCKET_PATH, **parameters: Any) -> dict[str, Any]:
    request = StartMedicalStreamTranscriptionRequest(**parameters)
    now_ms = time.time_ns() // 1_000_000
    url = urlsplit(presign_websocket(HOST, request, client.credentials, client.region, now_ms))
    return {
        "type": "websocket",
        "path": path,
        "query_string": url.query.encode(),
        "http_version": "1.1",
        "client": CLIENT,
        "headers": [(b"host", HOST.encode())],
    }


class Door(FrontConnection):
    """Writes down what it is asked to do."""

    def __init__(self, front: Front) -> None:
        super().__init__(front)
        front.by_port[CLIENT[1]] = self
        self.asked: list[tuple[str, Any]] = []

    def add_upgrade_headers(self, headers: Any) -> None:
        self.asked.append(("add_upgrade_headers", dict(headers)))

    def break_off(self) -> None:
        self.asked.append(("break_off", None))


@pytest.fixture
def make_app(keyring: Keyring) -> MakeApp:
    def make(host: Any = None, **limits: Any) -> TranscribeApp:
        markers = InlineHost(lambda request: MarkersRecogniser(request.sample_rate_hertz))
        service = TranscribeService(keyring, ServiceLimits(**limits))
        return TranscribeApp(service, host or markers, EventLog(None, lambda: 0.0))

    return make


def inject(app: TranscribeApp, *faults: Fault) -> None:
    app._service.inject(list(faults))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen within 5 s")


# Streams --------------------------------------------------------------------------------------------------


def test_full_duplex_from_the_upgrade_to_the_last_final(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        await until(lambda: talk.types == ["websocket.accept", "websocket.send"])  # before any audio
        talk.speak(SPEECH)
        await until(lambda: talk.finals == ["one two", "three"])  # before the end is sent
        talk.binary(encode_audio_event(b""))
        await talk.finished()
        assert talk.sent[-1] == {"type": "websocket.close", "code": 1000}

    run(work())


def test_each_message_is_one_event(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        talk.speak(SPEECH)
        talk.binary(encode_audio_event(b""))
        await talk.finished()
        assert talk.finals == ["one two", "three"]  # decoded message by message

    run(work())


def test_a_message_without_length_ends_the_audio(make_app: MakeApp, client: Any) -> None:
    """The JavaScript SDK's way."""

    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        talk.speak(SPEECH)
        talk.binary(b"")
        await talk.finished()
        assert talk.finals == ["one two", "three"]
        assert talk.sent[-1] == {"type": "websocket.close", "code": 1000}

    run(work())


def test_an_end_may_be_said_twice(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        talk.speak(SPEECH[:3200])
        talk.binary(encode_audio_event(b""))
        talk.binary(b"")
        talk.leave()
        await talk.finished()
        assert talk.types[-1] == "websocket.close"
        assert talk.types.count("websocket.close") == 1

    run(work())


def test_the_upgrades_headers_go_through_the_front(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app()
        app.front = Front("127.0.0.1", 1)
        door = Door(app.front)
        talk = Conversation(app, scope_of(client, session_id=SESSION_ID))
        await until(lambda: bool(talk.sent))
        talk.leave()
        await talk.finished()
        ((_, headers),) = door.asked
        assert headers["x-amzn-SessionId"] == SESSION_ID
        assert len(headers["x-amzn-RequestId"]) == 36
        assert headers["websocket-location"] == WEBSOCKET_PATH  # not its query, which opens streams

    run(work())


def test_the_standard_operation_has_a_websocket_too(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        scope = scope_of(client, path="/stream-transcription-websocket")
        talk = Conversation(make_app(), scope)
        await talk.finished()
        assert talk.refusal[0] == "InvalidSignatureException"  # the path is signed

    run(work())


@pytest.mark.parametrize("bytes_after", [0, 100])
def test_a_client_that_leaves_frees_its_slot_and_is_not_closed_upon(
    make_app: MakeApp, client: Any, bytes_after: int
) -> None:
    async def work() -> None:
        app = make_app(max_streams=1)
        for _ in range(3):
            talk = Conversation(app, scope_of(client))
            talk.speak(bytes(bytes_after))
            talk.leave()
            await talk.finished()
            assert "websocket.close" not in talk.types

    run(work())


# Exceptions -----------------------------------------------------------------------------------------------


def test_a_text_message_is_a_bad_request_in_a_frame_and_a_close(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        talk.text("some words")
        await talk.finished()
        name, message = talk.exception
        assert name == "BadRequestException"
        assert "binary" in message
        assert "some words" not in message
        assert talk.sent[-1] == {"type": "websocket.close", "code": 1000}

    run(work())


@pytest.mark.parametrize("data", [b"garbage which is long enough", encode_audio_event(b"odd")])
def test_what_is_no_audio_is_a_bad_request(make_app: MakeApp, client: Any, data: bytes) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client))
        talk.binary(data)
        await talk.finished()
        assert talk.exception[0] == "BadRequestException"

    run(work())


def test_the_idle_timeout_is_said_and_closes_although_the_client_is_silent(
    make_app: MakeApp, client: Any
) -> None:
    async def work() -> None:
        app = make_app(idle_timeout_seconds=0.2, max_streams=1)
        talk = Conversation(app, scope_of(client))
        await talk.finished()
        assert "no new audio was received for 0.2 seconds" in talk.exception[1]
        assert talk.sent[-1] == {"type": "websocket.close", "code": 1000}

    run(work())


def test_a_stalled_end_closes_although_the_client_is_silent(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app()
        inject(app, Fault(FaultKind.STALL, seconds=0.2))
        talk = Conversation(app, scope_of(client))
        talk.speak(SPEECH)
        talk.binary(encode_audio_event(b""))
        await talk.finished()
        assert talk.finals == ["one two", "three"]
        assert talk.types[-1] == "websocket.close"

    run(work())


@pytest.mark.parametrize(("error_code", "close_code"), [(2, 1011), (11, 1013)])
def test_sent_away(make_app: MakeApp, client: Any, error_code: int, close_code: int) -> None:
    async def work() -> None:
        app = make_app()
        inject(app, Fault(FaultKind.GOAWAY, error_code=error_code))
        talk = Conversation(app, scope_of(client))
        talk.speak(bytes(3200))
        await talk.finished()
        assert talk.sent[-1] == {"type": "websocket.close", "code": close_code}

    run(work())


class BrokenHost:
    """A host whose recogniser breaks down with the first audio."""

    async def open(self, _request: Any, _deliver: Any) -> BrokenHost:
        return self

    async def accept(self, _pcm: bytes) -> None:
        raise ValueError("unforeseen")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("cause", ["error", "abort", "reset", "abort-before-the-answer"])
def test_a_stream_that_is_broken_off_has_no_good_end(make_app: MakeApp, client: Any, cause: str) -> None:
    """granian closes in good order what returns without a close; a client would take it for the end."""

    async def work() -> None:
        app = make_app(BrokenHost() if cause == "error" else None)
        app.front = Front("127.0.0.1", 1)
        door = Door(app.front)
        if cause == "reset":
            inject(app, Fault(FaultKind.RESET))
        if cause == "abort-before-the-answer":
            inject(app, Fault(FaultKind.LATE_HEADERS, seconds=60))
        talk = Conversation(app, scope_of(client))
        talk.speak(bytes(3200))
        if cause.startswith("abort"):
            await asyncio.sleep(0.05)
            app.abort_streams()
        await talk.finished()
        assert door.asked[-1] == ("break_off", None)
        assert "websocket.close" not in talk.types

    run(work())


# Refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"query_string": b""}, "IncompleteSignatureException"),
        ({"headers": [(b"host", b"elsewhere")]}, "InvalidSignatureException"),
    ],
)
def test_a_refused_websocket_is_told_why(
    make_app: MakeApp, client: Any, changes: dict[str, Any], code: str
) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client) | changes)
        await talk.finished()
        assert talk.refusal[0] == code

    run(work())


@pytest.mark.parametrize("path", ["/nowhere", "/medical-stream-transcription", "/_local/status"])
def test_a_path_that_is_no_websockets_is_refused_by_its_status(
    make_app: MakeApp, client: Any, path: str
) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client) | {"path": path})
        await talk.finished()
        start, _ = talk.sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
        assert dict(start["headers"])[b"x-amzn-errortype"] == b"UnknownOperationException"

    run(work())


def test_a_wrong_parameter_of_the_query_is_named(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        talk = Conversation(make_app(), scope_of(client, specialty="DENTISTRY"))
        await talk.finished()
        code, message = talk.refusal
        assert code == "BadRequestException"
        assert "Specialty is 'DENTISTRY'" in message

    run(work())


def test_the_quota_counts_both_transports(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app(max_streams=1)
        first = Conversation(app, scope_of(client))
        await until(lambda: bool(first.sent))
        second = Conversation(app, scope_of(client))
        await second.finished()
        assert second.refusal[0] == "LimitExceededException"
        first.leave()
        await first.finished()

    run(work())


@pytest.mark.parametrize("path", [WEBSOCKET_PATH, "/stream-transcription-websocket"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_plain_request_to_a_websockets_path_is_told_what_there_is(
    make_app: MakeApp, path: str, method: str
) -> None:
    async def work() -> None:
        sent: list[Mapping[str, Any]] = []

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        async def receive() -> Mapping[str, Any]:
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "http_version": "2"}
        await make_app()({**scope, "headers": [], "client": CLIENT}, receive, send)
        assert (sent[0]["type"], sent[0]["status"]) == ("http.response.start", 404)
        message = json.loads(sent[1]["body"])["Message"]
        assert f"WebSocket {WEBSOCKET_PATH}" in message
        assert "POST /medical-stream-transcription" in message

    run(work())


def test_a_status_that_was_asked_for_refuses_the_upgrade(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app()
        inject(app, Fault(FaultKind.REFUSE, code="ProxyTrouble", message="m", http_status=502))
        talk = Conversation(app, scope_of(client))
        await talk.finished()
        start, body = talk.sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 502)
        assert dict(start["headers"])[b"x-amzn-errortype"] == b"ProxyTrouble"
        assert json.loads(body["body"]) == {"Message": "m"}

    run(work())


def test_answers_are_dated_by_the_endpoints_own_clock(keyring: Keyring, client: Any) -> None:
    async def work() -> None:
        service = TranscribeService(keyring, ServiceLimits(), now_ms=lambda: 1_795_453_475_575)
        app = TranscribeApp(service, InlineHost(lambda _: MarkersRecogniser(16_000)), EventLog(None, float))
        app.front = Front("127.0.0.1", 1)
        door = Door(app.front)
        talk = Conversation(app, scope_of(client))
        await talk.finished()
        assert "Signature" in talk.refusal[1]
        (asked, headers), *_ = door.asked
        assert asked == "add_upgrade_headers"
        assert headers["date"] == "Mon, 23 Nov 2026 17:04:35 GMT"
        assert len(headers["x-amzn-requestid"]) == 36

    run(work())
