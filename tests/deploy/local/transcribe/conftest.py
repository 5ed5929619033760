"""A client's side of the signatures, for tests that speak to the endpoint's pure parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from connectors.transcribe.eventstream import encode_message
from connectors.transcribe.model import PATH, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials, EventSigner, sign_request
from deploy.local.transcribe.authentication import Keyring, SignedHttpRequest

NOW_MS = 1_795_453_475_575  # 2026-11-23T17:04:35.575Z
REGION = "us-east-1"
CREDENTIALS = Credentials("AKIDTEST", "a secret of the tests")
AUDIO_EVENT = {
    ":message-type": "event",
    ":event-type": "AudioEvent",
    ":content-type": "application/octet-stream",
}


@dataclass(slots=True)
class Client:
    """Signs a request and the events that follow it."""

    now_ms: int = NOW_MS
    region: str = REGION
    credentials: Credentials = CREDENTIALS
    authority: str = "127.0.0.1:8760"
    parameters: StartMedicalStreamTranscriptionRequest = field(
        default_factory=StartMedicalStreamTranscriptionRequest
    )
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    _signer: EventSigner | None = None

    def request(self) -> SignedHttpRequest:
        """A signed request; its signature is the seed of `event` and `end`."""
        headers = {**self.parameters.to_headers(), **self.extra_headers}
        signed = sign_request(
            "POST", self.authority, PATH, headers, self.credentials, self.region, self.now_ms
        )
        self._signer = EventSigner(self.credentials, self.region, signed.seed_signature)
        return SignedHttpRequest("POST", PATH, "", dict(signed.headers))

    def event(self, audio: bytes, now_ms: int | None = None) -> bytes:
        """A signed AudioEvent."""
        return self.sign(encode_message(AUDIO_EVENT, audio), now_ms)

    def end(self, now_ms: int | None = None) -> bytes:
        """The signed empty frame."""
        return self.sign(b"", now_ms)

    def sign(self, inner: bytes, now_ms: int | None = None) -> bytes:
        """Any bytes in a signed outer message."""
        assert self._signer is not None, "request() comes first"
        return self._signer.sign(inner, self.now_ms if now_ms is None else now_ms)


@pytest.fixture
def make_client() -> Callable[..., Client]:
    """The class `Client`; test modules cannot import this file."""
    return Client


@pytest.fixture
def client() -> Client:
    """A client with a key that `keyring` knows."""
    return Client()


@pytest.fixture
def keyring() -> Keyring:
    """Knows the client's key."""
    return Keyring(REGION, {CREDENTIALS.access_key_id: CREDENTIALS.secret_access_key})


@pytest.fixture
def now_ms() -> int:
    """The moment at which the client signs."""
    return NOW_MS
