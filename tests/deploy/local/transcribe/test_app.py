"""The ASGI application, driven as a server would drive it: requests in, response parts out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from connectors.transcribe.eventstream import MessageDecoder
from connectors.transcribe.model import (
    MedicalResult,
    StartMedicalStreamTranscriptionRequest,
    parse_transcript_event,
)
from deploy.local.transcribe.app import MAX_CONTROL_BODY_BYTES, TranscribeApp
from deploy.local.transcribe.authentication import Keyring
from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.event_log import EventLog
from deploy.local.transcribe.recognisers import RecognitionRequest
from deploy.local.transcribe.recognisers.markers import MarkersRecogniser, encode_markers
from deploy.local.transcribe.recognition import Deliver, InlineHost
from deploy.local.transcribe.service import ServiceLimits, TranscribeService

MakeClient = Callable[..., Any]
MakeApp = Callable[..., TranscribeApp]
SPEECH = encode_markers([["one", "two"], ["three"]], 16_000)


class Exchange:
    """One request to the application: what the test sends, and what the application answered."""

    def __init__(self, app: TranscribeApp, scope: Mapping[str, Any]) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Mapping[str, Any]] = []
        self.task = asyncio.ensure_future(app(dict(scope), self.incoming.get, self._send))

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    def body(self, data: bytes, *, more: bool = True) -> None:
        self.incoming.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def disconnect(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def finished(self) -> None:
        await asyncio.wait_for(self.task, 5)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def data(self) -> bytes:
        return b"".join(part["body"] for part in self.sent[1:])

    @property
    def was_ended(self) -> bool:
        return not self.sent[-1].get("more_body", False)

    @property
    def results(self) -> list[MedicalResult]:
        messages = MessageDecoder().receive_data(self.data)
        return [
            r for m in messages if m.headers.get(":event-type") for r in parse_transcript_event(m.payload)
        ]

    @property
    def exception(self) -> tuple[str, str]:
        *_, message = MessageDecoder().receive_data(self.data)
        return str(message.headers[":exception-type"]), json.loads(message.payload)["Message"]


def scope_of(client: Any, **changes: Any) -> dict[str, Any]:
    client.now_ms = time.time_ns() // 1_000_000
    request = client.request()
    return {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": b"",
        "http_version": "2",
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
        **changes,
    }


def control(method: str, path: str = "/_local/faults") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "http_version": "1.1",
        "headers": [],
    }


@pytest.fixture
def make_app(keyring: Keyring) -> MakeApp:
    def make(host: Any = None, **limits: Any) -> TranscribeApp:
        markers = InlineHost(lambda request: MarkersRecogniser(request.sample_rate_hertz))
        service = TranscribeService(keyring, ServiceLimits(**limits))
        return TranscribeApp(service, host or markers, EventLog(None, lambda: 0.0))

    return make


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen within 5 s")


def final_texts(results: Sequence[MedicalResult]) -> list[str]:
    return [result.alternatives[0].transcript for result in results if not result.is_partial]


def test_full_duplex_from_the_response_head_to_the_last_final(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(), scope_of(client))
        await until(lambda: len(exchange.sent) == 2)  # head and empty event, before any audio
        assert exchange.status == 200
        assert exchange.headers["content-type"] == "application/vnd.amazon.eventstream"
        for start in range(0, len(SPEECH), 3200):
            exchange.body(client.event(SPEECH[start : start + 3200]))
        await until(lambda: final_texts(exchange.results) == ["one two", "three"])  # before the end is sent
        exchange.body(client.end())
        exchange.body(b"", more=False)
        await exchange.finished()
        assert exchange.was_ended

    run(work())


def test_two_channels_are_recognised_apart(make_app: MakeApp, make_client: MakeClient) -> None:
    parameters = StartMedicalStreamTranscriptionRequest(
        media_sample_rate_hertz=8000, enable_channel_identification=True, number_of_channels=2
    )
    left, right = (memoryview(encode_markers([[word]], 8000)).cast("h") for word in ("left", "right"))
    both = b"".join(
        a.to_bytes(2, "little", signed=True) + b.to_bytes(2, "little", signed=True)
        for a, b in zip(left, right, strict=True)
    )

    async def work() -> None:
        client = make_client(parameters=parameters)
        exchange = Exchange(make_app(), scope_of(client))
        exchange.body(client.event(both[:32_000]) + client.event(both[32_000:]) + client.end(), more=False)
        await exchange.finished()
        finals = [result for result in exchange.results if not result.is_partial]
        texts = {result.channel_id: result.alternatives[0].transcript for result in finals}
        assert texts == {"ch_0": "left", "ch_1": "right"}

    run(work())


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"path": "/call-analytics-stream-transcription"}, 404, "UnknownOperationException"),
        ({"method": "GET"}, 404, "UnknownOperationException"),
        ({"http_version": "1.1"}, 400, "BadRequestException"),
        ({"headers": []}, 403, "MissingAuthenticationTokenException"),
    ],
)
def test_a_refused_request_gets_status_name_and_message(
    make_app: MakeApp, client: Any, changes: dict[str, Any], status: int, code: str
) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(), scope_of(client, **changes))
        await exchange.finished()
        assert (exchange.status, exchange.headers["x-amzn-errortype"]) == (status, code)
        assert set(json.loads(exchange.data)) == {"Message"}

    run(work())


def test_a_reset_returns_without_ending_the_response(make_app: MakeApp, client: Any) -> None:
    """Which the server turns into RST_STREAM; tests/integration has the wire's view."""

    async def work() -> None:
        app = make_app()
        injected = Exchange(app, control("POST"))
        injected.body(json.dumps({"kind": "reset", "after_partials": 1}).encode(), more=False)
        await injected.finished()
        exchange = Exchange(app, scope_of(client))
        exchange.body(client.event(SPEECH[:32_000]))
        await exchange.finished()
        assert not exchange.was_ended
        assert len(exchange.results) == 1

    run(work())


