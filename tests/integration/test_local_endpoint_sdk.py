"""The official Python SDK against the endpoint, as it is: over TLS, its own signatures, its own HTTP/2.

amazon-transcribe 0.6.4 has no medical operation; its users derive one, and so do these tests (`medical`).
What they prove is the SDK's way of signing (no content hash, host without port), its connection, its
event-stream codec and its typed errors. It has no setting for a private authority, but its TLS library reads
SSL_CERT_FILE.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from amazon_transcribe import exceptions
from amazon_transcribe.auth import StaticCredentialResolver
from amazon_transcribe.client import TranscribeStreamingClient
from amazon_transcribe.endpoints import StaticEndpointResolver
from amazon_transcribe.exceptions import (
    BadRequestException,
    LimitExceededException,
    ServiceException,
    UnknownServiceException,
)
from amazon_transcribe.serialize import TranscribeStreamingSerializer

from deploy.local.transcribe.pytest_plugin import TranscribeEndpoint
from deploy.local.transcribe.recognisers.markers import encode_markers

pytestmark = pytest.mark.transcribe_endpoint(recogniser="markers", options=["--idle-timeout-seconds", "1"])

SPEECH = encode_markers([["one", "two"], ["three"]], 16_000)
FINALS = ["one two", "three"]
MODELLED = [
    "BadRequestException",
    "LimitExceededException",
    "InternalFailureException",
    "ConflictException",
    "ServiceUnavailableException",
]


class MedicalSerializer(TranscribeStreamingSerializer):
    """Turns the standard operation's request into the medical one's."""

    def __init__(self, specialty: str = "CARDIOLOGY") -> None:
        self._specialty = specialty

    def serialize_start_stream_transcription_request(self, endpoint: str, request_shape: Any) -> Any:
        request = super().serialize_start_stream_transcription_request(endpoint, request_shape)
        request.path = "/medical-stream-transcription"
        request.headers["x-amzn-transcribe-specialty"] = self._specialty
        request.headers["x-amzn-transcribe-type"] = "DICTATION"
        return request


@pytest.fixture
def client(
    transcribe_endpoint: TranscribeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> TranscribeStreamingClient:
    """The SDK's client, configured by the environment; its operation is the standard one."""
    for name, value in transcribe_endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return TranscribeStreamingClient(
        region=transcribe_endpoint.region, endpoint_resolver=StaticEndpointResolver(transcribe_endpoint.url)
    )


@pytest.fixture
def medical(client: TranscribeStreamingClient) -> TranscribeStreamingClient:
    client._serializer = MedicalSerializer()
    return client


async def transcribe(
    client: TranscribeStreamingClient, pcm: bytes = SPEECH, *, ends: bool = True, chunk_bytes: int = 3200
) -> list[tuple[bool, str]]:
    """Whether it is partial, and the text, of each result."""
    stream = await client.start_stream_transcription(
        language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
    )
    for start in range(0, len(pcm), chunk_bytes):
        await stream.input_stream.send_audio_event(audio_chunk=pcm[start : start + chunk_bytes])
    if ends:
        await stream.input_stream.end_stream()
    return [
        (result.is_partial, result.alternatives[0].transcript)
        async for event in stream.output_stream
        for result in event.transcript.results
    ]


def run(client: TranscribeStreamingClient, *arguments: Any, **options: Any) -> list[tuple[bool, str]]:
    return asyncio.run(asyncio.wait_for(transcribe(client, *arguments, **options), 30))


def finals(results: list[tuple[bool, str]]) -> list[str]:
    return [text for is_partial, text in results if not is_partial]


# Results ------------------------------------------------------------------------------------


def test_partials_grow_into_finals(medical: TranscribeStreamingClient) -> None:
    assert run(medical) == [
        (True, "one"),
        (True, "one two"),
        (False, "one two"),
        (True, "three"),
        (False, "three"),
    ]


def test_items_have_their_times_and_only_finals_confidence(medical: TranscribeStreamingClient) -> None:
    async def last_results() -> Any:
        stream = await medical.start_stream_transcription(
            language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
        )
        await stream.input_stream.send_audio_event(audio_chunk=SPEECH[:32_000])
        await stream.input_stream.end_stream()
        return [r async for event in stream.output_stream for r in event.transcript.results]

    *_, partial, final = asyncio.run(asyncio.wait_for(last_results(), 30))
    items = final.alternatives[0].items
    assert [(i.content, i.start_time, i.end_time) for i in items] == [("one", 0.2, 0.5), ("two", 0.5, 0.8)]
    assert [item.confidence for item in items] == [1.0, 1.0]
    assert [item.confidence for item in partial.alternatives[0].items] == [None, None]
    assert (partial.result_id, partial.start_time) == (final.result_id, final.start_time)


