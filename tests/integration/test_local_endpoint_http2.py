"""The endpoint's HTTP/2 as a client sees it that is not ours: streams on one connection, single frames."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Callable, Coroutine, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.transcribe.eventstream import MessageDecoder
from connectors.transcribe.model import (
    MedicalResult,
    StartMedicalStreamTranscriptionRequest,
    parse_transcript_event,
)
from connectors.transcribe.sigv4 import Credentials
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers
from tests.fakes.h2_client import DATA, GOAWAY, ClientStream, H2Client

CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)
SPEECH = encode_markers([["alpha", "bravo", "charlie"], ["delta", "echo"]], 16_000)
FINALS = ["alpha bravo charlie", "delta echo"]
PARAMETERS = StartMedicalStreamTranscriptionRequest().to_headers()
INTERNAL_ERROR = 2
Start = Callable[..., EndpointProcess]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("http2"), recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared: EndpointProcess) -> Iterator[EndpointProcess]:
    yield shared
    shared.clear_faults()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an endpoint of its own; `start("--max-streams", "1")`."""
    started: list[EndpointProcess] = []

    def start(*options: str) -> EndpointProcess:
        process = EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


def client_of(endpoint: EndpointProcess) -> H2Client:
    return H2Client(endpoint.port, CREDENTIALS)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def send_all(client: H2Client, stream: ClientStream, pcm: bytes = SPEECH) -> None:
    for begin in range(0, len(pcm), 3200):
        await client.send(stream, pcm[begin : begin + 3200])
    await client.send(stream, None)


async def send_some(client: H2Client, stream: ClientStream, pcm: bytes = SPEECH) -> None:
    """Until the stream or the connection is over."""
    for begin in range(0, len(pcm), 3200):
        await client.send(stream, pcm[begin : begin + 3200])
        await asyncio.sleep(0.002)


def results(stream: ClientStream) -> list[MedicalResult]:
    return [
        result
        for message in MessageDecoder().receive_data(stream.body)
        if message.headers[":message-type"] == "event"
        for result in parse_transcript_event(message.payload)
    ]


def finals(stream: ClientStream) -> list[str]:
    return [result.alternatives[0].transcript for result in results(stream) if not result.is_partial]


async def end_reason(endpoint: EndpointProcess) -> str:
    """Of the last stream, which the client may know to be over before the log does."""
    for _ in range(250):
        if "reason" in (event := endpoint.events()[-1]):
            return str(event["reason"])
        await asyncio.sleep(0.02)
    pytest.fail("the stream's end was not logged")


def error_of(stream: ClientStream) -> tuple[int, str, str]:
    return stream.status, dict(stream.headers)["x-amzn-errortype"], json.loads(stream.body)["Message"]


# Streams and connections ----------------------------------------------------------------------------------


def test_two_streams_share_a_connection(endpoint: EndpointProcess) -> None:
    """As both Python SDKs of AWS have it."""

    async def work() -> None:
        async with client_of(endpoint) as client:
            first, second = client.open(PARAMETERS), client.open(PARAMETERS)
            await asyncio.gather(send_all(client, first), send_all(client, second))
            await client.until(lambda: first.ended and second.ended)
            assert finals(first) == finals(second) == FINALS
            ids = {dict(stream.headers)["x-amzn-transcribe-session-id"] for stream in (first, second)}
            assert len(ids) == 2

    run(work())


def test_one_stream_per_connection_on_request(start: Start) -> None:
    async def work() -> None:
        endpoint = start("--one-stream-per-connection")
        async with client_of(endpoint) as client, client_of(endpoint) as other:
            first = client.open(PARAMETERS)
            await client.until(lambda: first.status)
            second = client.open(PARAMETERS)
            await client.until(lambda: second.ended)
            status, name, message = error_of(second)
            assert (status, name) == (400, "BadRequestException")
            assert "one stream" in message
            elsewhere = other.open(PARAMETERS)
            await other.until(lambda: elsewhere.status)
            assert elsewhere.status == 200
            await send_all(client, first)
            await client.until(lambda: first.ended)
            assert finals(first) == FINALS
            third = client.open(PARAMETERS)
            await client.until(lambda: third.status)
            assert third.status == 200  # the first is over

    run(work())


def test_the_head_of_the_answer(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS | {"x-amzn-transcribe-vocabulary-name": "heart"})
            await client.until(lambda: stream.status)  # before any audio
            names = [name for name, _ in stream.headers]
            assert len(set(names)) == len(names)
            headers = dict(stream.headers)
            assert headers["content-type"] == "application/vnd.amazon.eventstream"
            assert headers["x-amzn-request-id"] == headers["x-amzn-requestid"]
            assert headers["x-amzn-transcribe-vocabulary-name"] == "heart"
            assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 10
            assert all(headers[name] == value for name, value in PARAMETERS.items())

    run(work())


