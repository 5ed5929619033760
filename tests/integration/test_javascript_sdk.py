"""The AWS SDK for JavaScript v3 against the endpoint, as it is: over HTTP/2, over cleartext, over WebSocket.

The SDK finds the endpoint, its authority and the credentials in the environment that the fixture
`transcribe_endpoint` offers. Its WebSocket always goes to port 8443 of the endpoint's host, so that endpoint
has a loopback address of its own.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.pytest_plugin import TranscribeEndpoint
from deploy.local.transcribe.recognisers.markers import encode_markers
from tests.integration.javascript_sdk import SOURCES, Transcription, install, transcribe

over_http2 = pytest.mark.transcribe_endpoint(recogniser="markers", options=["--idle-timeout-seconds", "1"])
over_cleartext = pytest.mark.transcribe_endpoint(recogniser="markers", tls=False)

WEBSOCKET_PORT = 8443
SPEECH = encode_markers([["one", "two"], ["three"]], 16_000)
TEXTS = [(True, "one"), (True, "one two"), (False, "one two"), (True, "three"), (False, "three")]
MODELLED = {
    "BadRequestException": 400,
    "LimitExceededException": 429,
    "InternalFailureException": 500,
    "ConflictException": 409,
    "ServiceUnavailableException": 503,
}
BAD_CHUNKS = [
    (3201, "An AudioEvent of 3201 bytes ends within a sample; send multiples of 2."),
    (32_770, "An AudioEvent of 32770 bytes is too long; at most 32768 are accepted."),
]
SESSION_ID = "12345678-1234-1234-1234-123456789abc"

Run = Callable[..., Transcription]


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with its packages installed."""
    folder = tmp_path_factory.mktemp("javascript")
    install(folder)
    return folder


@pytest.fixture
def run(javascript: Path, transcribe_endpoint: TranscribeEndpoint) -> Run:
    """Streams over HTTP/2: `run(ending="lingers", environment={…})`."""

    def run(
        pcm: bytes = SPEECH, environment: dict[str, str] | None = None, **settings: object
    ) -> Transcription:
        return transcribe(
            javascript, {**transcribe_endpoint.environment(), **(environment or {})}, pcm, **settings
        )

    return run


def told(error: dict[str, Any] | None) -> tuple[str, str]:
    """The class of the SDK's error, and its message."""
    assert error is not None
    assert error["name"] == error["className"]
    assert error["isServiceException"]
    return error["name"], error["message"]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holds()


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text(encoding="utf-8")


# HTTP/2 ---------------------------------------------------------------------------------------


@over_http2
@pytest.mark.parametrize("ending", ["returns", "lingers"])
def test_partials_grow_into_finals(run: Run, transcribe_endpoint: TranscribeEndpoint, ending: str) -> None:
    transcription = run(ending=ending)
    assert transcription.error is None
    assert transcription.texts == TEXTS
    assert transcribe_endpoint.events()[-1]["reason"] == "complete"


@over_cleartext
def test_cleartext_does_as_well(run: Run, transcribe_endpoint: TranscribeEndpoint) -> None:
    assert transcribe_endpoint.url.startswith("http://")
    assert run(endpoint=transcribe_endpoint.url).texts == TEXTS


@over_http2
def test_items_have_their_times_and_only_finals_confidence(run: Run) -> None:
    *_, partial, final = run(SPEECH[:32_000]).results
    assert final["Alternatives"][0]["Items"] == [
        {"Type": "pronunciation", "Content": "one", "StartTime": 0.2, "EndTime": 0.5, "Confidence": 1},
        {"Type": "pronunciation", "Content": "two", "StartTime": 0.5, "EndTime": 0.8, "Confidence": 1},
    ]
    assert ["Confidence" in item for item in partial["Alternatives"][0]["Items"]] == [False, False]
    assert (partial["ResultId"], partial["StartTime"]) == (final["ResultId"], final["StartTime"])


@over_http2
def test_the_response_echoes_the_request(run: Run, transcribe_endpoint: TranscribeEndpoint) -> None:
    response = run(input={"SessionId": SESSION_ID, "ShowSpeakerLabel": True}).response
    assert response is not None
    assert response.pop("RequestId") == transcribe_endpoint.events()[0]["request_id"]
    assert response == {
        "kind": "response",
        "httpStatusCode": 200,
        "LanguageCode": "en-US",
        "MediaSampleRateHertz": 16_000,
        "MediaEncoding": "pcm",
        "Specialty": "CARDIOLOGY",
        "Type": "DICTATION",
        "SessionId": SESSION_ID,
        "ShowSpeakerLabel": True,
        "EnableChannelIdentification": False,
    }


@over_http2
@pytest.mark.parametrize(
    ("variable", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "InvalidSignatureException"),
        ("AWS_ACCESS_KEY_ID", "UnrecognizedClientException"),
    ],
)
def test_wrong_credentials_are_its_service_exception(run: Run, variable: str, code: str) -> None:
    error = run(environment={variable: "WRONG"}).error
    assert error is not None
    assert error["isServiceException"]
    assert (error["name"], error["httpStatusCode"]) == (code, 403)


@over_http2
@pytest.mark.parametrize(("chunk_bytes", "sentence"), BAD_CHUNKS)
def test_a_bad_chunk_is_its_bad_request(run: Run, chunk_bytes: int, sentence: str) -> None:
    assert told(run(chunkBytes=chunk_bytes).error) == ("BadRequestException", sentence)


@over_http2
def test_silence_on_the_line_is_its_bad_request(run: Run) -> None:
    name, message = told(run(SPEECH[:32_000], ending="stays").error)
    assert name == "BadRequestException"
    assert "no new audio was received for 1 seconds" in message


