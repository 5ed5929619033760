"""The targets: a function of bytes each. What it lets through is a defect.

Inputs are cut into pieces by their own first byte, so that the fuzzer finds what depends on where data is
cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import parse_qsl

from connectors.transcribe.errors import (
    AuthorizationFormatError,
    EventStreamError,
    ResultFormatError,
    TranscribeError,
)
from connectors.transcribe.events import parse_event
from connectors.transcribe.eventstream import (
    MAX_HEADERS_BYTES,
    MAX_PAYLOAD_BYTES,
    MessageDecoder,
    decode_message,
    encode_message,
)
from connectors.transcribe.http2_connection import Http2Connection
from connectors.transcribe.http2_frames import FrameFilter
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest, parse_transcript_event
from connectors.transcribe.presigned import parse_presigned
from connectors.transcribe.protocol import EndOfStream, MedicalStreamProtocol
from connectors.transcribe.sigv4 import Credentials, EventSigner, parse_authorization, sign_request
from connectors.transcribe.websocket_connection import WebSocketConnection
from connectors.transcribe.websocket_protocol import WebSocketStreamProtocol
from deploy.local.transcribe.audio_events import PlainAudioEvents, SignedAudioEvents
from deploy.local.transcribe.authentication import Keyring, SignedHttpRequest
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.http2_boundaries import FrameBoundaries
from deploy.local.transcribe.operations import OPERATIONS
from deploy.local.transcribe.stream import StreamSettings, TranscriptionStream

NOW_MS = 1_795_453_475_575
CREDENTIALS = Credentials("AKIDSYNTHETIC", "synthetic secret")
REQUEST = StartMedicalStreamTranscriptionRequest()
HEADERS = {":message-type": "event", ":event-type": "TranscriptEvent", ":content-type": "application/json"}


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` without its first byte, in pieces of that many bytes (0: in one)."""
    size = data[0] if data and data[0] else len(data) or 1
    return (data[start : start + size] for start in range(1, len(data), size))


def decoder(data: bytes) -> None:
    """Bytes of a response: messages or the codec's own error, and no more held than was given."""
    messages = MessageDecoder()
    with suppress(EventStreamError):
        for piece in pieces(data):
            messages.feed(piece)
            for message in messages:
                assert len(message.payload) <= MAX_PAYLOAD_BYTES
    assert messages.buffered_bytes <= min(len(data), MAX_HEADERS_BYTES + MAX_PAYLOAD_BYTES + 16)


def event(data: bytes) -> None:
    """A message of any headers to results or a typed error."""
    with suppress(TranscribeError):
        parse_event(decode_message(data))


def result(data: bytes) -> None:
    """The JSON of a transcript event."""
    with suppress(ResultFormatError):
        parse_transcript_event(data)
    with suppress(TranscribeError):
        parse_event(decode_message(encode_message(HEADERS, data)))


def authorization(data: bytes) -> None:
    """An `Authorization` header."""
    with suppress(AuthorizationFormatError):
        parse_authorization(data.decode("latin-1"))


def presigned(data: bytes) -> None:
    """The query of a WebSocket's URL, taken apart and then verified."""
    query = data.decode("latin-1")
    with suppress(AuthorizationFormatError, ValueError):
        parse_presigned(parse_qsl(query, keep_blank_values=True))
    keyring = Keyring("us-east-1", {CREDENTIALS.access_key_id: CREDENTIALS.secret_access_key})
    request = SignedHttpRequest("GET", "/medical-stream-transcription-websocket", query, {"host": "x:8443"})
    with suppress(ServiceFault):
        keyring.verify_presigned(request, NOW_MS)


def operation(data: bytes) -> None:
    """Request parameters of every operation."""
    lines = (line.partition(":") for line in data.decode("latin-1").splitlines())
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    for one in OPERATIONS.values():
        with suppress(ServiceFault):
            one.read(headers)


def endpoint_signed(data: bytes) -> None:
    """The body of a request to the endpoint: first as it is, then as what a client with the key signed."""
    signed = sign_request("POST", "x", "/medical-stream-transcription", {}, CREDENTIALS, "us-east-1", NOW_MS)
    keyring = Keyring("us-east-1", {CREDENTIALS.access_key_id: CREDENTIALS.secret_access_key})
    request = SignedHttpRequest("POST", "/medical-stream-transcription", "", dict(signed.headers))
    signer = EventSigner(CREDENTIALS, "us-east-1", signed.seed_signature)
    for body in (list(pieces(data)), [signer.sign(piece, NOW_MS) for piece in pieces(data)]):
        _serve(
            TranscriptionStream(
                StreamSettings(16_000),
                SignedAudioEvents(keyring.verify_request(request, NOW_MS)),
                (),
                lambda: "result",
                NOW_MS,
            ),
            body,
        )


def endpoint_plain(data: bytes) -> None:
    """The messages of a WebSocket to the endpoint."""
    stream = TranscriptionStream(StreamSettings(16_000), PlainAudioEvents(), (), lambda: "result", NOW_MS)
    _serve(stream, list(pieces(data)))


def _serve(stream: TranscriptionStream, body: list[bytes]) -> None:
    stream.start()
    for piece in body:
        stream.receive_data(piece, NOW_MS)
    stream.receive_end()
    stream.recognition_finished()


def frames(data: bytes) -> None:
    """HTTP/2 frames as both ends follow them: nothing is lost but GOAWAY, and no more held than a header."""
    cut = list(pieces(data))
    follower = FrameBoundaries()
    for piece in cut:
        boundary = follower.advance(piece)
        assert boundary is None or 0 <= boundary <= len(piece)
    frame_filter = FrameFilter()
    kept = b"".join(frame_filter.receive_data(piece)[0] for piece in cut)
    assert len(kept) <= sum(map(len, cut))


def http2_client(data: bytes) -> None:
    """What a server answers over HTTP/2: results, or one typed failure."""
    protocol = Http2StreamProtocol(REQUEST, CREDENTIALS, authority="x", region="us-east-1")
    connection = Http2Connection(protocol)
    connection.start(NOW_MS)
    connection.data_to_send()
    # The server's settings and the head of a 200, so that the fuzzer need not find them.
    connection.receive_data(bytes.fromhex("00000004000000000000000101040000000188"))
    _receive(protocol, connection, data)


def websocket_client(data: bytes) -> None:
    """What a server answers over a WebSocket, from the first byte of its answer on."""
    protocol = WebSocketStreamProtocol(REQUEST, CREDENTIALS, authority="x:8443", region="us-east-1")
    connection = WebSocketConnection(protocol, "x", 8443, secure=True)
    connection.start(NOW_MS)
    connection.data_to_send()
    _receive(protocol, connection, data)


def _receive(
    protocol: MedicalStreamProtocol, connection: Http2Connection | WebSocketConnection, data: bytes
) -> None:
    with suppress(TranscribeError):
        for piece in pieces(data):
            connection.receive_data(piece)
            while protocol.next_event() not in (None, EndOfStream.END):
                connection.acknowledge()
            connection.data_to_send()
    connection.connection_lost(None)
    connection.abandon()
    assert protocol.finished


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        decoder,
        event,
        result,
        authorization,
        presigned,
        operation,
        endpoint_signed,
        endpoint_plain,
        frames,
        http2_client,
        websocket_client,
    )
}
