"""The stream's protocol as a WebSocket carries it: a presigned URL, then one unsigned event a message.

Each binary message is one event-stream message: an `AudioEvent` around a chunk, and at the end one around
nothing. The service accepts with status 101, and reports ids in headers of its own names.
"""

from __future__ import annotations

from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import presign_websocket
from connectors.transcribe.protocol import MedicalStreamProtocol
from connectors.transcribe.sigv4 import Credentials


class WebSocketStreamProtocol(MedicalStreamProtocol):
    """See `MedicalStreamProtocol`."""

    accepted_status = 101

    def __init__(
        self,
        request: StartMedicalStreamTranscriptionRequest,
        credentials: Credentials,
        *,
        authority: str,
        region: str,
    ) -> None:
        super().__init__(request)
        self._credentials = credentials
        self.authority = authority
        self._region = region

    def start(self, now_ms: int) -> str:
        """Path and query of the request, signed: a secret while it is valid."""
        self._begin()
        return presign_websocket(self.authority, self._request, self._credentials, self._region, now_ms)

    def _seal(self, audio_chunk: bytes, now_ms: int) -> bytes:  # noqa: ARG002 - only signed events have a date
        return encode_audio_event(audio_chunk)

    def _seal_end(self, now_ms: int) -> bytes:  # noqa: ARG002
        return encode_audio_event(b"")
