"""The official Python SDK against the endpoint, as it is: over TLS, its own signatures, its own HTTP/2.

amazon-transcribe 0.6.4 has no medical operation; its users derive one, and so does this test. What it proves
is the SDK's way of signing (no content hash, host without port), its connection, its event-stream codec and
its errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from amazon_transcribe.auth import StaticCredentialResolver
from amazon_transcribe.client import TranscribeStreamingClient
from amazon_transcribe.endpoints import StaticEndpointResolver
from amazon_transcribe.exceptions import BadRequestException, LimitExceededException
from amazon_transcribe.serialize import TranscribeStreamingSerializer
from awscrt.io import ClientTlsContext, TlsContextOptions

from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers

SPEECH = encode_markers([["one", "two"], ["three"]], 16_000)


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


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[EndpointProcess]:
    folder = tmp_path_factory.mktemp("sdk")
    server = authority.issue_cert("localhost")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    server.private_key_pem.write_to_path(key)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--idle-timeout-seconds", "1")
    with EndpointProcess(folder / "endpoint", recogniser="markers", options=options) as process:
        yield process


@pytest.fixture
def client(endpoint: EndpointProcess, authority: trustme.CA, tmp_path: Path) -> TranscribeStreamingClient:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, str(bundle))
    client = TranscribeStreamingClient(
        region="us-east-1",
        endpoint_resolver=StaticEndpointResolver(f"https://localhost:{endpoint.port}"),
        credential_resolver=StaticCredentialResolver(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY),
    )
    client._session_manager._tls_ctx = ClientTlsContext(options)  # it has no setting for a private authority
    client._serializer = MedicalSerializer()
    return client


async def transcribe(client: TranscribeStreamingClient, pcm: bytes, *, ends: bool = True) -> list[str]:
    """The finals' texts."""
    stream = await client.start_stream_transcription(
        language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
    )
    for start in range(0, len(pcm), 3200):
        await stream.input_stream.send_audio_event(audio_chunk=pcm[start : start + 3200])
    if ends:
        await stream.input_stream.end_stream()
    return [
        result.alternatives[0].transcript
        async for event in stream.output_stream
        for result in event.transcript.results
        if not result.is_partial
    ]


def run(client: TranscribeStreamingClient, pcm: bytes = SPEECH, **options: Any) -> list[str]:
    return asyncio.run(asyncio.wait_for(transcribe(client, pcm, **options), 30))


def test_finals_arrive(client: TranscribeStreamingClient) -> None:
    assert run(client) == ["one two", "three"]


def test_a_refused_parameter_is_its_bad_request(client: TranscribeStreamingClient) -> None:
    client._serializer = MedicalSerializer("DENTISTRY")
    with pytest.raises(BadRequestException, match="Specialty is 'DENTISTRY'"):
        run(client)


def test_an_exception_within_the_stream_is_its_own(client: TranscribeStreamingClient) -> None:
    with pytest.raises(BadRequestException, match="no new audio was received for 1 seconds"):
        run(client, SPEECH[:32_000], ends=False)


def test_throttling_is_its_limit_exceeded(
    client: TranscribeStreamingClient, tmp_path: Path, endpoint: EndpointProcess
) -> None:
    """Control calls need cleartext, so the rule comes in a file, to a second endpoint."""
    faults = tmp_path / "faults.json"
    faults.write_text('{"kind": "exception", "code": "LimitExceededException", "after_partials": 1}')
    options = [*endpoint.options, "--faults", str(faults)]
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as second:
        client._endpoint_resolver = StaticEndpointResolver(f"https://localhost:{second.port}")
        with pytest.raises(LimitExceededException):
            run(client)
        assert run(client) == ["one two", "three"]
