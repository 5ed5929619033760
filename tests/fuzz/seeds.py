"""Inputs to begin with: the service's own events and what our client writes; all synthetic or published."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from connectors.transcribe.events import encode_audio_event, encode_exception, encode_transcript_event
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest, parse_transcript_event
from connectors.transcribe.presigned import presign_websocket
from connectors.transcribe.sigv4 import Credentials, sign_request

VECTORS = Path(__file__).parents[1] / "vectors"
NOW_MS = 1_795_453_475_575
_CREDENTIALS = Credentials("AKIDSYNTHETIC", "synthetic secret", "synthetic token")
_SIGNED_END = b64decode(  # published in the developer guide
    "AAAAUwAAAEP1RHpYBTpkYXRlCAAAAWiXUkMLEDpjaHVuay1zaWduYXR1cmUGACCt6Zy+uymwEK2SrLp/zVBI5eGn83jdBwCaRUBJA+eaDafqjqI="
)


def seeds(target: str) -> list[bytes]:
    """The corpus of a target."""
    payloads = [path.read_bytes() for path in sorted(VECTORS.glob("*-result.json"))]
    events = [encode_transcript_event(parse_transcript_event(payload)) for payload in payloads]
    events += [encode_transcript_event(), encode_exception("BadRequestException", "synthetic"), _SIGNED_END]
    request = StartMedicalStreamTranscriptionRequest(vocabulary_name="synthetic")
    query = presign_websocket("x:8443", request, _CREDENTIALS, "us-east-1", NOW_MS).partition("?")[2]
    signed = sign_request("POST", "x", "/", {}, _CREDENTIALS, "us-east-1", NOW_MS)
    headers = "\n".join(f"{name}: {value}" for name, value in request.to_headers().items())
    audio = [encode_audio_event(bytes(320)), encode_audio_event(b"")]
    wire = [b"\x00" + data for data in [*events, *audio, b"".join(events)]]
    frames = [bytes((0, 0, len(data) >> 8, len(data) & 255, 0, 0, 0, 0, 0, 1)) + data for data in events]
    return {
        "event": events,
        "result": payloads,
        "authorization": [signed.headers["authorization"].encode()],
        "presigned": [query.encode()],
        "operation": [headers.encode()],
        "frames": frames,
        "http2_client": frames,
        "websocket_client": [b"\x00HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}"],
    }.get(target, wire)
