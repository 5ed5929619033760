"""How audio events arrive: over HTTP/2 each in a signed envelope, over a WebSocket as they are.

Both forms give the audio of a message, empty at the end of the audio.
"""

from __future__ import annotations

from typing import Protocol

from connectors.transcribe.errors import EventStreamError
from connectors.transcribe.events import parse_audio_event
from connectors.transcribe.eventstream import Message, decode_message
from deploy.local.transcribe.authentication import EventVerifier
from deploy.local.transcribe.errors import bad_request


class AudioEvents(Protocol):
    """The form of a stream's audio events."""

    may_end_without_event: bool
    """Whether a client may say that it is done without the empty event (JavaScript over a WebSocket does)."""

    def audio(self, message: Message, now_ms: int) -> bytes:
        """The audio in a message, empty at the end; raises `ServiceFault` or `EventStreamError`."""


class SignedAudioEvents:
    """HTTP/2: the chain of signed envelopes that the request's signature began."""

    may_end_without_event = False

    def __init__(self, verifier: EventVerifier) -> None:
        self._verifier = verifier

    def audio(self, message: Message, now_ms: int) -> bytes:
        """See `AudioEvents.audio`."""
        inner = self._verifier.verify(message, now_ms)
        return _audio(decode_message(inner)) if inner else b""


class PlainAudioEvents:
    """A WebSocket: the presigned URL vouches for all that follows.

    The developer guide asks for a signed end frame here too, which no SDK sends; it is an end as well.
    """

    may_end_without_event = True

    def audio(self, message: Message, now_ms: int) -> bytes:  # noqa: ARG002 - nothing here has a date
        """See `AudioEvents.audio`."""
        if not message.payload and ":chunk-signature" in message.headers:
            return b""
        return _audio(message)


def _audio(message: Message) -> bytes:
    try:
        return parse_audio_event(message)
    except EventStreamError:
        raise bad_request("The stream may hold AudioEvent messages only.") from None
