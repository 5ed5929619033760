"""The sans-I/O stream in both forms: its state table, its failures, illegal calls that change nothing.

What only one form has is in test_http2_protocol.py and test_websocket_protocol.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import (
    BadRequestError,
    ChecksumError,
    ConnectionClosedError,
    IllegalCallError,
    LimitExceededError,
    ParameterError,
    ServiceError,
    StreamEndedError,
    TranscribeError,
    TruncatedStreamError,
)
from connectors.transcribe.events import (
    encode_exception,
    encode_transcript_event,
)
from connectors.transcribe.eventstream import Message, encode_message
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import (
    MedicalResult,
    MedicalTranscriptEvent,
    StartMedicalStreamTranscriptionRequest,
)
from connectors.transcribe.protocol import (
    EndOfStream,
    ReceiveState,
    SendState,
)
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol

NOW_MS = 1_795_453_475_575
CREDENTIALS = Credentials("AKIDSYNTHETIC", "secretEXAMPLE", "tokenEXAMPLE")
SESSION_ID = "01234567-89ab-cdef-0123-456789abcdef"
RESULT = MedicalResult("r", 0.0, 1.0, is_partial=False)
EVENT = MedicalTranscriptEvent((RESULT,))


Form = type[Http2StreamProtocol] | type[WebSocketStreamProtocol]
OneProtocol = Http2StreamProtocol | WebSocketStreamProtocol

OVERHEAD_BYTES = {Http2StreamProtocol: 187, WebSocketStreamProtocol: 104}  # of recorded traffic

both = pytest.mark.parametrize("form", [Http2StreamProtocol, WebSocketStreamProtocol])


def make(form: Form, **parameters: object) -> OneProtocol:
    request = StartMedicalStreamTranscriptionRequest(**parameters)  # type: ignore[arg-type]
    return form(request, CREDENTIALS, authority="example.test", region="us-east-1")


def accepted(form: Form, **parameters: object) -> OneProtocol:
    protocol = make(form, **parameters)
    protocol.start(NOW_MS)
    protocol.receive_response(
        form.accepted_status, [("x-amzn-request-id", "r-1"), ("x-amzn-transcribe-session-id", SESSION_ID)]
    )
    return protocol


def drain(protocol: OneProtocol) -> list[MedicalTranscriptEvent | EndOfStream]:
    events = []
    while (event := protocol.next_event()) is not None:
        events.append(event)
        if event is EndOfStream.END:
            break
    return events


@both
def test_results_come_in_order_and_after_the_own_end(form: Form) -> None:
    protocol = accepted(form)
    protocol.end(NOW_MS)
    protocol.receive_data(encode_transcript_event() + encode_transcript_event([RESULT]))
    assert drain(protocol) == [MedicalTranscriptEvent(), EVENT]
    protocol.receive_data(encode_transcript_event([RESULT]))
    protocol.receive_end()
    assert drain(protocol) == [EVENT, EndOfStream.END]
    assert protocol.next_event() is EndOfStream.END
    assert protocol.finished
    assert (protocol.request_id, protocol.session_id) == ("r-1", SESSION_ID)


@both
@given(st.data())
def test_results_do_not_depend_on_where_bytes_are_cut(form: Form, data: st.DataObject) -> None:
    wire = encode_transcript_event([RESULT]) * 3
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    protocol = accepted(form)
    events: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        protocol.receive_data(wire[start:end])
        events += drain(protocol)
    assert events == [EVENT] * 3


@both
def test_an_early_clean_end_refuses_more_audio_with_a_retryable_error(form: Form) -> None:
    protocol = accepted(form)
    protocol.receive_end()
    assert drain(protocol) == [EndOfStream.END]
    for name in ("audio", "end"):
        with pytest.raises(StreamEndedError) as caught:
            CALLS[name](protocol)
        assert caught.value.retryable
    assert protocol.send_state is SendState.OPEN


@both
def test_an_exception_comes_after_the_results_before_it_and_stays(form: Form) -> None:
    protocol = accepted(form)
    tail = encode_transcript_event([RESULT]) + encode_exception("LimitExceededException", "slow down")
    protocol.receive_data(tail + encode_transcript_event([RESULT]))
    assert protocol.next_event() == EVENT
    for call in (protocol.next_event, lambda: protocol.send_audio(b"x", NOW_MS), protocol.next_event):
        with pytest.raises(LimitExceededError) as caught:
            call()
        assert caught.value.request_id == "r-1"
    protocol.receive_data(b"anything")
    protocol.receive_end()
    protocol.receive_failure(ConnectionClosedError("later"))
    assert isinstance(protocol.failure, LimitExceededError)


@both
def test_malformed_bytes_fail_the_stream(form: Form) -> None:
    protocol = accepted(form)
    protocol.receive_data(encode_transcript_event([RESULT])[:-1] + b"\x00")
    with pytest.raises(ChecksumError):
        protocol.next_event()
    assert protocol.receive_state is ReceiveState.FAILED


@both
def test_a_response_that_ends_inside_a_message_is_truncated(form: Form) -> None:
    protocol = accepted(form)
    protocol.receive_data(encode_transcript_event([RESULT]) + encode_transcript_event([RESULT])[:-1])
    protocol.receive_end()
    assert protocol.next_event() == EVENT
    with pytest.raises(TruncatedStreamError) as caught:
        protocol.next_event()
    assert caught.value.retryable


@both
def test_a_refusal_before_the_stream_has_name_status_and_text(form: Form) -> None:
    protocol = make(form)
    protocol.start(NOW_MS)
    protocol.receive_response(
        400, [("x-amzn-errortype", "BadRequestException:"), ("x-amzn-requestid", "r-9")]
    )
    protocol.receive_data(b'{"Message":"no ')
    protocol.receive_data(b'such thing"}')
    assert protocol.next_event() is None
    protocol.receive_end()
    with pytest.raises(BadRequestError) as caught:
        protocol.next_event()
    error = caught.value
    assert (error.message, error.http_status, error.request_id) == ("no such thing", 400, "r-9")


@both
def test_a_refusal_whose_connection_breaks_is_still_the_refusal(form: Form) -> None:
    protocol = make(form)
    protocol.start(NOW_MS)
    protocol.receive_response(429, [("x-amzn-errortype", "LimitExceededException")])
    protocol.receive_failure(ConnectionClosedError("gone"))
    with pytest.raises(LimitExceededError):
        protocol.next_event()


@both
def test_a_refusal_by_somebody_else_keeps_a_bounded_body(form: Form) -> None:
    protocol = make(form)
    protocol.start(NOW_MS)
    protocol.receive_response(418, [])
    for _ in range(100):
        protocol.receive_data(b"<html>" * 1000)
    protocol.receive_end()
    with pytest.raises(ServiceError, match="HTTP status 418"):
        protocol.next_event()


@both
def test_a_transport_failure_does_not_undo_a_clean_end(form: Form) -> None:
    protocol = accepted(form)
    protocol.receive_end()
    protocol.receive_failure(ConnectionClosedError("late"))
    assert drain(protocol) == [EndOfStream.END]


@both
@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ({}, 32_000),
        ({"enable_channel_identification": True, "number_of_channels": 2}, 64_000),
        ({"media_encoding": "flac"}, 32_768),
    ],
)
def test_chunk_sizes_are_limited(form: Form, parameters: dict[str, object], limit: int) -> None:
    protocol = accepted(form, **parameters)
    assert len(protocol.send_audio(bytes(limit), NOW_MS)) == limit + OVERHEAD_BYTES[form]
    for size in (0, limit + 1):  # an empty AudioEvent would end the stream
        with pytest.raises(ParameterError, match="AudioChunk"):
            protocol.send_audio(bytes(size), NOW_MS)


@both
def test_a_refused_chunk_leaves_the_chain_as_it_was(form: Form) -> None:
    calm, shaken = accepted(form), accepted(form)
    with pytest.raises(ParameterError):
        shaken.send_audio(b"", NOW_MS)
    assert shaken.send_audio(b"x", NOW_MS) == calm.send_audio(b"x", NOW_MS)


@both
def test_bad_parameters_are_refused_before_anything_is_sent(form: Form) -> None:
    with pytest.raises(ParameterError, match="Specialty"):
        make(form, specialty="DENTISTRY")


CALLS: dict[str, Callable[[OneProtocol], object]] = {
    "start": lambda protocol: protocol.start(NOW_MS),
    "audio": lambda protocol: protocol.send_audio(b"x", NOW_MS),
    "end": lambda protocol: protocol.end(NOW_MS),
    "accept": lambda protocol: protocol.receive_response(protocol.accepted_status, []),
    "refuse": lambda protocol: protocol.receive_response(500, []),
    "data": lambda protocol: protocol.receive_data(encode_transcript_event([RESULT])),
    "exception": lambda protocol: protocol.receive_data(encode_exception("ConflictException", "")),
    "eof": lambda protocol: protocol.receive_end(),
    "failure": lambda protocol: protocol.receive_failure(ConnectionClosedError("gone")),
    "next": lambda protocol: protocol.next_event(),
}


@both
@given(st.lists(st.sampled_from(sorted(CALLS)), max_size=12))
def test_any_order_of_calls_raises_our_errors_only_and_illegal_ones_change_nothing(
    form: Form, calls: list[str]
) -> None:
    protocol = make(form)
    for name in calls:
        before = visible(protocol)
        try:
            CALLS[name](protocol)
        except IllegalCallError:
            assert visible(protocol) == before
        except TranscribeError as error:
            if error is not protocol.failure and not isinstance(error, StreamEndedError):
                raise
    if protocol.finished:
        assert protocol.failure is None or protocol.receive_state is ReceiveState.FAILED


def visible(protocol: OneProtocol) -> tuple[object, ...]:
    return protocol.send_state, protocol.receive_state, protocol.failure, protocol.request_id


@both
def test_the_machine_starts_once_and_ends_once(form: Form) -> None:
    protocol = accepted(form)
    with pytest.raises(IllegalCallError, match="start"):
        protocol.start(NOW_MS)
    protocol.end(NOW_MS)
    for name in ("audio", "end"):
        with pytest.raises(IllegalCallError, match="ENDED"):
            CALLS[name](protocol)


@both
def test_unknown_events_are_no_events(form: Form) -> None:
    protocol = accepted(form)
    news = Message({":message-type": "event", ":event-type": "News"}, b"{}")
    protocol.receive_data(encode_message(news.headers, news.payload))
    assert protocol.next_event() is None
