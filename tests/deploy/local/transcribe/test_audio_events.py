"""Audio in its two forms: signed envelopes over HTTP/2, plain messages over a WebSocket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.transcribe.errors import EventStreamError
from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.eventstream import decode_message, encode_message
from deploy.local.transcribe.audio_events import PlainAudioEvents, SignedAudioEvents
from deploy.local.transcribe.authentication import Keyring
from deploy.local.transcribe.errors import ServiceFault

OTHER = encode_message({":message-type": "event", ":event-type": "ConfigurationEvent"}, b"{}")
EXCEPTION = encode_message({":message-type": "exception", ":event-type": "AudioEvent"}, b"")


@pytest.fixture
def signed(client: Any, keyring: Keyring, now_ms: int) -> SignedAudioEvents:
    return SignedAudioEvents(keyring.verify_request(client.request(), now_ms))


@given(chunks=st.lists(st.binary(max_size=100), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_signed_audio_is_unwrapped_up_to_the_empty_event(
    client: Any, keyring: Keyring, now_ms: int, chunks: list[bytes]
) -> None:
    signed = SignedAudioEvents(keyring.verify_request(client.request(), now_ms))
    assert [signed.audio(decode_message(client.event(chunk)), now_ms) for chunk in chunks] == chunks
    assert signed.audio(decode_message(client.end()), now_ms) == b""


def test_an_unsigned_event_is_refused_over_http_2(signed: SignedAudioEvents, now_ms: int) -> None:
    with pytest.raises(ServiceFault, match="could not be verified") as caught:
        signed.audio(decode_message(encode_audio_event(b"ab")), now_ms)
    assert caught.value.code == "BadRequestException"


def test_an_event_that_was_signed_too_long_ago_is_refused(
    client: Any, signed: SignedAudioEvents, now_ms: int
) -> None:
    with pytest.raises(ServiceFault, match="Signature expired"):
        signed.audio(decode_message(client.event(b"ab")), now_ms + 301_000)


@pytest.mark.parametrize("inner", [OTHER, EXCEPTION], ids=["another-event", "an-exception"])
def test_signed_but_no_audio(client: Any, signed: SignedAudioEvents, now_ms: int, inner: bytes) -> None:
    with pytest.raises(ServiceFault, match="AudioEvent messages only"):
        signed.audio(decode_message(client.sign(inner)), now_ms)


@pytest.mark.parametrize("inner", [b"garbage", OTHER + OTHER, OTHER[:-1]])
def test_signed_but_not_one_message(
    client: Any, signed: SignedAudioEvents, now_ms: int, inner: bytes
) -> None:
    with pytest.raises(EventStreamError):
        signed.audio(decode_message(client.sign(inner)), now_ms)


@given(st.binary(max_size=100))
def test_plain_audio_is_taken_as_it_is(chunk: bytes) -> None:
    assert PlainAudioEvents().audio(decode_message(encode_audio_event(chunk)), 0) == chunk


def test_plain_audio_has_no_age() -> None:
    message = decode_message(encode_audio_event(b"ab"))
    assert PlainAudioEvents().audio(message, 2**60) == b"ab"


@pytest.mark.parametrize("inner", [OTHER, EXCEPTION], ids=["another-event", "an-exception"])
def test_a_plain_message_that_is_no_audio_is_refused(inner: bytes) -> None:
    with pytest.raises(ServiceFault, match="AudioEvent messages only"):
        PlainAudioEvents().audio(decode_message(inner), 0)


def test_signed_audio_on_a_websocket_is_refused_but_a_signed_end_is_an_end(client: Any) -> None:
    """The developer guide's prose asks for the latter."""
    client.request()
    with pytest.raises(ServiceFault, match="AudioEvent messages only"):
        PlainAudioEvents().audio(decode_message(client.event(b"ab")), 0)
    assert PlainAudioEvents().audio(decode_message(client.end()), 0) == b""


def test_only_a_websocket_may_end_without_an_event() -> None:
    assert PlainAudioEvents.may_end_without_event
    assert not SignedAudioEvents.may_end_without_event
