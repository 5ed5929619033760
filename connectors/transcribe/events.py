"""The events inside a stream as event-stream messages: audio to the service, transcripts and exceptions back.

Headers and their order are those of recorded traffic of the service. Note that an exception is named by
`:exception-type`; the developer guide's HTTP/2 table says `:event-type`, which neither the recordings nor any
SDK agree with. Clients use `encode_audio_event` and `parse_event`, servers the rest.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html and the AWS SDKs' parsers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from connectors.transcribe.errors import EventStreamError, ServiceError, error_from_code
from connectors.transcribe.eventstream import Message, encode_headers, encode_message, frame
from connectors.transcribe.model import MedicalResult, MedicalTranscriptEvent, parse_transcript_event

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_AUDIO_EVENT_HEADERS = encode_headers(
    {
        ":message-type": "event",
        ":event-type": "AudioEvent",
        ":content-type": "application/octet-stream",
    }
)
_TRANSCRIPT_EVENT_HEADERS = encode_headers(
    {
        ":event-type": "TranscriptEvent",
        ":content-type": "application/json",
        ":message-type": "event",
    }
)


def encode_audio_event(audio_chunk: bytes) -> bytes:
    """An `AudioEvent` around raw audio: 104 bytes more than the audio."""
    return frame(_AUDIO_EVENT_HEADERS, audio_chunk)


def parse_audio_event(message: Message) -> bytes:
    """The audio of an `AudioEvent` (may be empty); raises `EventStreamError` for any other message."""
    if (
        message.headers.get(":message-type", "event") != "event"
        or _text(message, ":event-type") != "AudioEvent"
    ):
        raise EventStreamError("the message is not an AudioEvent")
    return message.payload


def encode_transcript_event(results: Iterable[MedicalResult] = ()) -> bytes:
    """A `TranscriptEvent`; without results it is the event a service sends to show it is alive."""
    return frame(_TRANSCRIPT_EVENT_HEADERS, MedicalTranscriptEvent(tuple(results)).to_payload())


def encode_exception(name: str, message: str) -> bytes:
    """The last message of a stream that fails, for instance `BadRequestException`."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_message(headers, json.dumps({"Message": message}, separators=(",", ":")).encode())


def parse_event(message: Message, request_id: str | None = None) -> tuple[MedicalResult, ...] | None:
    """The results of a message from the service; None for an event type this client does not know.

    Raises the typed `ServiceError` for an exception or error message, `ResultFormatError` for a payload that
    is not of the documented shape, and `EventStreamError` for a message that says not what it is.
    """
    kind = _text(message, ":message-type")
    if kind == "event":
        if _text(message, ":event-type") == "TranscriptEvent":
            return parse_transcript_event(message.payload)
        return None
    if kind == "exception":
        name = _text(message, ":exception-type")
        raise error_from_code(name, message_of(message.payload), request_id=request_id)
    if kind == "error":
        raise _unmodelled_error(message, request_id)
    raise EventStreamError("a message has no :message-type of event, exception or error")


def message_of(body: bytes) -> str:
    """The text in an exception's JSON body (`Message` or `message`), empty when there is none."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    text = document.get("Message") or document.get("message")
    # JSON can name half a character, which no UTF-8 can hold: what carries the message on would break.
    return text.encode(errors="replace").decode() if isinstance(text, str) else ""


def _unmodelled_error(message: Message, request_id: str | None) -> ServiceError:
    return error_from_code(
        _text(message, ":error-code"), _text(message, ":error-message"), request_id=request_id
    )


def _text(message: Message, name: str) -> str:
    value = message.headers.get(name)
    return value if isinstance(value, str) else ""
