"""How a worker reaches the service: settings that travel with the job, and streams opened from them.

The settings are a plain picklable value without secrets; credentials are looked up on the worker by
botocore's chain, frozen for each stream.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.credentials import CredentialsSource
from connectors.transcribe.endpoint import HTTP2, WEBSOCKET, Endpoint, resolve_endpoint
from connectors.transcribe.errors import CredentialsExpiredError, SignatureExpiredError
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from connectors.transcribe.websocket import open_websocket_stream
from pipeline.elements import AudioFormat, SessionSettings


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Where the service is and how it is reached: `transport` is "http2" or "websocket".

    `ca_bundle` is the path of a PEM file on the worker, for a private endpoint. `resample_to_hertz`: the
    sample rate of all audio sent to the service; None: each session's own.
    """

    region: str
    endpoint_url: str | None = None
    transport: str = HTTP2
    use_fips: bool = False
    use_dualstack: bool = False
    allow_cleartext: bool = False
    ca_bundle: str | None = None
    profile_name: str | None = None
    resample_to_hertz: int | None = None

    def endpoint(self) -> Endpoint:
        """The resolved endpoint; raises EndpointError."""
        return resolve_endpoint(
            self.region,
            self.endpoint_url,
            transport=self.transport,
            use_fips=self.use_fips,
            use_dualstack=self.use_dualstack,
            allow_cleartext=self.allow_cleartext,
        )

    async def open_stream(
        self, audio: AudioFormat, settings: SessionSettings, stream_id: str
    ) -> TranscribeStream:
        """A new stream with `stream_id` as its SessionId; raises TranscribeError.

        `audio` is the session's; the stream takes it at `resample_to_hertz`.
        """
        request = medical_request(audio, settings, stream_id, self.resample_to_hertz)
        request.validate()
        loop = asyncio.get_running_loop()
        source = _credentials_source(self.profile_name)
        credentials = await loop.run_in_executor(None, source.current)
        try:
            return await self._open(request, credentials)
        except CredentialsExpiredError:
            source.reload()  # the next try, after the session's backoff, walks the chain again
            raise

    async def _open(
        self, request: StartMedicalStreamTranscriptionRequest, credentials: Credentials
    ) -> TranscribeStream:
        """Open a stream; once more if the refusal showed that the machine's clock is wrong."""
        endpoint = self.endpoint()
        clock = _service_clock(endpoint.url)
        opener = open_websocket_stream if self.transport == WEBSOCKET else open_http2_stream
        offset_ms = clock.offset_ms
        try:
            return await opener(endpoint, request, credentials, clock=clock, ca_bundle=self.ca_bundle)
        except SignatureExpiredError:
            if clock.offset_ms == offset_ms:
                raise
        return await opener(endpoint, request, credentials, clock=clock, ca_bundle=self.ca_bundle)


def medical_request(
    audio: AudioFormat, settings: SessionSettings, stream_id: str, sample_rate_hertz: int | None = None
) -> StartMedicalStreamTranscriptionRequest:
    """The request for one stream of a session; channels are identified if there are two (the API
    demands both or neither). `sample_rate_hertz`: what is sent, if it is not the session's rate."""
    two_channels = audio.channels == 2
    return StartMedicalStreamTranscriptionRequest(
        language_code=settings.language_code,
        media_sample_rate_hertz=sample_rate_hertz or audio.sample_rate_hertz,
        media_encoding="pcm",
        specialty=settings.specialty,
        type=settings.type,
        vocabulary_name=settings.vocabulary_name,
        session_id=stream_id,
        show_speaker_label=settings.show_speaker_label,
        enable_channel_identification=two_channels,
        number_of_channels=audio.channels if two_channels else None,
        content_identification_type=settings.content_identification_type,
    )


@lru_cache(maxsize=8)
def _credentials_source(profile_name: str | None) -> CredentialsSource:
    """One chain per process and profile: it caches and refreshes what it finds."""
    return CredentialsSource(profile_name)


@lru_cache(maxsize=8)
def _service_clock(_endpoint_url: str) -> ServiceClock:
    """One clock per process and endpoint: what one stream's refusal taught serves all."""
    return ServiceClock(_now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
