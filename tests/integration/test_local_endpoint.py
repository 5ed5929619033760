"""The endpoint as a process, over the wire: our client, TLS, faults as a client sees them, speech, end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import (
    AccessDeniedError,
    ConnectError,
    IdleTimeoutError,
    InternalFailureError,
    LimitExceededError,
    StreamResetError,
    TransportError,
    TruncatedStreamError,
)
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import MedicalResult, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL, load_recordings
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words

CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)
SENTENCES = [["alpha", "bravo", "charlie"], ["delta", "echo"]]
SPEECH = encode_markers(SENTENCES, 16_000)
COMMAND = [sys.executable, "-m", "deploy.local.transcribe"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def connect(
    url: str,
    *,
    region: str = "us-east-1",
    credentials: Credentials = CREDENTIALS,
    ca_bundle: str | None = None,
    **parameters: Any,
) -> TranscribeStream:
    request = StartMedicalStreamTranscriptionRequest(**parameters)
    endpoint = resolve_endpoint(region, url)
    return await open_http2_stream(
        endpoint, request, credentials, clock=ServiceClock(now_ms), ca_bundle=ca_bundle
    )


async def transcribe(
    url: str, pcm: bytes = SPEECH, *, chunk_seconds: float = 0.1, **options: Any
) -> list[MedicalResult]:
    """Send all audio and its end while results are read; everything that came."""
    rate = options.get("media_sample_rate_hertz", 16_000)
    stream = await connect(url, **options)
    size = round(rate * chunk_seconds) * 2

    async def send() -> None:
        for start in range(0, len(pcm), size):
            await stream.send_audio(pcm[start : start + size])
        await stream.end()

    sending = asyncio.create_task(send())
    results: list[MedicalResult] = []
    try:
        while (event := await stream.receive()) is not None:
            results += event
    finally:
        sending.cancel()
        await stream.close()
    return results


async def receive_all(stream: TranscribeStream) -> None:
    """Read to the end, or to the error."""
    while await stream.receive() is not None:
        pass


async def recogniser_of(worker: psutil.Process) -> psutil.Process:
    """What a worker has forked for its stream; on a busy machine it is not there with the first answer."""
    for _ in range(200):
        for child in worker.children():
            return child
        await asyncio.sleep(0.05)
    pytest.fail("the worker has forked no recogniser within 10 s")


async def keep_sending(stream: TranscribeStream) -> None:
    """Send silence in real time until the stream fails; TimeoutError if it does not."""

    async def send() -> None:
        while True:
            await stream.send_audio(bytes(3200))
            await asyncio.sleep(0.1)

    async with asyncio.timeout(10):
        sending = asyncio.create_task(send())
        try:
            await receive_all(stream)
        finally:
            sending.cancel()


def run(url: str, *arguments: Any, **options: Any) -> list[MedicalResult]:
    return asyncio.run(asyncio.wait_for(transcribe(url, *arguments, **options), 60))


def final_words(results: list[MedicalResult]) -> list[list[tuple[str, float, float]]]:
    return [
        [(item.content, item.start_time, item.end_time) for item in result.alternatives[0].items]
        for result in results
        if not result.is_partial
    ]


EXPECTED = [
    [(word.content, word.start_seconds, word.end_seconds) for word in words]
    for words in marked_words(SENTENCES)
]


@pytest.fixture(scope="module")
def markers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("markers"), recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(markers: EndpointProcess) -> Iterator[EndpointProcess]:
    yield markers
    markers.clear_faults()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EndpointProcess]]:
    """Starts an endpoint of its own; `start("--max-streams", "1")`."""
    started: list[EndpointProcess] = []

    def start(*options: str, recogniser: str = "markers") -> EndpointProcess:
        process = EndpointProcess(tmp_path / "endpoint", recogniser=recogniser, options=options)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


# The orderly path ----------------------------------------------------------------------------


def test_every_word_arrives_with_its_times(endpoint: EndpointProcess) -> None:
    assert final_words(run(endpoint.url)) == EXPECTED


def test_finals_and_streams_are_in_the_event_log(endpoint: EndpointProcess) -> None:
    before = len(endpoint.events())
    sent_at = time.time()
    results = run(endpoint.url, session_id="12345678-1234-1234-1234-123456789abc")
    events = endpoint.events()[before:]
    assert [event["event"] for event in events] == [
        "stream_started",
        "final_sent",
        "final_sent",
        "stream_ended",
    ]
    assert {event["session_id"] for event in events} == {"12345678-1234-1234-1234-123456789abc"}
    finals = [event for event in events if event["event"] == "final_sent"]
    assert [event["result_id"] for event in finals] == [r.result_id for r in results if not r.is_partial]
    assert all(sent_at <= event["emitted_at"] <= time.time() for event in finals)
    assert events[-1]["reason"] == "complete"
    assert events[-1]["audio_seconds"] == len(SPEECH) / 32_000


def test_forty_streams_at_once(start: Callable[..., EndpointProcess]) -> None:
    url = start("--max-streams", "40").url

    async def all_at_once() -> list[list[MedicalResult]]:
        return await asyncio.gather(*(transcribe(url) for _ in range(40)))

    for results in asyncio.run(all_at_once()):
        assert final_words(results) == EXPECTED


def test_tls_with_a_private_authority(start: Callable[..., EndpointProcess], tmp_path: Path) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    certificate, key, bundle = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    server.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(bundle)
    endpoint = start("--tls-cert", str(certificate), "--tls-key", str(key))
    assert endpoint.url.startswith("https://")
    assert final_words(run(endpoint.url, ca_bundle=str(bundle))) == EXPECTED


def test_the_built_in_script_gives_finals_for_any_audio(start: Callable[..., EndpointProcess]) -> None:
    results = run(start(recogniser="scripted").url, bytes(32_000 * 8))
    assert len([result for result in results if result.is_partial]) >= 3
    assert len(final_words(results)) >= 2


def test_speech_is_recognised_from_several_sessions_at_once(start: Callable[..., EndpointProcess]) -> None:
    options = ("--lm", str(LANGUAGE_MODEL), "--dict", str(DICTIONARY), "--workers", "2")
    url = start(*options, recogniser="pocketsphinx").url
    recordings = {recording.name: recording for recording in load_recordings()}
    chosen = [recordings["cardiology-palpitations"], recordings["primary-care-telephone-visit"]]

    async def both() -> list[list[MedicalResult]]:
        return await asyncio.gather(
            *(transcribe(url, r.pcm, media_sample_rate_hertz=r.sample_rate_hertz) for r in chosen)
        )

    cardiology, telephone = asyncio.run(both())
    texts = [r.alternatives[0].transcript for r in cardiology if not r.is_partial]
    assert len(texts) == 4
    assert texts[0].endswith("sinus rhythm with a heart rate of 75 bpm.")
    assert "dry cough" in " ".join(r.alternatives[0].transcript for r in telephone)
    finals = [result for result in cardiology if not result.is_partial]
    assert all(before.end_time < after.start_time for before, after in pairwise(finals))


def test_a_recogniser_beyond_the_workers_is_refused_and_freed_again(
    start: Callable[..., EndpointProcess],
) -> None:
    url = start("--workers", "1", recogniser="pocketsphinx").url

    async def work() -> None:
        first = await connect(url)
        with pytest.raises(LimitExceededError, match="--workers"):
            await connect(url)
        await first.close()
        for _ in range(100):
            try:
                await (await connect(url)).close()
                return
            except LimitExceededError:
                await asyncio.sleep(0.05)
        pytest.fail("the recogniser was not freed")

    asyncio.run(work())


def test_a_killed_recogniser_is_an_internal_failure_and_the_next_stream_works(
    start: Callable[..., EndpointProcess],
) -> None:
    endpoint = start("--workers", "1", recogniser="pocketsphinx")

    async def work() -> None:
        stream = await connect(endpoint.url)
        await stream.send_audio(bytes(3200))
        await stream.receive()
        (worker,) = (p for p in psutil.Process(endpoint.pid).children() if "--control-fd" in p.cmdline())
        (await recogniser_of(worker)).kill()
        with pytest.raises(InternalFailureError):
            await keep_sending(stream)
        await stream.close()

    asyncio.run(work())
    assert run(endpoint.url, bytes(32_000)) == []


def test_nothing_that_was_heard_is_in_the_logs(start: Callable[..., EndpointProcess]) -> None:
    endpoint = start("--log-level", "debug")
    endpoint.inject({"kind": "exception", "after_audio_seconds": 2})
    run(endpoint.url, SPEECH[:32_000])
    with pytest.raises(InternalFailureError):
        run(endpoint.url)
    logs = endpoint.log_path.read_text() + endpoint.event_log_path.read_text()
    assert "s of audio" in logs
    assert not [word for sentence in SENTENCES for word in sentence if word in logs]


# What a client must not do --------------------------------------------------------------------


def test_wrong_keys_and_regions_are_refused(endpoint: EndpointProcess) -> None:
    for credentials in (
        Credentials(LOCAL_ACCESS_KEY_ID, "another secret"),
        Credentials("AKIDOTHER", LOCAL_SECRET_ACCESS_KEY),
    ):
        with pytest.raises(AccessDeniedError):
            run(endpoint.url, credentials=credentials)
    with pytest.raises(AccessDeniedError, match=r"'us-east-1'.*'eu-central-1'"):
        run(endpoint.url, region="eu-central-1")


def test_streams_beyond_the_limit_are_throttled(start: Callable[..., EndpointProcess]) -> None:
    url = start("--max-streams", "1").url

    async def work() -> None:
        first = await connect(url)
        with pytest.raises(LimitExceededError, match="limit of 1 concurrent streams"):
            await connect(url)
        await first.close()

    asyncio.run(work())


def test_the_idle_timeout(start: Callable[..., EndpointProcess]) -> None:
    url = start("--idle-timeout-seconds", "0.5").url

    async def work() -> None:
        stream = await connect(url)
        with pytest.raises(IdleTimeoutError):
            await receive_all(stream)
        await stream.close()

    asyncio.run(asyncio.wait_for(work(), 10))


def test_the_longest_duration(start: Callable[..., EndpointProcess]) -> None:
    url = start("--max-stream-seconds", "0.5").url

    async def work() -> None:
        stream = await connect(url)
        with pytest.raises(LimitExceededError, match="longest duration"):
            await receive_all(stream)
        await stream.close()

    asyncio.run(asyncio.wait_for(work(), 10))


# Faults as a client sees them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "reset", "after_partials": 2}, StreamResetError),
        ({"kind": "truncate", "after_partials": 1}, TruncatedStreamError),
        ({"kind": "exception", "code": "InternalFailureException"}, InternalFailureError),
        ({"kind": "exception", "code": "LimitExceededException"}, LimitExceededError),
        ({"kind": "refuse", "code": "LimitExceededException"}, LimitExceededError),
    ],
)
def test_a_fault_strikes_once_and_the_next_stream_is_whole(
    endpoint: EndpointProcess, fault: dict[str, Any], error: type[Exception]
) -> None:
    endpoint.inject(fault)
    with pytest.raises(error):
        run(endpoint.url)
    assert [rule["acted"] for rule in endpoint.faults()] == [1]
    assert final_words(run(endpoint.url)) == EXPECTED


def test_a_reset_mid_segment_comes_after_its_partial_and_before_its_final(endpoint: EndpointProcess) -> None:
    endpoint.inject({"kind": "reset", "after_partials": 2})

    async def work() -> list[MedicalResult]:
        stream = await connect(endpoint.url)
        await stream.send_audio(SPEECH[: 2 * 16_000])
        seen: list[MedicalResult] = []
        try:
            while (event := await stream.receive()) is not None:
                seen += event
        except StreamResetError:
            pass
        await stream.close()
        return seen

    seen = asyncio.run(asyncio.wait_for(work(), 10))
    assert [(r.is_partial, r.alternatives[0].transcript) for r in seen] == [
        (True, "alpha"),
        (True, "alpha bravo"),
    ]


def test_a_clean_end_comes_without_an_error_and_without_the_rest(endpoint: EndpointProcess) -> None:
    endpoint.inject({"kind": "clean_end", "after_partials": 1})
    assert [r.is_partial for r in run(endpoint.url)] == [True]


def test_a_stall_delays_what_is_due(endpoint: EndpointProcess) -> None:
    endpoint.inject({"kind": "stall", "seconds": 1.0})
    began = time.monotonic()
    assert final_words(run(endpoint.url)) == EXPECTED
    assert 1.0 <= time.monotonic() - began < 5


def test_a_slow_reader_holds_the_client_by_flow_control(start: Callable[..., EndpointProcess]) -> None:
    endpoint = start()  # its own: the slow reader will not have noticed that the client is gone
    endpoint.inject({"kind": "slow_read", "seconds": 30})
    sent = 0

    async def send(stream: TranscribeStream) -> None:
        nonlocal sent
        while True:
            await stream.send_audio(bytes(3200))
            sent += 3200

    async def work() -> None:
        stream = await connect(endpoint.url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(stream), 1.5)
        await stream.close()

    asyncio.run(work())
    assert 0 < sent < 1_000_000


def test_running_streams_can_be_struck(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        stream = await connect(endpoint.url)
        await stream.send_audio(bytes(3200))
        await asyncio.to_thread(endpoint.inject, {"kind": "reset", "running": True})
        with pytest.raises(TransportError):
            await keep_sending(stream)
        await stream.close()

    asyncio.run(work())


def test_a_client_that_vanishes_frees_its_slot(endpoint: EndpointProcess) -> None:
    async def work() -> None:
        stream = await connect(endpoint.url)
        await stream.send_audio(bytes(3200))
        await stream.close()

    asyncio.run(work())
    deadline = time.monotonic() + 5
    while endpoint.status()["streams"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert endpoint.status() == {"streams": 0}


# The process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_though_streams_are_open(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen([*COMMAND, "--port", "0", "--ready-file", str(ready)])
    try:
        deadline = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        url = json.loads(ready.read_text())["url"]

        async def work() -> None:
            stream = await connect(url)
            process.send_signal(number)
            with pytest.raises(TransportError):
                await receive_all(stream)
            await stream.close()

        asyncio.run(asyncio.wait_for(work(), 10))
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def test_no_process_outlives_a_killed_endpoint(start: Callable[..., EndpointProcess]) -> None:
    endpoint = start(recogniser="pocketsphinx")

    async def work() -> list[psutil.Process]:
        stream = await connect(endpoint.url)
        await stream.send_audio(bytes(3200))
        children = psutil.Process(endpoint.pid).children(recursive=True)
        os.kill(endpoint.pid, signal.SIGKILL)
        await stream.close()
        return children

    children = asyncio.run(work())
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--script", "/nowhere/script.json"], "--script /nowhere/script.json: No such file or directory"),
        (["--faults", "/nowhere/faults.json"], "--faults /nowhere/faults.json: No such file or directory"),
        (["--event-log", "/nowhere/events.jsonl"], "--event-log /nowhere/events.jsonl"),
        (["--recogniser", "pocketsphinx", "--lm", "/nowhere/x.lm"], "--lm /nowhere/x.lm"),
        (["--tls-cert", "/nowhere/c.pem", "--tls-key", "/nowhere/k.pem"], "--tls-cert"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1"),
    ],
)
def test_a_wrong_setting_ends_in_one_sentence(arguments: list[str], sentence: str) -> None:
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=20, check=False
        )
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use" in ended.stderr


def test_a_restarted_endpoint_keeps_its_address(start: Callable[..., EndpointProcess]) -> None:
    endpoint = start()
    url = endpoint.url
    endpoint.kill()
    with pytest.raises(ConnectError):
        run(url)
    endpoint.start()
    assert endpoint.url == url
    assert final_words(run(url)) == EXPECTED
