"""One transcription stream, whatever carries it, without any I/O: what to send, what received bytes mean.

The carrier's form of the protocol (`http2_protocol`, `websocket_protocol`) starts the request and says how an
event goes on the wire, signed or not; all else is here. A shell then moves bytes: `send_audio` and `end`
return what to write; `receive_response`, `receive_data`, `receive_end` and `receive_failure` take what
arrived; `next_event` gives events in order. Sending and receiving are two halves, each with its own state::

    sending:    IDLE -start-> OPEN -end-> ENDED
    receiving:  IDLE -start-> WAITING -accepted-> STREAMING -end-> ENDED
                              WAITING -other status-> REFUSED -end-> FAILED
                any but ENDED -exception event, malformed bytes, transport failure-> FAILED

The tables below are the machine; a call they do not list raises `IllegalCallError` and changes nothing. The
first failure is final: results received before it are still handed out, then `next_event` raises it each
time, and so do `send_audio` and `end`. The service sends results after the client's end, which therefore
closes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import ClassVar

from connectors.transcribe.errors import (
    IllegalCallError,
    ParameterError,
    StreamEndedError,
    TranscribeError,
    TruncatedStreamError,
    error_from_code,
)
from connectors.transcribe.events import message_of, parse_event
from connectors.transcribe.eventstream import MessageDecoder
from connectors.transcribe.model import (
    HEADER_PREFIX,
    MedicalTranscriptEvent,
    StartMedicalStreamTranscriptionRequest,
)

MAX_ERROR_BODY_BYTES = 64 * 1024
MAX_ENCODED_CHUNK_BYTES = 32 * 1024  # flac and ogg-opus; PCM is limited to one second


class SendState(Enum):
    """The client's half of the stream."""

    IDLE = auto()
    OPEN = auto()
    ENDED = auto()


class ReceiveState(Enum):
    """The service's half of the stream."""

    IDLE = auto()
    WAITING = auto()
    STREAMING = auto()
    REFUSED = auto()
    ENDED = auto()
    FAILED = auto()


class EndOfStream(Enum):
    """`next_event` after the service's clean end."""

    END = auto()


_SEND: dict[tuple[SendState, str], SendState] = {
    (SendState.IDLE, "start"): SendState.OPEN,
    (SendState.OPEN, "send_audio"): SendState.OPEN,
    (SendState.OPEN, "end"): SendState.ENDED,
}
_RECEIVE: dict[tuple[ReceiveState, str], ReceiveState] = {
    (ReceiveState.IDLE, "start"): ReceiveState.WAITING,
    (ReceiveState.WAITING, "accepted"): ReceiveState.STREAMING,
    (ReceiveState.WAITING, "refused"): ReceiveState.REFUSED,
    (ReceiveState.STREAMING, "receive_data"): ReceiveState.STREAMING,
    (ReceiveState.STREAMING, "receive_end"): ReceiveState.ENDED,
    (ReceiveState.REFUSED, "receive_data"): ReceiveState.REFUSED,
    (ReceiveState.REFUSED, "receive_end"): ReceiveState.FAILED,
    # What trails a failure is of no interest, and no mistake of the caller.
    (ReceiveState.FAILED, "receive_data"): ReceiveState.FAILED,
    (ReceiveState.FAILED, "receive_end"): ReceiveState.FAILED,
    (ReceiveState.FAILED, "accepted"): ReceiveState.FAILED,
    (ReceiveState.FAILED, "refused"): ReceiveState.FAILED,
}


