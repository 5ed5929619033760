"""The stream's protocol as HTTP/2 carries it: a signed request in headers, and a chain of signed events.

The body is one event-stream message after another: an outer one with date and signature around each
`AudioEvent`, and at the end one around nothing. The service accepts with status 200.
"""

from __future__ import annotations

from connectors.transcribe.errors import IllegalCallError
from connectors.transcribe.events import CONTENT_TYPE, encode_audio_event
from connectors.transcribe.model import PATH, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.protocol import MedicalStreamProtocol
from connectors.transcribe.sigv4 import Credentials, EventSigner, sign_request


class Http2StreamProtocol(MedicalStreamProtocol):
    """See `MedicalStreamProtocol`; the credentials are those of the whole stream."""

    accepted_status = 200

    def __init__(
        self,
        request: StartMedicalStreamTranscriptionRequest,
        credentials: Credentials,
        *,
        authority: str,
        region: str,
        scheme: str = "https",
    ) -> None:
        super().__init__(request)
        self._credentials = credentials
        self._authority = authority
        self._region = region
        self._scheme = scheme
        self._signer: EventSigner | None = None

    def start(self, now_ms: int) -> list[tuple[str, str]]:
        """The signed request's headers in HTTP/2's order: pseudo-headers first, names in lower case."""
        self._begin()
        headers = {"content-type": CONTENT_TYPE, **self._request.to_headers()}
        signed = sign_request("POST", self._authority, PATH, headers, self._credentials, self._region, now_ms)
        self._signer = EventSigner(self._credentials, self._region, signed.seed_signature)
        pseudo = [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":authority", self._authority),
            (":path", PATH),
        ]
        return pseudo + [(name, value) for name, value in signed.headers.items() if name != "host"]

    def _seal(self, audio_chunk: bytes, now_ms: int) -> bytes:
        return self._started().sign(encode_audio_event(audio_chunk), now_ms)

    def _seal_end(self, now_ms: int) -> bytes:
        return self._started().sign_end(now_ms)

    def _started(self) -> EventSigner:
        if self._signer is None:  # the table of states does not let this happen
            raise IllegalCallError("the stream was not started")
        return self._signer
