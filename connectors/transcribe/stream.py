"""The seam between the session engine and a transport: one live stream, whatever carries it.

`http2.open_http2_stream` and `websocket.open_websocket_stream` open one; both pass the same tests. All
methods raise `errors.TranscribeError` and nothing else, apart from cancellation. A stream is used from one
event loop; one task may send while another receives.
"""

from __future__ import annotations

from typing import Protocol

from connectors.transcribe.model import MedicalResult


class TranscribeStream(Protocol):
    """One open transcription stream; it fails for good with its first error."""

    @property
    def session_id(self) -> str | None:
        """The stream's session id as the service reported it."""

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, for a support case."""

    async def send_audio(self, payload: bytes) -> None:
        """Send a chunk of audio in the request's encoding; waits while earlier audio has no room yet.

        A wait that is cancelled has sent nothing. The chunk is signed when its turn comes.
        """

    async def end(self) -> None:
        """Say that no more audio comes; results keep coming, so go on with `receive` until None."""

    async def receive(self) -> tuple[MedicalResult, ...] | None:
        """The next event's results, `()` for one without any; None once the service has ended cleanly."""

    async def close(self) -> None:
        """Drop the connection at once; pending results are lost. Harmless when repeated."""
