"""Where the fuzzer starts: rightly made inputs of every target, from the vectors and our own encoders."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from connectors.transcribe.events import encode_audio_event, encode_exception, encode_transcript_event
from connectors.transcribe.eventstream import (
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    Timestamp,
    encode_headers,
    encode_message,
)
from connectors.transcribe.model import PATH, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import presign_websocket
from connectors.transcribe.sigv4 import EventSigner, sign_request
from tests.fuzz.targets import CREDENTIALS, HOST, NOW_MS, REGION, SEED_SIGNATURE

VECTORS = Path(__file__).parents[1] / "vectors"
GOLDEN = base64.b64decode(
    "AAAAUwAAAEP1RHpYBTpkYXRlCAAAAWiXUkMLEDpjaHVuay1zaWduYXR1cmUGACCt6Zy+uymwEK2SrLp/zVBI5eGn83jdBwCaRUBJA+eaDafqjqI="
)
EVERY_TYPE: dict[str, HeaderValue] = {
    "a": True,
    "b": False,
    "c": Int8(1),
    "d": Int16(2),
    "e": Int32(3),
    "f": Int64(4),
    "g": b"bytes",
    "h": "text",
    "i": Timestamp(NOW_MS),
    "j": UUID(int=1),
}
REQUEST = StartMedicalStreamTranscriptionRequest(vocabulary_name="heart", show_speaker_label=True)


def seeds(target: str) -> Iterator[bytes]:
    """Inputs for a target of `targets.TARGETS`."""
    yield from _SEEDS[target]()


def _payloads() -> list[bytes]:
    """The service's own results, compact as on the wire."""
    documents = [json.loads(path.read_text()) for path in sorted(VECTORS.glob("*.json"))]
    return [json.dumps(document, separators=(",", ":")).encode() for document in documents]


def _messages() -> list[bytes]:
    return [
        GOLDEN,
        encode_audio_event(b"ab"),
        encode_transcript_event(),
        encode_exception("BadRequestException", "m"),
        encode_message(EVERY_TYPE, b"payload"),
    ]


def _decoder() -> Iterator[bytes]:
    for message in _messages():
        yield b"\0" + message + message
        yield b"\x07" + message
    block = encode_headers(EVERY_TYPE)
    yield b"\x80" + bytes((len(block),)) + block + b"payload"
    yield b"\x83" + bytes((len(block),)) + block[:-1]


def _events() -> Iterator[bytes]:
    yield from _messages()
    for payload in _payloads():
        yield b"t" + payload
    yield b"x" + b"BadRequestException!" + b'{"Message":"m"}'
    yield b"x" + b"BadRequestException!" + b'{"message":"\\ud800"}'
    yield b"e" + b"InternalFailure: it is broken"


def _presigned() -> Iterator[bytes]:
    url = presign_websocket(HOST, REQUEST, CREDENTIALS, REGION, NOW_MS)
    yield url.partition("?")[2].encode()


def _authorization() -> Iterator[bytes]:
    signed = sign_request("POST", HOST, PATH, REQUEST.to_headers(), CREDENTIALS, REGION, NOW_MS)
    headers = signed.headers
    names = ("authorization", "x-amz-date", "host", "x-amz-content-sha256")
    yield "\0".join(headers[name] for name in names).encode()


def _parameters() -> Iterator[bytes]:
    pairs = {name.removeprefix("x-amzn-transcribe-"): value for name, value in REQUEST.to_headers().items()}
    standard = {
        "identify-language": "true",
        "language-options": "en-US,de-DE",
        "vocabulary-filter-method": "mask",
    }
    for given in (pairs, pairs | {"language-code": ""} | standard):
        yield "\n".join(f"{name}={value}" for name, value in given.items()).encode()


def _step(operation: int, argument: bytes = b"") -> bytes:
    return bytes((operation, len(argument))) + argument


def _stream() -> Iterator[bytes]:
    usual = _step(1, b"ab") + _step(9, b"?one|one two .") + _step(2, b"cdef") + _step(5) + _step(10)
    for chosen in range(11):
        yield b"\0" + bytes((chosen,)) + usual + _step(8, b"\1\0\0")
    yield b"\x80\xff" + _step(1, b"aabb") + _step(9, b"one|two|?three") + _step(7) + _step(11)
    signer = EventSigner(CREDENTIALS, REGION, SEED_SIGNATURE)
    event = signer.sign(encode_audio_event(b"ab"), NOW_MS)
    yield b"\0\xff" + _step(0, event[:90]) + _step(0, event[90:]) + _step(6, NOW_MS.to_bytes(8, "big") + b"x")
    yield b"\0\xff" + _step(0, encode_audio_event(b"ab")) + _step(4, GOLDEN) + _step(3, b"")


def _faults() -> Iterator[bytes]:
    yield b'[{"kind": "reset", "after_partials": 2}, {"kind": "stall", "seconds": 4.5, "times": null}]'
    yield b"kind=goaway,error_code=11,running=true,vocabulary_name=heart,skip_streams=1"


def _frames() -> Iterator[bytes]:
    def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload

    plain = frame(4, b"") + frame(1, b"headers", 4) + frame(7, bytes(8)) + frame(0, b"data", 1)
    yield b"\0" + plain
    yield b"\5" + plain + frame(1, b"headers") + frame(9, b"more", 4) + b"\xff\xff\xff\7\0" + bytes(4)


def _http2_client() -> Iterator[bytes]:
    for event in (encode_transcript_event(), encode_exception("BadRequestException", "synthetic")):
        yield b"\0" + len(event).to_bytes(3, "big") + b"\0\1\0\0\0\1" + event


def _websocket_client() -> Iterator[bytes]:
    yield b"\0HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}"
    yield b"\7HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x82\0"


_SEEDS = {
    "decoder": _decoder,
    "events": _events,
    "presigned": _presigned,
    "authorization": _authorization,
    "parameters": _parameters,
    "signed_stream": _stream,
    "plain_stream": _stream,
    "faults": _faults,
    "frames": _frames,
    "http2_client": _http2_client,
    "websocket_client": _websocket_client,
}
