"""The stream's protocol as HTTP/2 carries it: a signed request in headers, a chain of signed events."""

from __future__ import annotations

import pytest

from connectors.transcribe.errors import ServiceError
from connectors.transcribe.events import parse_audio_event
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import (
    Credentials,
    derive_signing_key,
    event_signature,
    parse_authorization,
    parse_signed_event,
)

NOW_MS = 1_795_453_475_575
CREDENTIALS = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "tokenEXAMPLE")


def make(**parameters: object) -> Http2StreamProtocol:
    request = StartMedicalStreamTranscriptionRequest(**parameters)  # type: ignore[arg-type]
    return Http2StreamProtocol(request, CREDENTIALS, authority="example.test", region="us-east-1")


def test_the_request_has_pseudo_headers_first_and_no_host() -> None:
    headers = make(specialty="CARDIOLOGY").start(NOW_MS)
    assert [name for name, _ in headers[:4]] == [":method", ":scheme", ":authority", ":path"]
    by_name = dict(headers)
    assert by_name[":path"] == "/medical-stream-transcription"
    assert by_name["content-type"] == "application/vnd.amazon.eventstream"
    assert by_name["x-amzn-transcribe-specialty"] == "CARDIOLOGY"
    assert by_name["x-amz-security-token"] == "tokenEXAMPLE"
    assert "host" not in by_name
    assert "host" in parse_authorization(by_name["authorization"]).signed_headers


def test_audio_and_end_continue_the_chain_of_the_request() -> None:
    protocol = make()
    authorization = parse_authorization(dict(protocol.start(NOW_MS))["authorization"])
    prior = authorization.signature
    key = derive_signing_key(CREDENTIALS.secret_access_key, authorization.scope.date, "us-east-1")
    for wire, audio in (
        (protocol.send_audio(b"one", NOW_MS + 5), b"one"),
        (protocol.send_audio(b"two", NOW_MS + 9), b"two"),
        (protocol.end(NOW_MS + 9), None),
    ):
        event = parse_signed_event(decode_message(wire))
        assert event.signature == event_signature(
            key, authorization.scope, prior, event.date_ms, event.payload
        )
        prior = event.signature.hex()
        sent = None if event.is_end else parse_audio_event(decode_message(event.payload))
        assert sent == audio


def test_the_status_of_a_websocket_is_no_acceptance() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    protocol.receive_response(101, [])
    protocol.receive_end()
    assert not protocol.accepted
    with pytest.raises(ServiceError, match="HTTP status 101"):
        protocol.next_event()


def test_nothing_secret_shows() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    assert "EXAMPLE" not in repr(protocol)