def test_the_idle_timeout_ends_the_stream_in_the_services_words(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(idle_timeout_seconds=0.2), scope_of(client))
        await exchange.finished()
        assert exchange.exception == (
            "BadRequestException",
            "Your request timed out because no new audio was received for 0.2 seconds.",
        )
        assert exchange.was_ended

    run(work())


def test_a_body_that_ends_too_early(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(), scope_of(client))
        exchange.body(b"", more=False)
        await exchange.finished()
        assert "without the preceding empty frame" in exchange.exception[1]

    run(work())


def test_slots_are_freed_however_a_stream_ends(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app(max_streams=1)
        for _ in range(3):
            exchange = Exchange(app, scope_of(client))
            await until(lambda exchange=exchange: bool(exchange.sent))
            assert exchange.status == 200
            refused = Exchange(app, scope_of(client))
            await refused.finished()
            assert refused.status == 429
            exchange.body(b"", more=False)
            await exchange.finished()

    run(work())


@pytest.mark.parametrize("ended", [True, False])
def test_a_client_that_is_gone_frees_a_stalled_stream(make_app: MakeApp, client: Any, ended: bool) -> None:
    async def work() -> None:
        app = make_app(max_streams=1)
        injected = Exchange(app, control("POST"))
        injected.body(b'{"kind": "stall"}', more=False)
        await injected.finished()
        exchange = Exchange(app, scope_of(client))
        exchange.body(client.event(SPEECH[:3200]))
        if ended:
            exchange.body(client.end(), more=False)
        exchange.disconnect()
        await exchange.finished()
        following = Exchange(app, scope_of(client))
        await until(lambda: bool(following.sent))
        assert following.status == 200
        following.disconnect()
        await following.finished()

    run(work())


def test_aborted_streams_are_not_ended(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app()
        exchange = Exchange(app, scope_of(client))
        await until(lambda: bool(exchange.sent))
        app.abort_streams()
        await exchange.finished()
        assert not exchange.was_ended

    run(work())


class BrokenHost:
    """A host whose recogniser breaks down with the first audio."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = 0

    async def open(self, _request: RecognitionRequest, _deliver: Deliver) -> BrokenHost:
        return self

    async def accept(self, _pcm: bytes) -> None:
        raise self.error

    def close(self) -> None:
        self.closed += 1


def test_a_recogniser_that_breaks_down_is_an_internal_failure(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        host = BrokenHost(SpeechError("gone"))
        exchange = Exchange(make_app(host), scope_of(client))
        exchange.body(client.event(b"ab"))
        await exchange.finished()
        assert exchange.exception[0] == "InternalFailureException"
        assert host.closed == 1

    run(work())


class FailingHost:
    """A host that cannot open a recognition."""

    async def open(self, _request: RecognitionRequest, _deliver: Deliver) -> BrokenHost:
        raise OSError("no more file descriptors")


def test_a_recogniser_that_cannot_be_opened_takes_no_slot(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app(FailingHost(), max_streams=1)
        for _ in range(2):
            with pytest.raises(OSError, match="descriptors"):  # which the server answers with 500
                await Exchange(app, scope_of(client)).finished()

    run(work())


def test_a_client_that_cannot_be_answered_takes_no_slot(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app(BrokenHost(SpeechError("gone")), max_streams=1)
        exchange = Exchange(app, scope_of(client))
        await until(lambda: len(exchange.sent) == 2)
        exchange.sent = BrokenList()
        exchange.body(client.event(b"ab"))
        await exchange.finished()
        following = Exchange(app, scope_of(client))
        await until(lambda: bool(following.sent))
        assert following.status == 200
        following.disconnect()
        await following.finished()

    run(work())


class BrokenList(list[Mapping[str, Any]]):
    """Stands for a connection that takes nothing any more."""

    def append(self, _message: Mapping[str, Any]) -> None:
        raise ConnectionResetError


def test_an_unforeseen_error_breaks_the_stream_off_and_is_logged_by_its_type(
    make_app: MakeApp, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(BrokenHost(ValueError("a spoken secret"))), scope_of(client))
        exchange.body(client.event(b"ab"))
        await exchange.finished()
        assert not exchange.was_ended

    run(work())
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_heard_is_logged(make_app: MakeApp, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        exchange = Exchange(make_app(), scope_of(client))
        exchange.body(client.event(SPEECH[:32_000]) + client.event(b"odd"))
        await exchange.finished()

    with caplog.at_level("DEBUG"):
        run(work())
    assert "one" not in caplog.text.split()


def test_rules_are_listed_counted_and_cleared(make_app: MakeApp, client: Any) -> None:
    async def work() -> None:
        app = make_app()

        async def call(method: str, document: object = None, path: str = "/_local/faults") -> tuple[int, Any]:
            exchange = Exchange(app, control(method, path))
            exchange.body(b"" if document is None else json.dumps(document).encode(), more=False)
            await exchange.finished()
            return exchange.status, json.loads(exchange.data)

        assert await call("GET", path="/_local/status") == (200, {"streams": 0})
        assert (await call("POST", {"kind": "nonsense"}))[0] == 400
        assert (await call("POST", {"kind": "refuse", "code": "LimitExceededException"}))[0] == 200
        refused = Exchange(app, scope_of(client))
        await refused.finished()
        assert refused.status == 429
        status, rules = await call("GET")
        assert (status, [(rule["kind"], rule["acted"]) for rule in rules]) == (200, [("refuse", 1)])
        assert await call("DELETE") == (200, [])
        assert await call("GET") == (200, [])
        assert (await call("PUT"))[0] == 404
        assert (await call("POST", "x" * MAX_CONTROL_BODY_BYTES))[0] == 400

    run(work())
