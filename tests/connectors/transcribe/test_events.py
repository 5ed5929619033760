"""Events inside a stream: sizes of recorded traffic, and every kind of message the service may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import (
    BadRequestError,
    EventStreamError,
    ResultFormatError,
    ServiceError,
)
from connectors.transcribe.events import (
    encode_audio_event,
    encode_exception,
    encode_transcript_event,
    message_of,
    parse_audio_event,
    parse_event,
)
from connectors.transcribe.eventstream import HeaderValue, Message, decode_message
from connectors.transcribe.model import MedicalResult

RESULT = MedicalResult("r", 0.5, 1.5, is_partial=True)


@given(st.binary(max_size=200))
def test_audio_events_round_trip(audio: bytes) -> None:
    wire = encode_audio_event(audio)
    assert len(wire) == len(audio) + 104
    assert parse_audio_event(decode_message(wire)) == audio


def test_transcript_events_round_trip() -> None:
    assert parse_event(decode_message(encode_transcript_event([RESULT, RESULT]))) == (RESULT, RESULT)


def test_the_empty_event_has_the_size_of_recorded_traffic() -> None:
    wire = encode_transcript_event()
    assert len(wire) == 130
    assert parse_event(decode_message(wire)) == ()


def test_an_exception_has_the_size_and_headers_of_recorded_traffic() -> None:
    text = "A complete signal was sent without the preceding empty frame."
    wire = encode_exception("BadRequestException", text)
    assert len(wire) == 188
    assert set(decode_message(wire).headers) == {":exception-type", ":content-type", ":message-type"}
    with pytest.raises(BadRequestError) as caught:
        parse_event(decode_message(wire), "r-1")
    assert (caught.value.message, caught.value.request_id) == (text, "r-1")


def test_unmodelled_errors() -> None:
    headers: dict[str, HeaderValue] = {
        ":message-type": "error",
        ":error-code": "Odd",
        ":error-message": "why",
    }
    with pytest.raises(ServiceError) as caught:
        parse_event(Message(headers, b""))
    assert (caught.value.code, caught.value.message, caught.value.retryable) == ("Odd", "why", True)


def test_unknown_event_types_are_skipped() -> None:
    assert parse_event(Message({":message-type": "event", ":event-type": "News"}, b"x")) is None


@pytest.mark.parametrize("headers", [{}, {":message-type": "letter"}, {":message-type": True}])
def test_messages_that_do_not_say_what_they_are(headers: dict[str, HeaderValue]) -> None:
    with pytest.raises(EventStreamError):
        parse_event(Message(headers, b""))


def test_a_transcript_event_that_is_no_json() -> None:
    headers: dict[str, HeaderValue] = {":message-type": "event", ":event-type": "TranscriptEvent"}
    with pytest.raises(ResultFormatError):
        parse_event(Message(headers, b"?"))


@pytest.mark.parametrize("headers", [{}, {":message-type": "exception", ":event-type": "AudioEvent"}])
def test_servers_refuse_what_is_no_audio(headers: dict[str, HeaderValue]) -> None:
    with pytest.raises(EventStreamError):
        parse_audio_event(Message(headers, b"audio"))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"Message":"a"}', "a"),
        (b'{"message":"b"}', "b"),
        (b'{"Message":"half \\ud800 a character"}', "half ? a character"),
        (b"{}", ""),
        (b'{"Message":3}', ""),
        (b"[1]", ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_message_of_an_error_body(body: bytes, text: str) -> None:
    assert message_of(body) == text
