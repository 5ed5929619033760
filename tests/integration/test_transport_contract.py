"""What a transport owes the session engine, held by both of them on the real endpoint, in cleartext and over TLS.

One suite for HTTP/2 and WebSocket: the same results, the same errors with the same retry facts, the same behaviour
under every fault the endpoint injects. `MEDSTREAM_CONTRACT_REPEATS=25` runs each case so many times in a row.
What only one wire can do is tested beside it (test_http2.py, test_websocket.py). All speech is synthetic: the
endpoint's `markers` recogniser reads words out of the PCM, so a word that is missing or moved is seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import HTTP2, WEBSOCKET, resolve_endpoint
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
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
    url: str
    ca_bundle: str | None
    endpoint: EndpointProcess
    control: EndpointProcess

    async def open(self, credentials: Credentials = CREDENTIALS, **options: Any) -> TranscribeStream:
        """Open a stream; what is no option of the opener is a parameter of the request."""
        names = ("connect_timeout_seconds", "read_timeout_seconds", "write_timeout_seconds")
        timeouts = {name: options.pop(name) for name in names if name in options}
        return await OPENERS[self.transport](
            resolve_endpoint("us-east-1", self.url, transport=self.transport),
            StartMedicalStreamTranscriptionRequest(**options),
            credentials,
            clock=ServiceClock(lambda: time.time_ns() // 1_000_000),
            ca_bundle=self.ca_bundle,
            **timeouts,
        )