def test_the_standard_operation(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with client_of(endpoint) as client:
            parameters = {
                "x-amzn-transcribe-language-code": "de-DE",
                "x-amzn-transcribe-sample-rate": "16000",
                "x-amzn-transcribe-media-encoding": "pcm",
                "x-amzn-transcribe-partial-results-stability": "high",
            }
            stream = client.open(parameters, path="/stream-transcription")
            await send_all(client, stream)
            await client.until(lambda: stream.ended)
            assert finals(stream) == FINALS
            echoed = dict(stream.headers)
            assert all(echoed[name] == value for name, value in parameters.items())
            assert "x-amzn-transcribe-specialty" not in echoed

    run(work())


@pytest.mark.parametrize("path", ["/medical-stream-transcription-websocket", "/nowhere"])
def test_a_post_elsewhere_is_told_what_there_is(endpoint: EndpointProcess, path: str) -> None:
    async def work() -> None:
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS, path=path)
            await client.until(lambda: stream.ended)
            status, name, message = error_of(stream)
            assert (status, name) == (404, "UnknownOperationException")
            assert "POST /medical-stream-transcription" in message

    run(work())


def test_a_skewed_clock_is_in_the_date_of_a_refusal(start: Start) -> None:
    async def work() -> None:
        async with client_of(start("--clock-skew-seconds", "-3600")) as client:
            stream = client.open(PARAMETERS)
            await client.until(lambda: stream.ended)
            assert "Signature not yet current" in error_of(stream)[2]
            dates = [value for name, value in stream.headers if name == "date"]
            assert len(dates) == 1
            skew = parsedate_to_datetime(dates[0]).timestamp() - time.time()
            assert -3610 < skew < -3590

    run(work())


def test_a_client_that_gives_no_window_gets_its_results_later(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with client_of(endpoint) as client:
            client.acknowledges = False
            stream = client.open(PARAMETERS)
            sending = asyncio.create_task(send_all(client, stream, SPEECH * 60))
            await client.until(lambda: len(stream.body) > 60_000)
            await asyncio.sleep(0.3)
            assert len(stream.body) <= 65_535  # HTTP/2's first window
            client.grow_window(stream, 2**30)
            client.acknowledges = True
            await sending
            await client.until(lambda: stream.ended)
            assert finals(stream) == FINALS * 60

    run(work())


# Faults ---------------------------------------------------------------------------------------------------


def goaways(client: H2Client) -> list[tuple[int, int]]:
    """Last stream and error code of each GOAWAY."""
    return [struct.unpack(">II", payload[:8]) for kind, _, payload in client.frames if kind == GOAWAY]  # type: ignore[misc]


def test_a_graceful_goaway_lets_the_stream_finish(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "goaway", "after_partials": 1})
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS)
            await send_all(client, stream)
            await client.until(lambda: stream.ended)
            assert finals(stream) == FINALS
            assert goaways(client) == [(2**31 - 1, 0)]
            kinds = [kind for kind, _, _ in client.frames]
            assert DATA in kinds[kinds.index(GOAWAY) :]

    run(work())


@pytest.mark.parametrize("error_code", [INTERNAL_ERROR, 11])
def test_a_goaway_with_an_error_comes_after_what_was_sent_and_ends_the_connection(
    endpoint: EndpointProcess, error_code: int
) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "goaway", "after_partials": 2, "error_code": error_code})
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS)
            await send_some(client, stream)
            assert await client.until_closed() == "ended"
            assert goaways(client) == [(2**31 - 1, error_code)]
            assert client.frames[-1][0] == GOAWAY
            assert [result.is_partial for result in results(stream)] == [True, True]
            assert await end_reason(endpoint) == "fault: goaway"

    run(work())


def test_a_disconnect_is_a_reset_of_the_connection(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "disconnect", "after_audio_events": 3})
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS)
            for _ in range(3):
                await client.send(stream, bytes(3200))
            assert await client.until_closed() == "reset"
            assert await end_reason(endpoint) == "fault: disconnect"

    run(work())


def test_a_reset_is_of_the_stream_alone(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with client_of(endpoint) as client:
            other = client.open(PARAMETERS)
            await client.until(lambda: other.status)
            endpoint.inject({"kind": "reset", "after_partials": 2})
            stream = client.open(PARAMETERS)
            await send_some(client, stream)
            await client.until(lambda: stream.reset is not None)
            assert stream.reset == INTERNAL_ERROR
            assert [result.is_partial for result in results(stream)] == [True, True]
            await send_all(client, other)
            await client.until(lambda: other.ended)
            assert finals(other) == FINALS

    run(work())


def test_split_events_come_byte_by_byte(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "split", "after_audio_events": 1})
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS)
            await send_all(client, stream)
            await client.until(lambda: stream.ended)
            assert finals(stream) == FINALS
            sizes = [len(payload) for kind, _, payload in client.frames if kind == DATA]
            assert sizes[0] == 130  # the first event comes before any audio
            assert len(sizes) > len(stream.body) / 4

    run(work())


def test_late_headers(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "late_headers", "seconds": 0.5})
        async with client_of(endpoint) as client:
            began = time.monotonic()
            stream = client.open(PARAMETERS)
            await client.send(stream, SPEECH[:3200])
            await client.until(lambda: stream.status)
            assert time.monotonic() - began >= 0.5
            await send_all(client, stream, SPEECH[3200:])
            await client.until(lambda: stream.ended)
            assert finals(stream) == FINALS

    run(work())


def test_a_refusal_has_the_status_that_was_asked_for(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "refuse", "code": "Troubled", "message": "m", "http_status": 502})
        async with client_of(endpoint) as client:
            stream = client.open(PARAMETERS)
            await client.until(lambda: stream.ended)
            assert error_of(stream) == (502, "Troubled", "m")

    run(work())
