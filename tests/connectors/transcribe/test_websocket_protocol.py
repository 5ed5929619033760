"""The stream's protocol as a WebSocket carries it: a presigned URL, then one unsigned event a message."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from connectors.transcribe.errors import IllegalCallError, ServiceError
from connectors.transcribe.events import encode_audio_event, parse_audio_event
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import header_names, parse_presigned, presign_websocket
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol

NOW_MS = 1_795_453_475_575
CREDENTIALS = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "tokenEXAMPLE")
AUTHORITY = "example.test:8443"
SESSION_ID = "01234567-89ab-cdef-0123-456789abcdef"
REQUEST = StartMedicalStreamTranscriptionRequest(specialty="CARDIOLOGY", session_id=SESSION_ID)


def make() -> WebSocketStreamProtocol:
    return WebSocketStreamProtocol(REQUEST, CREDENTIALS, authority=AUTHORITY, region="us-east-1")


def test_the_request_is_presigned_for_the_authority_at_the_time_given() -> None:
    path = make().start(NOW_MS)
    assert path == presign_websocket(AUTHORITY, REQUEST, CREDENTIALS, "us-east-1", NOW_MS)
    pairs = parse_qsl(urlsplit(path).query)
    assert parse_presigned(pairs).date_time == "20261123T170435Z"
    assert StartMedicalStreamTranscriptionRequest.from_headers(header_names(dict(pairs))) == REQUEST


def test_a_start_that_is_illegal_signs_nothing() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    with pytest.raises(IllegalCallError, match="start"):
        protocol.start(NOW_MS)


def test_events_are_not_signed_and_the_last_one_is_empty() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    assert protocol.send_audio(b"one", NOW_MS) == encode_audio_event(b"one")
    assert protocol.send_audio(b"one", NOW_MS + 86_400_000) == encode_audio_event(b"one")
    assert parse_audio_event(decode_message(protocol.end(NOW_MS))) == b""


def test_ids_come_in_headers_of_the_websocket_s_own_names() -> None:
    protocol = make()
    assert protocol.session_id == SESSION_ID  # until the service says otherwise
    protocol.start(NOW_MS)
    protocol.receive_response(101, [("x-amzn-requestid", "r-1"), ("x-amzn-sessionid", "s-1")])
    assert (protocol.accepted, protocol.request_id, protocol.session_id) == (True, "r-1", "s-1")


def test_the_status_of_http2_is_no_acceptance() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    protocol.receive_response(200, [])
    protocol.receive_end()
    assert not protocol.accepted
    with pytest.raises(ServiceError, match="HTTP status 200"):
        protocol.next_event()


def test_nothing_secret_shows() -> None:
    protocol = make()
    protocol.start(NOW_MS)
    assert "EXAMPLE" not in repr(protocol)
