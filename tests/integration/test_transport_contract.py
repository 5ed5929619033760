"""What a transport owes the session engine, held by both of them on the real endpoint, cleartext and TLS.

One suite for HTTP/2 and WebSocket: the same results, the same errors with the same retry facts, the same
under every fault the endpoint injects. `MEDSTREAM_CONTRACT_REPEATS=25` runs each case so many times in a row.
What only one wire can do is tested beside it (test_http2.py, test_websocket.py). All speech is synthetic: the
endpoint's `markers` recogniser reads words out of the PCM, so a word that is missing or moved is seen.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import HTTP2, TRANSPORTS, WEBSOCKET, resolve_endpoint
from connectors.transcribe.errors import (
    AccessDeniedError,
    BadRequestError,
    ChecksumError,
    ConflictError,
    ConnectionClosedError,
    ConnectTimeoutError,
    IdleTimeoutError,
    IllegalCallError,
    InternalFailureError,
    LimitExceededError,
    ServiceUnavailableError,
    StreamClosedError,
    StreamEndedError,
    StreamResetError,
    TranscribeError,
    TruncatedStreamError,
    WriteTimeoutError,
)
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import MedicalResult, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.websocket import open_websocket_stream
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words

REPEATS = int(os.environ.get("MEDSTREAM_CONTRACT_REPEATS", "1"))
CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)
SENTENCES = [["alpha", "bravo", "charlie"], ["delta", "echo"]]
SPEECH = encode_markers(SENTENCES, 16_000)
CHUNK_BYTES = 3200
OPENERS: dict[str, Callable[..., Awaitable[TranscribeStream]]] = {
    HTTP2: open_http2_stream,
    WEBSOCKET: open_websocket_stream,
}
EXPECTED = [
    [(word.content, word.start_seconds, word.end_seconds) for word in words]
    for words in marked_words(SENTENCES)
]

pytestmark = pytest.mark.parametrize("repeat", range(REPEATS))


@dataclass(frozen=True, slots=True)
class Link:
    """A transport to an endpoint, in cleartext or over TLS."""

    transport: str
    endpoint: EndpointProcess

    async def open(self, credentials: Credentials = CREDENTIALS, **options: Any) -> TranscribeStream:
        """Open a stream; what is no time limit of the opener is a parameter of the request."""
        names = ("connect_timeout_seconds", "read_timeout_seconds", "write_timeout_seconds")
        limits = {name: options.pop(name) for name in names if name in options}
        ca_file = self.endpoint.ca_file
        return await OPENERS[self.transport](
            resolve_endpoint("us-east-1", self.endpoint.url, transport=self.transport),
            StartMedicalStreamTranscriptionRequest(**options),
            credentials,
            clock=ServiceClock(lambda: time.time_ns() // 1_000_000),
            ca_bundle=None if ca_file is None else str(ca_file),
            **limits,
        )

    def inject(self, kind: str, **fields: Any) -> None:
        """One fault rule for the next stream."""
        self.endpoint.inject({"kind": kind, **fields})


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EndpointProcess]]:
    options = ("--idle-timeout-seconds", "2", "--max-streams", "40")
    folder = tmp_path_factory.mktemp("contract")
    plain = EndpointProcess(folder / "http", recogniser="markers", options=options)
    secure = EndpointProcess(folder / "https", recogniser="markers", options=options, tls=True)
    with plain, secure:
        yield {"http": plain, "https": secure}


@pytest.fixture(params=[(t, s) for t in TRANSPORTS for s in ("http", "https")], ids="-".join)
def link(request: pytest.FixtureRequest, endpoints: dict[str, EndpointProcess]) -> Iterator[Link]:
    transport, scheme = request.param
    yield Link(transport, endpoints[scheme])
    endpoints[scheme].clear_faults()


def run(work: Awaitable[None], limit_seconds: float = 30) -> None:
    """Run a case; nothing may hang."""

    async def limited() -> None:
        async with asyncio.timeout(limit_seconds):
            await work

    asyncio.run(limited())


async def send_all(stream: TranscribeStream, pcm: bytes = SPEECH, chunk_bytes: int = CHUNK_BYTES) -> None:
    for start in range(0, len(pcm), chunk_bytes):
        await stream.send_audio(pcm[start : start + chunk_bytes])
    await stream.end()


async def receive_all(stream: TranscribeStream, results: list[MedicalResult]) -> None:
    """Read to the clean end, or to the error; `results` has what came before it."""
    while (event := await stream.receive()) is not None:
        results += event


async def transcribe(link: Link, pcm: bytes = SPEECH, **options: Any) -> list[MedicalResult]:
    """Everything that comes of `pcm`, sent as fast as the service takes it."""
    stream = await link.open(**options)
    results: list[MedicalResult] = []
    sending = asyncio.create_task(send_all(stream, pcm))
    try:
        await receive_all(stream, results)
        await sending
    finally:
        sending.cancel()
        await stream.close()
    return results


def final_words(results: list[MedicalResult]) -> list[list[tuple[str, float, float]]]:
    return [
        [(item.content, item.start_time, item.end_time) for item in result.alternatives[0].items]
        for result in results
        if not result.is_partial
    ]


async def fails(link: Link, kind: type[TranscribeError], **options: Any) -> TranscribeError:
    """The error of a stream that sends in real time until it breaks; the same one for every later call."""
    stream = await link.open(**options)
    sending = asyncio.create_task(keep_sending(stream))
    try:
        with pytest.raises(kind) as caught:
            await receive_all(stream, [])
        for call in (stream.receive(), stream.send_audio(bytes(CHUNK_BYTES)), stream.end()):
            with pytest.raises(kind) as again:
                await call
            assert again.value is caught.value
        assert caught.value.request_id == stream.request_id is not None
        return caught.value
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stream.close()


async def keep_sending(stream: TranscribeStream) -> None:
    """Speech, then silence, at ten times real time, for ever."""
    pcm = SPEECH
    while True:
        await stream.send_audio(pcm[:CHUNK_BYTES] or bytes(CHUNK_BYTES))
        pcm = pcm[CHUNK_BYTES:]
        await asyncio.sleep(0.01)


# The orderly path ------------------------------------------------------------------------------


def test_every_word_arrives_with_its_times(link: Link, repeat: int) -> None:
    async def case() -> None:
        session_id = "12345678-1234-1234-1234-123456789abc"
        stream = await link.open(session_id=session_id)
        assert stream.session_id == session_id
        assert stream.request_id
        assert await stream.receive() == ()  # the service's sign of life
        results: list[MedicalResult] = []
        await asyncio.gather(send_all(stream), receive_all(stream, results))
        assert final_words(results) == EXPECTED
        assert any(result.is_partial for result in results)
        assert await stream.receive() is None
        await stream.close()

    run(case())


@pytest.mark.parametrize("chunk_bytes", [160, 640, 32_000])
def test_chunks_of_any_size(link: Link, chunk_bytes: int, repeat: int) -> None:
    async def case() -> None:
        stream = await link.open()
        results: list[MedicalResult] = []
        await asyncio.gather(send_all(stream, SPEECH, chunk_bytes), receive_all(stream, results))
        assert final_words(results) == EXPECTED
        await stream.close()

    run(case())


def test_two_channels(link: Link, repeat: int) -> None:
    async def case() -> None:
        left, right = SPEECH, encode_markers([["foxtrot"]], 16_000).ljust(len(SPEECH), b"\0")
        both = b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, len(left), 2))
        results = await transcribe(link, both, enable_channel_identification=True, number_of_channels=2)
        by_channel = {
            name: final_words([r for r in results if r.channel_id == name]) for name in ("ch_0", "ch_1")
        }
        assert by_channel["ch_0"] == EXPECTED
        assert [[word for word, _, _ in final] for final in by_channel["ch_1"]] == [["foxtrot"]]

    run(case())


def test_results_go_on_after_the_end_of_audio(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("stall", seconds=0.5, after_audio_events=1)
        stream = await link.open()
        await send_all(stream)  # everything is sent before the first result is read
        results: list[MedicalResult] = []
        await receive_all(stream, results)
        assert final_words(results) == EXPECTED
        await stream.close()

    run(case())


def test_thirty_streams_at_once(link: Link, repeat: int) -> None:
    async def case() -> None:
        for results in await asyncio.gather(*(transcribe(link) for _ in range(30))):
            assert final_words(results) == EXPECTED

    run(case())


# Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (Credentials(LOCAL_ACCESS_KEY_ID, "not the secret"), "InvalidSignatureException"),
        (Credentials("AKIDUNKNOWN", LOCAL_SECRET_ACCESS_KEY), "UnrecognizedClientException"),
    ],
)
def test_a_wrong_key_is_fatal(link: Link, credentials: Credentials, code: str, repeat: int) -> None:
    async def case() -> None:
        with pytest.raises(AccessDeniedError) as caught:
            await link.open(credentials)
        assert (caught.value.code, caught.value.fatal) == (code, True)

    run(case())


def test_throttling_says_so(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("refuse", code="LimitExceededException", message="synthetic: slower")
        with pytest.raises(LimitExceededError, match="synthetic: slower") as caught:
            await link.open()
        assert caught.value.request_id
        assert (caught.value.retryable, caught.value.throttling) == (True, True)
        assert final_words(await transcribe(link)) == EXPECTED

    run(case())


def test_a_session_id_in_use_is_a_conflict(link: Link, repeat: int) -> None:
    async def case() -> None:
        session_id = "87654321-1234-1234-1234-123456789abc"
        first = await link.open(session_id=session_id)
        with pytest.raises(ConflictError) as caught:
            await link.open(session_id=session_id)
        assert caught.value.retryable
        await first.close()

    run(case())


def test_late_headers_are_waited_for_within_the_limit(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("late_headers", seconds=0.5)
        assert final_words(await transcribe(link)) == EXPECTED
        link.inject("late_headers", seconds=5)
        with pytest.raises(ConnectTimeoutError, match=r"within 0\.3 s") as caught:
            await link.open(connect_timeout_seconds=0.3)
        assert caught.value.retryable

    run(case())


# Faults within the stream ----------------------------------------------------------------------

EXCEPTIONS = {
    "BadRequestException": (BadRequestError, False, False),
    "LimitExceededException": (LimitExceededError, True, True),
    "InternalFailureException": (InternalFailureError, True, False),
    "ConflictException": (ConflictError, True, False),
    "ServiceUnavailableException": (ServiceUnavailableError, True, True),
}


@pytest.mark.parametrize("code", EXCEPTIONS)
def test_an_exception_at_event_n(link: Link, code: str, repeat: int) -> None:
    async def case() -> None:
        kind, retryable, throttling = EXCEPTIONS[code]
        link.inject("exception", code=code, message="synthetic reason", after_audio_events=7)
        error = await fails(link, kind)
        assert (error.code, error.message) == (code, "synthetic reason")
        assert (error.retryable, error.throttling) == (retryable, throttling)

    run(case())


def test_results_before_an_error_are_kept(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("exception", after_partials=4)
        stream = await link.open()
        sending = asyncio.create_task(keep_sending(stream))
        results: list[MedicalResult] = []
        with pytest.raises(InternalFailureError):
            await receive_all(stream, results)
        assert final_words(results) == EXPECTED[:1]
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stream.close()

    run(case())


def test_a_pause_without_audio_is_the_idle_timeout(link: Link, repeat: int) -> None:
    async def case() -> None:
        stream = await link.open()
        await stream.send_audio(bytes(CHUNK_BYTES))
        with pytest.raises(IdleTimeoutError) as caught:
            await receive_all(stream, [])
        assert caught.value.retryable
        await stream.close()

    run(case())


def test_an_early_end_is_no_error_and_ends_sending(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("clean_end", after_audio_events=5)
        stream = await link.open()
        sending = asyncio.create_task(keep_sending(stream))
        await receive_all(stream, [])  # None: the caller knows that it had not ended
        with pytest.raises(StreamEndedError) as caught:
            await sending
        assert caught.value.retryable
        assert await stream.receive() is None
        await stream.close()

    run(case())


@pytest.mark.parametrize(("kind", "error"), [("truncate", TruncatedStreamError), ("bad_crc", ChecksumError)])
def test_a_damaged_event(link: Link, kind: str, error: type[TranscribeError], repeat: int) -> None:
    async def case() -> None:
        link.inject(kind, after_audio_events=5)
        assert (await fails(link, error)).retryable

    run(case())


@pytest.mark.parametrize("piece_bytes", [1, 7])
def test_events_in_pieces(link: Link, piece_bytes: int, repeat: int) -> None:
    async def case() -> None:
        link.inject("split", piece_bytes=piece_bytes)
        assert final_words(await transcribe(link)) == EXPECTED

    run(case())


def test_a_stalled_service_delays_and_loses_nothing(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("stall", seconds=1, after_partials=1, after_audio_seconds=0.5)
        assert final_words(await transcribe(link)) == EXPECTED

    run(case())


def test_a_service_that_is_silent_but_alive_is_kept(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("stall", seconds=1.5)
        assert final_words(await transcribe(link, read_timeout_seconds=0.5)) == EXPECTED

    run(case())


def test_a_service_that_reads_slowly_holds_the_sender(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("slow_read", seconds=30)
        stream = await link.open(write_timeout_seconds=0.5)
        with pytest.raises(WriteTimeoutError) as caught:
            await send_all(stream, bytes(96_000_000), 32_000)  # more than the sockets between us hold
        assert caught.value.retryable
        await stream.close()

    run(case())


def test_a_reset_stream(link: Link, repeat: int) -> None:
    """A WebSocket has no reset: it ends without a closing frame, which is a lost connection."""

    async def case() -> None:
        link.inject("reset", after_audio_events=5)
        kind = StreamResetError if link.transport == HTTP2 else ConnectionClosedError
        assert (await fails(link, kind)).retryable

    run(case())


def test_a_cut_connection(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("disconnect", after_audio_events=5)
        assert (await fails(link, ConnectionClosedError)).retryable

    run(case())


def test_a_graceful_goaway_is_survived(link: Link, repeat: int) -> None:
    async def case() -> None:
        link.inject("goaway", after_audio_events=5)
        assert final_words(await transcribe(link)) == EXPECTED

    run(case())


@pytest.mark.parametrize(("error_code", "throttling"), [(2, False), (11, True)])
def test_a_goaway_with_an_error(link: Link, error_code: int, throttling: bool, repeat: int) -> None:
    async def case() -> None:
        link.inject("goaway", error_code=error_code, after_audio_events=5)
        error = await fails(link, ConnectionClosedError)
        assert (error.retryable, error.throttling) == (True, throttling)

    run(case())


# The caller ------------------------------------------------------------------------------------


def test_close_wakes_the_reader_and_frees_the_slot(link: Link, repeat: int) -> None:
    async def case() -> None:
        stream = await link.open()
        reading = asyncio.create_task(receive_all(stream, []))
        await asyncio.sleep(0.05)
        await stream.close()
        await stream.close()
        with pytest.raises(StreamClosedError):
            await reading
        with pytest.raises(StreamClosedError):
            await stream.send_audio(bytes(CHUNK_BYTES))
        while link.endpoint.status()["streams"]:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)

    run(case())


def test_audio_after_the_end_is_an_illegal_call(link: Link, repeat: int) -> None:
    async def case() -> None:
        stream = await link.open()
        await stream.end()
        with pytest.raises(IllegalCallError):
            await stream.send_audio(bytes(CHUNK_BYTES))
        with pytest.raises(IllegalCallError):
            await stream.end()
        await receive_all(stream, [])
        await stream.close()

    run(case())
