"""The endpoint's WebSocket as an independent client sees it: `websockets`, with presigned URLs and no SDK."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from connectors.transcribe.errors import ChecksumError
from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.eventstream import Message, MessageDecoder, decode_message
from connectors.transcribe.model import (
    MedicalResult,
    StartMedicalStreamTranscriptionRequest,
    parse_transcript_event,
)
from connectors.transcribe.presigned import presign_websocket
from connectors.transcribe.sigv4 import (
    EMPTY_PAYLOAD_SHA256,
    Credentials,
    CredentialScope,
    amz_date,
    canonical_request,
    derive_signing_key,
    request_signature,
)
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words

CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)
SENTENCES = [["alpha", "bravo", "charlie"], ["delta", "echo"]]
SPEECH = encode_markers(SENTENCES, 16_000)
EXPECTED = [
    [(word.content, word.start_seconds, word.end_seconds) for word in words]
    for words in marked_words(SENTENCES)
]
SESSION_ID = "12345678-1234-1234-1234-123456789abc"
END = encode_audio_event(b"")
Start = Callable[..., EndpointProcess]


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EndpointProcess]]:
    folder = tmp_path_factory.mktemp("websocket")
    options = ("--idle-timeout-seconds", "2")
    plain = EndpointProcess(folder / "ws", recogniser="markers", options=options)
    secure = EndpointProcess(folder / "wss", recogniser="markers", options=options, tls=True)
    with plain, secure:
        yield {"ws": plain, "wss": secure}


@pytest.fixture(params=["ws", "wss"])
def endpoint(
    request: pytest.FixtureRequest, endpoints: Mapping[str, EndpointProcess]
) -> Iterator[EndpointProcess]:
    yield endpoints[request.param]
    endpoints[request.param].clear_faults()


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


def presigned(
    endpoint: EndpointProcess,
    *,
    credentials: Credentials = CREDENTIALS,
    now_ms: int | None = None,
    path: str | None = None,
    **parameters: Any,
) -> str:
    authority = f"127.0.0.1:{endpoint.port}"
    target = presign_websocket(
        authority,
        StartMedicalStreamTranscriptionRequest(**parameters),
        credentials,
        "us-east-1",
        time.time_ns() // 1_000_000 if now_ms is None else now_ms,
    )
    _, _, query = target.partition("?")
    scheme = "ws" if endpoint.ca_file is None else "wss"
    return f"{scheme}://{authority}{path or target.partition('?')[0]}?{query}"


@asynccontextmanager
async def talk(endpoint: EndpointProcess, **options: Any) -> AsyncIterator[ClientConnection]:
    """A connection that was upgraded."""
    tls = None if endpoint.ca_file is None else ssl.create_default_context(cafile=endpoint.ca_file)
    async with connect(
        presigned(endpoint, **options), ssl=tls, compression=None, ping_interval=None, close_timeout=5
    ) as websocket:
        yield websocket


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def send_all(websocket: ClientConnection, pcm: bytes = SPEECH, end: bytes = END) -> None:
    for begin in range(0, len(pcm), 3200):
        await websocket.send(encode_audio_event(pcm[begin : begin + 3200]))
    await websocket.send(end)


async def keep_sending(websocket: ClientConnection, pause_seconds: float) -> None:
    """Audio without end, until the connection is closed."""
    try:
        while True:
            for begin in range(0, len(SPEECH), 3200):
                await websocket.send(encode_audio_event(SPEECH[begin : begin + 3200]))
                await asyncio.sleep(pause_seconds)
    except ConnectionClosed:
        pass
    except AttributeError:
        # The library aborts a transport that asyncio (3.11.7) has closed for good: the same, said worse.
        if websocket.transport.is_closing():
            return
        raise


async def receive_all(websocket: ClientConnection) -> tuple[list[bytes], int | None]:
    """Every message, and the code of the closing frame, None where there was none."""
    messages: list[bytes] = []
    while True:
        try:
            received = await websocket.recv()
        except ConnectionClosed as closed:
            return messages, None if closed.rcvd is None else closed.rcvd.code
        assert isinstance(received, bytes)
        messages.append(received)


def results(messages: list[bytes]) -> list[MedicalResult]:
    events = [decode_message(message) for message in messages]
    return [
        result
        for event in events
        if event.headers[":message-type"] == "event"
        for result in parse_transcript_event(event.payload)
    ]


def final_words(messages: list[bytes]) -> list[list[tuple[str, float, float]]]:
    return [
        [(item.content, item.start_time, item.end_time) for item in result.alternatives[0].items]
        for result in results(messages)
        if not result.is_partial
    ]


def exception(messages: list[bytes]) -> tuple[str, str]:
    """Name and text of the last message, in the form of the developer guide."""
    event: Message = decode_message(messages[-1])
    assert set(event.headers) == {":message-type", ":exception-type", ":content-type"}
    assert event.headers[":message-type"] == "exception"
    return str(event.headers[":exception-type"]), json.loads(event.payload)["Message"]


async def end_reason(endpoint: EndpointProcess) -> str:
    """Of the last stream, which the client may know to be over before the log does."""
    for _ in range(250):
        if "reason" in (event := endpoint.events()[-1]):
            return str(event["reason"])
        await asyncio.sleep(0.02)
    pytest.fail("the stream's end was not logged")


def test_an_unknown_path_is_not_found(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        with pytest.raises(InvalidStatus) as caught:
            async with talk(endpoint, path="/nowhere"):
                pass
        response = caught.value.response
        assert (response.status_code, response.headers["x-amzn-errortype"]) == (
            404,
            "UnknownOperationException",
        )
        assert b"WebSocket /medical-stream-transcription" in (response.body or b"")

    run(work())


# The orderly path -----------------------------------------------------------------------------------------


def test_the_upgrade_has_the_services_headers_and_the_logs_have_the_same_ids(
    endpoint: EndpointProcess,
) -> None:
    async def work() -> None:
        async with talk(endpoint, session_id=SESSION_ID) as websocket:
            assert websocket.response is not None
            headers = websocket.response.headers
            names = [name for name, _ in headers.raw_items()]
            assert {"x-amzn-RequestId", "x-amzn-SessionId"} <= set(names)  # in just this case
            assert len({name.lower() for name in names}) == len(names)
            assert headers["x-amzn-SessionId"] == SESSION_ID
            assert headers["websocket-location"] == "/medical-stream-transcription-websocket"
            assert headers["Strict-Transport-Security"] == "max-age=31536000"
            assert "X-Amz" not in str(headers)  # the query opens streams
            await websocket.send(END)
            assert (await receive_all(websocket))[1] == 1000
            ids = (SESSION_ID, headers["x-amzn-RequestId"])
        assert await end_reason(endpoint) == "complete"
        events = endpoint.events()[-2:]
        assert [(event["session_id"], event["request_id"]) for event in events] == [ids, ids]
        assert [event["event"] for event in events] == ["stream_started", "stream_ended"]

    run(work())


def test_a_session_id_is_made_where_none_is_given(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        found = set()
        for _ in range(2):
            async with talk(endpoint) as websocket:
                assert websocket.response is not None
                found.add(websocket.response.headers["x-amzn-SessionId"])
        assert len(found) == 2
        assert {len(session_id) for session_id in found} == {36}

    run(work())


@pytest.mark.parametrize("end", [END, b""], ids=["empty-event", "empty-message"])
def test_every_word_arrives_with_its_times(endpoint: EndpointProcess, end: bytes) -> None:
    async def work() -> None:
        async with talk(endpoint) as websocket:
            sending = asyncio.create_task(send_all(websocket, end=end))
            messages, code = await receive_all(websocket)
            await sending
        assert code == 1000
        assert final_words(messages) == EXPECTED
        assert results([messages[0]]) == []  # the empty event at the start
        assert any(result.is_partial for result in results(messages))

    run(work())


def test_results_come_while_audio_is_sent(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with talk(endpoint) as websocket:
            for begin in range(0, len(SPEECH), 3200):
                await websocket.send(encode_audio_event(SPEECH[begin : begin + 3200]))
            messages: list[bytes] = []
            while len(final_words(messages)) < 2:
                messages.append(await websocket.recv(decode=False))
            await websocket.send(END)
            assert (await receive_all(websocket))[1] == 1000

    run(work())


def test_a_ping_is_answered(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with talk(endpoint) as websocket:
            await (await websocket.ping())

    run(work())


def presigned_standard(endpoint: EndpointProcess, **parameters: str) -> str:
    """A URL of the standard operation, signed here since our client knows the medical one alone."""
    path = "/stream-transcription-websocket"
    authority, date_time = f"127.0.0.1:{endpoint.port}", amz_date(time.time_ns() // 1_000_000)
    scope = CredentialScope(date_time[:8], "us-east-1")
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{CREDENTIALS.access_key_id}/{scope}",
        "X-Amz-Date": date_time,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
        "media-encoding": "pcm",
        "sample-rate": "16000",
        **{name.replace("_", "-"): value for name, value in parameters.items()},
    }
    canonical = canonical_request("GET", path, query.items(), [("host", authority)], EMPTY_PAYLOAD_SHA256)
    key = derive_signing_key(CREDENTIALS.secret_access_key, scope.date, scope.region)
    query["X-Amz-Signature"] = request_signature(key, canonical, date_time, scope)
    return f"ws://{authority}{path}?{urlencode(query)}"


@pytest.mark.parametrize(
    "parameters",
    [{"language_code": "de-DE"}, {"identify_language": "true", "language_options": "en-US,de-DE"}],
)
def test_the_standard_operation(endpoints: Mapping[str, EndpointProcess], parameters: dict[str, str]) -> None:
    async def work() -> None:
        async with connect(presigned_standard(endpoints["ws"], **parameters), compression=None) as websocket:
            sending = asyncio.create_task(send_all(websocket))
            messages, code = await receive_all(websocket)
            await sending
        assert (final_words(messages), code) == (EXPECTED, 1000)

    run(work())


def test_the_standard_operations_language_is_needed(endpoints: Mapping[str, EndpointProcess]) -> None:
    async def work() -> None:
        async with connect(presigned_standard(endpoints["ws"]), compression=None) as websocket:
            messages, code = await receive_all(websocket)
        assert code == 1000
        assert "LanguageCode is missing" in exception(messages)[1]

    run(work())


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (
            {"credentials": Credentials(LOCAL_ACCESS_KEY_ID, "wrong")},
            "InvalidSignatureException",
            "signature",
        ),
        (
            {"credentials": Credentials("AKIDOTHER", "x")},
            "UnrecognizedClientException",
            "security token",
        ),
        ({"specialty": "DENTISTRY"}, "BadRequestException", "Specialty is 'DENTISTRY'"),
        ({"now_ms": 1_795_453_475_575}, "BadRequestException", "Signature"),
    ],
    ids=["secret", "key", "parameter", "age"],
)
def test_a_refusal_is_an_exception_frame_and_a_close(
    endpoint: EndpointProcess, options: dict[str, Any], code: str, text: str
) -> None:
    async def work() -> None:
        async with talk(endpoint, **options) as websocket:
            assert websocket.response is not None
            assert parsedate_to_datetime(websocket.response.headers["date"])
            messages, close_code = await receive_all(websocket)
        assert (len(messages), close_code) == (1, 1000)
        name, message = exception(messages)
        assert name == code
        assert text in message

    run(work())


def test_a_status_that_was_asked_for_refuses_the_upgrade(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "refuse", "code": "Troubled", "message": "m", "http_status": 502})
        with pytest.raises(InvalidStatus) as refused:
            async with talk(endpoint):
                pass
        response = refused.value.response
        assert response.status_code == 502
        assert response.headers["x-amzn-errortype"] == "Troubled"
        assert response.headers["content-type"] == "application/json"
        assert parsedate_to_datetime(response.headers["date"])
        assert response.body is not None
        assert json.loads(response.body) == {"Message": "m"}
        async with talk(endpoint) as websocket:
            await websocket.send(END)
            assert (await receive_all(websocket))[1] == 1000

    run(work())


def test_a_skewed_clock_is_in_the_date_and_in_what_it_refuses(start: Start) -> None:
    async def work() -> None:
        endpoint = start("--clock-skew-seconds", "3600")
        async with talk(endpoint) as websocket:
            assert websocket.response is not None
            date = parsedate_to_datetime(websocket.response.headers["date"]).timestamp()
            messages, _ = await receive_all(websocket)
        assert 3590 < date - time.time() < 3610
        assert "Signature expired" in exception(messages)[1]
        async with talk(endpoint, now_ms=(int(time.time()) + 3600) * 1000) as websocket:
            await websocket.send(END)
            messages, _ = await receive_all(websocket)
        assert final_words(messages) == []
        assert exception_names(messages) == []

    run(work())


def exception_names(messages: list[bytes]) -> list[str]:
    events = [decode_message(message) for message in messages]
    return [str(event.headers[":exception-type"]) for event in events if ":exception-type" in event.headers]


# Exceptions within the stream -----------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["some words", ""])
def test_a_text_message_is_a_bad_request(endpoint: EndpointProcess, message: str) -> None:
    async def work() -> None:
        async with talk(endpoint) as websocket:
            await websocket.send(message)
            messages, code = await receive_all(websocket)
        assert (exception(messages)[0], code) == ("BadRequestException", 1000)

    run(work())


def test_a_silent_client_is_told_and_closed(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        async with talk(endpoint) as websocket:
            await websocket.send(encode_audio_event(bytes(3200)))
            messages, code = await receive_all(websocket)
        assert "no new audio was received for 2 seconds" in exception(messages)[1]
        assert code == 1000
        assert await end_reason(endpoint) == "BadRequestException"
        assert endpoint.status() == {"streams": 0}

    run(work())


@pytest.mark.parametrize("pause_seconds", [0.0, 0.002], ids=["as-fast-as-can-be", "paced"])
def test_an_exception_and_the_close_reach_a_client_that_still_sends(
    endpoint: EndpointProcess, pause_seconds: float
) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "exception", "after_partials": 2, "times": 10, "message": "m"})
        for _ in range(10):
            async with talk(endpoint) as websocket:
                sending = asyncio.create_task(keep_sending(websocket, pause_seconds))
                messages, code = await receive_all(websocket)
                await sending
            assert (exception(messages), code) == (("InternalFailureException", "m"), 1000)
            assert [result.is_partial for result in results(messages)] == [True, True]

    run(work())


# Faults ---------------------------------------------------------------------------------------------------


async def struck(endpoint: EndpointProcess, **fault: Any) -> tuple[list[bytes], int | None]:
    """What a client that keeps sending sees of a fault."""
    endpoint.inject(fault)
    async with talk(endpoint) as websocket:
        sending = asyncio.create_task(keep_sending(websocket, 0.002))
        seen = await receive_all(websocket)
        await sending
    return seen


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "reset"}, None),
        ({"kind": "disconnect"}, None),
        ({"kind": "goaway", "error_code": 2}, 1011),
        ({"kind": "goaway", "error_code": 11}, 1013),
        ({"kind": "clean_end"}, 1000),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_connection_that_is_ended_early_has_said_what_it_had(
    endpoint: EndpointProcess, fault: dict[str, Any], code: int | None
) -> None:
    async def work() -> None:
        messages, seen = await struck(endpoint, **fault, after_partials=2)
        assert seen == code
        assert [result.is_partial for result in results(messages)] == [True, True]
        assert await end_reason(endpoint) == f"fault: {fault['kind']}"

    run(work())


def test_half_a_message(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        messages, code = await struck(endpoint, kind="truncate", after_partials=1)
        assert code == 1000
        assert len(results(messages[:-1])) == 1
        decoder = MessageDecoder()
        assert decoder.receive_data(messages[-1]) == []
        assert not decoder.at_boundary

    run(work())


def test_a_falsified_checksum_is_the_next_events(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "bad_crc", "after_partials": 2})
        async with talk(endpoint) as websocket:
            await send_all(websocket)
            messages, code = await receive_all(websocket)
        assert code == 1000
        wrong = [number for number, message in enumerate(messages) if not is_whole(message)]
        assert len(wrong) == 1
        assert len(results(messages[: wrong[0]])) == 2
        assert len(final_words(messages[: wrong[0]] + messages[wrong[0] + 1 :])) in (1, 2)

    run(work())


def is_whole(message: bytes) -> bool:
    try:
        decode_message(message)
    except ChecksumError:
        return False
    return True


@pytest.mark.parametrize("piece_bytes", [1, 7])
def test_split_pieces_are_put_together_by_any_client(endpoint: EndpointProcess, piece_bytes: int) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "split", "piece_bytes": piece_bytes})
        async with talk(endpoint) as websocket:
            sending = asyncio.create_task(send_all(websocket))
            messages, code = await receive_all(websocket)
            await sending
        assert (final_words(messages), code) == (EXPECTED, 1000)

    run(work())


def test_a_graceful_goaway_means_nothing_to_a_websocket(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "goaway"})
        async with talk(endpoint) as websocket:
            await send_all(websocket)
            messages, code = await receive_all(websocket)
        assert (final_words(messages), code) == (EXPECTED, 1000)

    run(work())


def test_a_stall_ends_with_everything_and_a_close(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        endpoint.inject({"kind": "stall", "seconds": 1})
        async with talk(endpoint) as websocket:
            await send_all(websocket)
            messages, code = await receive_all(websocket)
        assert (final_words(messages), code) == (EXPECTED, 1000)

    run(work())


def test_a_slow_reader_holds_the_client_soon(start: Start) -> None:
    """The sockets on the way hold half a minute of audio at most, the client's own apart."""
    sent = 0

    async def send(websocket: ClientConnection) -> None:
        nonlocal sent
        while True:
            await websocket.send(encode_audio_event(bytes(32_000)))
            sent += 32_000

    async def work() -> None:
        endpoint = start()
        endpoint.inject({"kind": "slow_read", "seconds": 30})
        raw = socket.create_connection(("127.0.0.1", endpoint.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        raw.setblocking(False)
        async with connect(presigned(endpoint), sock=raw, compression=None, ping_interval=None) as websocket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send(websocket), 2)
            websocket.transport.abort()

    run(work())
    assert 0 < sent < 1_000_000


# The end of the process -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_breaks_open_streams_off(start: Start, number: int) -> None:
    """A closing frame, even one without a code, would say that all results were there."""

    async def work() -> None:
        endpoint = start()
        async with talk(endpoint) as websocket:
            await websocket.send(encode_audio_event(bytes(3200)))
            await websocket.recv()
            os.kill(endpoint.pid, number)
            messages, code = await receive_all(websocket)
        assert (messages, code) == ([], None)

    run(work())