def test_the_response_echoes_the_request(
    medical: TranscribeStreamingClient, transcribe_endpoint: TranscribeEndpoint
) -> None:
    session_id = "12345678-1234-1234-1234-123456789abc"

    async def response() -> Any:
        stream = await medical.start_stream_transcription(
            language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm", session_id=session_id
        )
        await stream.input_stream.end_stream()
        _ = [event async for event in stream.output_stream]
        return stream.response

    echoed = asyncio.run(asyncio.wait_for(response(), 30))
    assert (echoed.language_code, echoed.media_sample_rate_hz, echoed.media_encoding) == (
        "en-US",
        16_000,
        "pcm",
    )
    assert echoed.session_id == session_id
    assert echoed.request_id == transcribe_endpoint.events()[0]["request_id"]


def test_streams_of_one_client_at_once(medical: TranscribeStreamingClient) -> None:
    """The SDK puts all of them on one connection."""

    async def three() -> list[list[tuple[bool, str]]]:
        return await asyncio.gather(*(transcribe(medical) for _ in range(3)))

    for results in asyncio.run(asyncio.wait_for(three(), 30)):
        assert finals(results) == FINALS


def test_the_standard_operation(client: TranscribeStreamingClient) -> None:
    assert finals(run(client)) == FINALS


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        (None, "not-the-secret", "InvalidSignatureException"),
        ("AKIDNOBODY", None, "UnrecognizedClientException"),
    ],
)
def test_wrong_credentials_are_its_service_exception(
    medical: TranscribeStreamingClient,
    transcribe_endpoint: TranscribeEndpoint,
    key: str | None,
    secret: str | None,
    code: str,
) -> None:
    medical._credential_resolver = StaticCredentialResolver(
        key or transcribe_endpoint.access_key_id, secret or transcribe_endpoint.secret_access_key
    )
    with pytest.raises(UnknownServiceException) as caught:
        run(medical)
    assert (caught.value.status_code, caught.value.error_code) == (403, code)


def test_a_refused_parameter_is_its_bad_request(client: TranscribeStreamingClient) -> None:
    client._serializer = MedicalSerializer("DENTISTRY")
    with pytest.raises(BadRequestException, match="Specialty is 'DENTISTRY'"):
        run(client)


@pytest.mark.parametrize(
    ("chunk_bytes", "sentence"),
    [
        (3201, "An AudioEvent of 3201 bytes ends within a sample; send multiples of 2."),
        (32_770, "An AudioEvent of 32770 bytes is too long; at most 32768 are accepted."),
    ],
)
def test_a_bad_chunk_is_its_bad_request(
    medical: TranscribeStreamingClient, chunk_bytes: int, sentence: str
) -> None:
    with pytest.raises(BadRequestException, match=sentence):
        run(medical, chunk_bytes=chunk_bytes)


def test_silence_on_the_line_is_its_bad_request(medical: TranscribeStreamingClient) -> None:
    with pytest.raises(BadRequestException, match="no new audio was received for 1 seconds"):
        run(medical, SPEECH[:32_000], ends=False)


def test_throttling_is_its_limit_exceeded(
    medical: TranscribeStreamingClient, transcribe_endpoint: TranscribeEndpoint
) -> None:
    transcribe_endpoint.inject({"kind": "refuse", "code": "LimitExceededException", "message": "Slow down."})
    with pytest.raises(LimitExceededException, match=r"Slow down\."):
        run(medical)
    assert finals(run(medical)) == FINALS


@pytest.mark.parametrize("kind", ["refuse", "exception"])
@pytest.mark.parametrize("code", MODELLED)
def test_each_exception_is_its_own_before_and_within_the_stream(
    medical: TranscribeStreamingClient, transcribe_endpoint: TranscribeEndpoint, code: str, kind: str
) -> None:
    rule = {"kind": kind, "code": code, "message": f"{code}, as told."}
    transcribe_endpoint.inject(rule if kind == "refuse" else {**rule, "after_partials": 2})
    with pytest.raises(getattr(exceptions, code)) as caught:
        run(medical)
    assert caught.value.message == f"{code}, as told."


def test_an_exception_it_does_not_know_is_still_a_service_exception(
    medical: TranscribeStreamingClient, transcribe_endpoint: TranscribeEndpoint
) -> None:
    transcribe_endpoint.inject({"kind": "exception", "code": "ThrottlingException", "message": "Slow down."})
    with pytest.raises(ServiceException, match=r"Slow down\."):
        run(medical)
