"""A stream of `amazon-transcribe`, AWS's retired SDK for Python, to the local endpoint over TLS."""

from __future__ import annotations

from typing import Any

from amazon_transcribe.auth import StaticCredentialResolver
from amazon_transcribe.client import TranscribeStreamingClient
from amazon_transcribe.endpoints import StaticEndpointResolver
from awscrt.io import ClientTlsContext, TlsContextOptions

from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess


async def open_sdk_stream(endpoint: EndpointProcess) -> Any:
    """A stream of the standard operation on a connection of its own."""
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, str(endpoint.ca_file))
    client = TranscribeStreamingClient(
        region="us-east-1",
        endpoint_resolver=StaticEndpointResolver(f"https://localhost:{endpoint.port}"),
        credential_resolver=StaticCredentialResolver(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY),
    )
    client._session_manager._tls_ctx = ClientTlsContext(options)  # it has no setting for a private authority
    return await client.start_stream_transcription(
        language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
    )