@over_http2
@pytest.mark.parametrize("code", MODELLED)
def test_a_refusal_is_its_own_exception(run: Run, transcribe_endpoint: TranscribeEndpoint, code: str) -> None:
    """The second of these is the throttled account. The SDK repeats no streaming request by itself."""
    transcribe_endpoint.inject({"kind": "refuse", "code": code, "message": "As told."})
    refused = run()
    assert told(refused.error) == (code, "As told.")
    assert refused.error is not None
    assert refused.error["httpStatusCode"] == MODELLED[code]
    assert refused.response is None
    assert transcribe_endpoint.events() == []


@over_http2
@pytest.mark.parametrize("code", MODELLED)
def test_an_exception_within_the_stream_is_its_own(
    run: Run, transcribe_endpoint: TranscribeEndpoint, code: str
) -> None:
    transcribe_endpoint.inject(
        {"kind": "exception", "code": code, "message": "As told.", "after_partials": 2}
    )
    transcription = run()
    assert told(transcription.error) == (code, "As told.")
    assert transcription.texts == TEXTS[:2]


@over_http2
def test_the_standard_operation(run: Run) -> None:
    assert run(operation="standard").texts == TEXTS


# WebSocket ------------------------------------------------------------------------------------


def free_address() -> str:
    """A loopback address nobody uses the WebSocket port of."""
    for number in random.sample(range(2, 255), k=50):
        with socket.socket() as probe:
            try:
                probe.bind((f"127.0.0.{number}", WEBSOCKET_PORT))
            except OSError:
                continue
            return f"127.0.0.{number}"
    pytest.fail(f"port {WEBSOCKET_PORT} is taken on every loopback address that was tried")


@pytest.fixture(scope="module")
def websocket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(
        tmp_path_factory.mktemp("websocket"),
        recogniser="markers",
        port=WEBSOCKET_PORT,
        tls=True,
        options=["--host", free_address(), "--idle-timeout-seconds", "1"],
    ) as process:
        yield process


@pytest.fixture
def server(websocket_server: EndpointProcess) -> Iterator[EndpointProcess]:
    yield websocket_server
    websocket_server.clear_faults()


@pytest.fixture
def run_websocket(javascript: Path, server: EndpointProcess) -> Run:
    """Streams over WebSocket, the way applications do it: with an empty AudioEvent at the end."""

    def run(
        pcm: bytes = SPEECH, environment: dict[str, str] | None = None, **settings: object
    ) -> Transcription:
        where = {"transport": "websocket", "endpoint": server.url.removesuffix(f":{WEBSOCKET_PORT}")}
        environment = {**server.environment(), **(environment or {})}
        return transcribe(javascript, environment, pcm, **where, **{"ending": "lingers", **settings})

    return run


def test_websocket_partials_grow_into_finals(run_websocket: Run, server: EndpointProcess) -> None:
    before = len(server.events())
    transcription = run_websocket()
    assert transcription.error is None
    assert transcription.texts == TEXTS
    assert server.events()[before:][-1]["reason"] == "complete"


def test_websocket_response_has_the_session_id_alone(run_websocket: Run, server: EndpointProcess) -> None:
    """The upgrade's answer echoes nothing the SDK could read; it repeats the id it was given."""
    response = run_websocket(input={"SessionId": SESSION_ID}).response
    assert response == {"kind": "response", "httpStatusCode": 200, "SessionId": SESSION_ID}
    assert server.events()[-1]["session_id"] == SESSION_ID


def test_websocket_closed_at_once_ends_the_stream(run_websocket: Run, server: EndpointProcess) -> None:
    """The SDK's own end is an empty message and Close in one breath: finals may be lost, nothing else."""
    transcription = run_websocket(ending="returns")
    assert transcription.error is None
    assert transcription.texts == TEXTS[: len(transcription.texts)]
    wait_until(lambda: server.status()["streams"] == 0)
    assert run_websocket().texts == TEXTS


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_websocket_wrong_credentials_are_named(run_websocket: Run, variable: str) -> None:
    """Neither exception is in the SDK's model of the stream, so it makes an Error with the name."""
    error = run_websocket(environment={variable: "WRONG"}).error
    assert error is not None
    assert error["name"] in {"InvalidSignatureException", "UnrecognizedClientException"}


@pytest.mark.parametrize(("chunk_bytes", "sentence"), BAD_CHUNKS)
def test_websocket_bad_chunk_is_its_bad_request(run_websocket: Run, chunk_bytes: int, sentence: str) -> None:
    assert told(run_websocket(chunkBytes=chunk_bytes).error) == ("BadRequestException", sentence)


def test_websocket_silence_on_the_line_is_its_bad_request(run_websocket: Run) -> None:
    name, message = told(run_websocket(SPEECH[:32_000], ending="stays").error)
    assert name == "BadRequestException"
    assert "no new audio was received for 1 seconds" in message


@pytest.mark.parametrize("code", MODELLED)
def test_websocket_refusal_is_its_own_exception(
    run_websocket: Run, server: EndpointProcess, code: str
) -> None:
    """It comes in the stream's first message: the SDK does not look at the status of an upgrade."""
    server.inject({"kind": "refuse", "code": code, "message": "As told."})
    refused = run_websocket()
    assert told(refused.error) == (code, "As told.")
    assert refused.texts == []


@pytest.mark.parametrize("code", MODELLED)
def test_websocket_exception_within_the_stream_is_its_own(
    run_websocket: Run, server: EndpointProcess, code: str
) -> None:
    server.inject({"kind": "exception", "code": code, "message": "As told.", "after_partials": 2})
    transcription = run_websocket()
    assert told(transcription.error) == (code, "As told.")
    assert transcription.texts == TEXTS[:2]


def test_websocket_standard_operation(run_websocket: Run) -> None:
    assert run_websocket(operation="standard").texts == TEXTS