class MedicalStreamProtocol(ABC):
    """The client's side of one stream; every time is `now_ms`, milliseconds since the epoch."""

    accepted_status: ClassVar[int]
    """The HTTP status with which the service accepts a stream; any other is a refusal."""

    def __init__(self, request: StartMedicalStreamTranscriptionRequest) -> None:
        request.validate()
        self._request = request
        self._send = SendState.IDLE
        self._receive = ReceiveState.IDLE
        self._decoder = MessageDecoder()
        self._events: deque[MedicalTranscriptEvent] = deque()
        self._failure: TranscribeError | None = None
        self._refusal = (0, "")
        self._refusal_body = bytearray()
        self.accepted = False  # the service took the stream
        self.session_id = request.session_id
        self.request_id: str | None = None
        self.server_date: str | None = None  # the response's Date header

    @property
    def send_state(self) -> SendState:
        """Where the client's half is."""
        return self._send

    @property
    def receive_state(self) -> ReceiveState:
        """Where the service's half is."""
        return self._receive

    @property
    def finished(self) -> bool:
        """True once nothing more can be received: the service ended, or the stream failed."""
        return self._receive in (ReceiveState.ENDED, ReceiveState.FAILED)

    @property
    def failure(self) -> TranscribeError | None:
        """What the stream failed with."""
        return self._failure

    @property
    def waiting_events(self) -> int:
        """Events received that `next_event` has not given yet."""
        return len(self._events)

    # Sending

    def send_audio(self, audio_chunk: bytes, now_ms: int) -> bytes:
        """The event around a chunk; raises the stream's failure, or `ParameterError` for the chunk's size."""
        send = self._next_send("send_audio")
        if not 0 < len(audio_chunk) <= self.max_chunk_bytes:
            # An empty AudioEvent would end the stream.
            rule = f"a chunk has 1 to {self.max_chunk_bytes} bytes"
            raise ParameterError.of("AudioChunk", f"{len(audio_chunk)} bytes", rule)
        self._check_sendable()
        self._send = send
        return self._seal(audio_chunk, now_ms)

    def end(self, now_ms: int) -> bytes:
        """The event that says no more audio comes; the shell ends its side of an HTTP/2 stream after it."""
        send = self._next_send("end")
        self._check_sendable()
        self._send = send
        return self._seal_end(now_ms)

    @abstractmethod
    def _seal(self, audio_chunk: bytes, now_ms: int) -> bytes:
        """A chunk as it goes on the wire."""

    @abstractmethod
    def _seal_end(self, now_ms: int) -> bytes:
        """The end of the audio as it goes on the wire."""

    def _begin(self) -> None:
        """The request is on its way; raises `IllegalCallError` the second time."""
        send, receive = self._next_send("start"), self._next_receive("start")
        self._send, self._receive = send, receive

    @property
    def max_chunk_bytes(self) -> int:
        """The largest chunk: one second of PCM, 32 KiB of an encoded format."""
        if self._request.media_encoding != "pcm":
            return MAX_ENCODED_CHUNK_BYTES
        return self._request.media_sample_rate_hertz * 2 * (self._request.number_of_channels or 1)

    def _check_sendable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._receive is ReceiveState.ENDED:
            raise StreamEndedError("the service has ended the stream", request_id=self.request_id)

    # Receiving

    def receive_response(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """The response's head, names in lower case; a refusal is complete with `receive_end`."""
        self._receive = self._next_receive("accepted" if status == self.accepted_status else "refused")
        by_name = dict(headers)
        self.request_id = by_name.get("x-amzn-request-id") or by_name.get("x-amzn-requestid")
        given_id = by_name.get(HEADER_PREFIX + "session-id") or by_name.get("x-amzn-sessionid")
        self.session_id = given_id or self.session_id
        self.server_date = by_name.get("date")
        if self._receive is ReceiveState.STREAMING:
            self.accepted = True
        elif self._receive is ReceiveState.REFUSED:
            self._refusal = (status, by_name.get("x-amzn-errortype", ""))

    def receive_data(self, data: bytes) -> None:
        """Bytes of the response body, cut anywhere."""
        self._receive = self._next_receive("receive_data")
        if self._receive is ReceiveState.STREAMING:
            self._decoder.feed(data)
            self._decode()
        elif self._receive is ReceiveState.REFUSED:
            self._refusal_body += data[: MAX_ERROR_BODY_BYTES - len(self._refusal_body)]

    def receive_end(self) -> None:
        """The response is complete."""
        before, self._receive = self._receive, self._next_receive("receive_end")
        if before is ReceiveState.REFUSED:
            self._fail(self._refusal_error())
        elif before is ReceiveState.STREAMING and not self._decoder.at_boundary:
            pending = self._decoder.buffered_bytes
            message = f"the response ended inside a message, {pending} bytes into it"
            self._fail(TruncatedStreamError(message))

    def receive_failure(self, error: TranscribeError) -> None:
        """The transport failed; of no effect once the stream has ended or failed."""
        if self._receive is ReceiveState.REFUSED:
            error = self._refusal_error()  # the status says more than the broken connection after it
        if not self.finished:
            self._fail(error)

    def next_event(self) -> MedicalTranscriptEvent | EndOfStream | None:
        """The next event, `END` after the clean end, None when more bytes are needed; raises the failure."""
        if self._events:
            return self._events.popleft()
        if self._failure is not None:
            raise self._failure
        return EndOfStream.END if self._receive is ReceiveState.ENDED else None

    def _decode(self) -> None:
        try:
            for message in self._decoder:
                results = parse_event(message, self.request_id)
                if results is not None:
                    self._events.append(MedicalTranscriptEvent(results))
        except TranscribeError as error:
            self._fail(error)

    def _fail(self, error: TranscribeError) -> None:
        error.request_id = error.request_id or self.request_id
        self._failure = error
        self._receive = ReceiveState.FAILED

    def _refusal_error(self) -> TranscribeError:
        status, name = self._refusal
        message = message_of(bytes(self._refusal_body)) or f"HTTP status {status}"
        return error_from_code(name, message, http_status=status, request_id=self.request_id)

    def _next_send(self, action: str) -> SendState:
        try:
            return _SEND[self._send, action]
        except KeyError:
            raise IllegalCallError(f"{action} is not possible when sending is {self._send.name}") from None

    def _next_receive(self, action: str) -> ReceiveState:
        try:
            return _RECEIVE[self._receive, action]
        except KeyError:
            raise IllegalCallError(
                f"{action} is not possible when receiving is {self._receive.name}"
            ) from None
