"""What is fuzzed: each target takes arbitrary bytes and may raise nothing but what it says.

Anything else, an error of another kind, a broken promise or memory without end, is a finding. `atheris` feeds
the targets and follows the branches of our packages; these functions need nothing of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import parse_qsl
from zlib import crc32

from connectors.transcribe.errors import (
    AuthorizationFormatError,
    EventStreamError,
    TranscribeError,
)
from connectors.transcribe.events import encode_audio_event, parse_event
from connectors.transcribe.eventstream import Message, MessageDecoder, decode_message, encode_message
from connectors.transcribe.http2_frames import FrameFilter, Goaway
from connectors.transcribe.model import PATH, MedicalTranscriptEvent, parse_transcript_event
from connectors.transcribe.presigned import WEBSOCKET_PATH, parse_presigned
from connectors.transcribe.sigv4 import Credentials, EventSigner, format_authorization, parse_authorization
from deploy.local.transcribe.audio_events import PlainAudioEvents, SignedAudioEvents
from deploy.local.transcribe.authentication import EventVerifier, Keyring, SignedHttpRequest
from deploy.local.transcribe.commands import Command, EndResponse, Recognise
from deploy.local.transcribe.errors import FaultError, ServiceFault
from deploy.local.transcribe.faults import FaultRule, parse_fault_option, read_faults
from deploy.local.transcribe.http2_boundaries import FrameBoundaries
from deploy.local.transcribe.operations import OPERATIONS
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.stream import StreamSettings, TranscriptionStream
from tests.fuzz.client_targets import http2_client, websocket_client

Target = Callable[[bytes], None]

REGION = "us-east-1"
CREDENTIALS = Credentials("AKIDFUZZ", "a secret of the fuzzer")
KEYRING = Keyring(REGION, {CREDENTIALS.access_key_id: CREDENTIALS.secret_access_key})
NOW_MS = 1_795_453_475_575  # 2026-11-23T17:04:35.575Z
SEED_SIGNATURE = "0" * 64
HOST = "localhost:8443"


def pieces(data: bytes) -> Iterator[bytes]:
    """The data after its first byte, which says how large the pieces are (0: one)."""
    size = data[0] if data and data[0] else len(data) or 1
    for start in range(1, len(data), size):
        yield data[start : start + size]


# The event stream -----------------------------------------------------------------------------------------


def decoder(data: bytes) -> None:
    """Messages from bytes in pieces; what was decoded is encoded to the same bytes."""
    wire = data if data[:1] < b"\x80" else data[:1] + _sealed_message(data[1:])
    found, consumed = MessageDecoder(), 1
    try:
        for piece in pieces(wire):
            found.feed(piece)
            for message in found:
                again = encode_message(message.headers, message.payload)
                assert again == wire[consumed : consumed + len(again)]
                consumed += len(again)
        assert found.buffered_bytes == max(len(wire), 1) - consumed
    except EventStreamError:
        found.feed(wire)
        assert found.buffered_bytes <= len(wire)


def _sealed_message(data: bytes) -> bytes:
    """A message with right lengths and checksums: the first byte says how many of the others are headers."""
    headers, payload = data[1 : 1 + data[0]] if data else b"", data[1 + data[0] :] if data else b""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def events(data: bytes) -> None:
    """A message from the service: with headers of its own, or a transcript, an exception, an error."""
    try:
        message = _message(data)
        results = parse_event(message)
    except TranscribeError as error:
        str(error).encode()
    else:
        if results is not None:
            again = parse_transcript_event(MedicalTranscriptEvent(results).to_payload())
            assert again == results
            repr(results)


def _message(data: bytes) -> Message:
    kind, rest = data[:1], data[1:]
    if kind == b"t":
        return Message({":message-type": "event", ":event-type": "TranscriptEvent"}, rest)
    if kind == b"x":
        name = rest[:20].decode("utf-8", "replace")
        return Message({":message-type": "exception", ":exception-type": name}, rest[20:])
    if kind == b"e":
        text = rest.decode("utf-8", "replace")
        return Message({":message-type": "error", ":error-code": text[:9], ":error-message": text}, b"")
    return decode_message(data)


# Signatures -----------------------------------------------------------------------------------------------


def presigned(data: bytes) -> None:
    """A query, taken apart by itself and verified by the endpoint."""
    query = data.decode("latin-1")
    try:
        parse_presigned(parse_qsl(query, keep_blank_values=True))
    except AuthorizationFormatError as error:
        str(error).encode()
    try:
        request = SignedHttpRequest("GET", WEBSOCKET_PATH, query, {"host": HOST})
        KEYRING.verify_presigned(request, NOW_MS)
    except ServiceFault as fault:
        fault.message.encode()


def authorization(data: bytes) -> None:
    """An `Authorization` header by itself; with other headers, after NULs, as the endpoint verifies it."""
    value, *others = data.decode("latin-1").split("\0")
    try:
        parsed = parse_authorization(value)
        assert parse_authorization(format_authorization(parsed)) == parsed
    except AuthorizationFormatError:
        pass
    names = ("x-amz-date", "host", "x-amz-content-sha256", "x-amz-security-token")
    headers = {"authorization": value, **dict(zip(names, others, strict=False))}
    try:
        KEYRING.verify_request(SignedHttpRequest("POST", PATH, "", headers), NOW_MS)
    except ServiceFault as fault:
        fault.message.encode()


def parameters(data: bytes) -> None:
    """Parameters of each operation, as `name=value` lines; nothing is echoed that was not sent."""
    pairs = (line.partition("=") for line in data.decode("latin-1").split("\n"))
    headers = {f"x-amzn-transcribe-{name}": value for name, _, value in pairs}
    for operation in OPERATIONS.values():
        try:
            stream = operation.read(headers)
        except ServiceFault as fault:
            fault.message.encode()
        else:
            assert set(stream.echoed) <= set(headers)


# The endpoint ---------------------------------------------------------------------------------------------


def signed_stream(data: bytes) -> None:
    """A stream over HTTP/2: the data is what a client and its recognisers do, some of it signed rightly."""
    verifier = EventVerifier(REGION, CREDENTIALS.secret_access_key, SEED_SIGNATURE)
    signer = EventSigner(CREDENTIALS, REGION, SEED_SIGNATURE)
    _play(data, TranscriptionStream(*_settings(data), SignedAudioEvents(verifier), *_rest(data)), signer)


def plain_stream(data: bytes) -> None:
    """A stream over a WebSocket, whose events are not signed."""
    _play(data, TranscriptionStream(*_settings(data), PlainAudioEvents(), *_rest(data)), None)


def _settings(data: bytes) -> tuple[StreamSettings]:
    channel_ids: tuple[str | None, ...] = ("ch_0", "ch_1") if data[:1] > b"\x7f" else (None,)
    return (StreamSettings(8000, channel_ids, show_speaker_label=True, identify_phi=True),)


def _rest(data: bytes) -> tuple[list[FaultRule], Callable[[], str], int]:
    """The fault that the second byte chooses, if any."""
    chosen = data[1] if len(data) > 1 else 255
    rules = [f"kind={kind},after_partials={chosen % 3}" for kind in _STREAM_FAULTS]
    faults = [parse_fault_option(rules[chosen])] if chosen < len(rules) else []
    return [FaultRule(fault) for fault in faults], lambda: "result-id", NOW_MS


_STREAM_FAULTS = (
    "exception",
    "clean_end",
    "truncate",
    "bad_crc",
    "split",
    "stall,seconds=2",
    "slow_read",
    "reset",
    "goaway",
    "disconnect",
)


def _play(data: bytes, stream: TranscriptionStream, signer: EventSigner | None) -> None:
    """One step for each operation: a byte that says which, a byte for its length, and so many bytes."""
    stream.start()
    now_ms, position, channels = NOW_MS, 2, 2 if data[:1] > b"\x7f" else 1
    ended = False
    while position < len(data):
        operation = data[position]
        size = data[position + 1] if position + 1 < len(data) else 0
        argument = data[position + 2 : position + 2 + size]
        position += 2 + size
        now_ms += size
        commands = _step(stream, operation % 12, argument, now_ms, signer, channels)
        assert not (ended and any(isinstance(command, Recognise) for command in commands))
        ended = ended or any(isinstance(command, EndResponse) for command in commands)


def _step(
    stream: TranscriptionStream,
    operation: int,
    argument: bytes,
    now_ms: int,
    signer: EventSigner | None,
    channels: int,
) -> list[Command]:
    match operation:
        case 0:
            return stream.receive_data(argument, now_ms)
        case 1 | 2 | 3:
            return stream.receive_data(
                _sealed(encode_audio_event(argument * operation), now_ms, signer), now_ms
            )
        case 4:
            return stream.receive_data(_sealed(argument, now_ms, signer), now_ms)
        case 5:
            return stream.receive_data(_sealed(b"", now_ms, signer), now_ms)
        case 6:
            date_ms = int.from_bytes(argument[:8], "big", signed=True)
            return stream.receive_data(_sealed(argument[8:], date_ms, signer), now_ms)
        case 7:
            return stream.receive_end()
        case 8:
            return stream.handle_timeout(now_ms + int.from_bytes(argument[:3], "big"))
        case 9:
            return stream.receive_segments(len(argument) % channels, list(_segments(argument)))
        case 10:
            return stream.recognition_finished()
    return stream.recognition_failed()


def _sealed(inner: bytes, date_ms: int, signer: EventSigner | None) -> bytes:
    return inner if signer is None else signer.sign(inner, date_ms)


def _segments(argument: bytes) -> Iterator[Segment]:
    for number, text in enumerate(argument.decode("utf-8", "replace").split("|")):
        words = tuple(
            Word(word, float(at), at + 0.5, None if text[:1] == "?" else 0.9, is_punctuation=word in ".,")
            for at, word in enumerate(text.split())
        )
        yield Segment(number // 2, text[:1] == "?", 0.0, float(len(words)), words)


def faults(data: bytes) -> None:
    """Fault rules, as JSON and as the command line has them."""
    try:
        read_faults(data)
    except FaultError as error:
        str(error).encode()
    try:
        parse_fault_option(data.decode("latin-1"))
    except FaultError as error:
        str(error).encode()


# HTTP/2 frames --------------------------------------------------------------------------------------------


def frames(data: bytes) -> None:
    """Frames in pieces: the filter and the boundaries say the same however the bytes are cut."""
    whole_filter, cut_filter = FrameFilter(), FrameFilter()
    whole = whole_filter.receive_data(data[1:])
    kept, goaways = b"", list[Goaway]()
    for piece in pieces(data):
        more, found = cut_filter.receive_data(piece)
        kept += more
        goaways += found
    assert (kept, goaways) == whole
    assert cut_filter.overlong_frame_bytes == whole_filter.overlong_frame_bytes
    _check_boundaries(data[1:], [len(piece) for piece in pieces(data)])


def _check_boundaries(data: bytes, sizes: list[int]) -> None:
    byte_by_byte, in_pieces = FrameBoundaries(), FrameBoundaries()
    found = [at + 1 for at in range(len(data)) if byte_by_byte.advance(data[at : at + 1]) is not None]
    edges = [0]
    for size in sizes:
        edges.append(edges[-1] + size)
    for start, end in pairwise(edges):
        expected = next((at - start for at in found if start < at <= end), None)
        assert in_pieces.advance(data[start:end]) == expected
        assert in_pieces.at_boundary == (not end or end in found)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        decoder,
        events,
        presigned,
        authorization,
        parameters,
        signed_stream,
        plain_stream,
        faults,
        frames,
        http2_client,
        websocket_client,
    )
}
