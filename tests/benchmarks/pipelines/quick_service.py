"""A process that takes streams as the service does and answers at fixed moments of the audio, cheaply.

It stands in for the service in benchmarks of whole pipelines: the local endpoint checks every signature, and
would need more CPU than the pipelines that are measured. HTTP/2 in cleartext with prior knowledge, no
verification: of a message only its length is looked at. Every pipeline of a run talks to the same one.

A stream gets a partial result each half second of audio and a final of 15 words each four seconds. The first
word of a final is the moment of its sending (`moment_of`), so that whoever reads it knows how long it took.
All text is synthetic.

    python -m tests.benchmarks.pipelines.quick_service READY_FILE
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import struct
import sys
import time
from pathlib import Path

import hpack
import orjson

from connectors.transcribe.events import CONTENT_TYPE
from connectors.transcribe.eventstream import encode_headers, frame
from connectors.transcribe.model import HEADER_PREFIX

PARTIAL_SECONDS = 0.5
FINAL_SECONDS = 4.0
WORDS = 15
_BYTES_PER_SECOND = 2

_PREFACE_BYTES = 24
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACK = END_STREAM = 0x1
_END_HEADERS = 0x4
_WINDOW = 2**31 - 1
_INITIAL_WINDOW_SIZE = 0x4
_REFILL_BYTES = 8 * 1024 * 1024
_EVENT_HEADERS = encode_headers(
    {":event-type": "TranscriptEvent", ":content-type": "application/json", ":message-type": "event"}
)
_MOMENT = "sent"


def moment_of(word: str) -> float | None:
    """When the final with this first word was sent, in Unix seconds; None for another word."""
    return int(word.removeprefix(_MOMENT)) / 1e6 if word.startswith(_MOMENT) else None


class Transcript:
    """What one stream is told, by the seconds of audio that have come."""

    def __init__(self) -> None:
        self._partial_at = PARTIAL_SECONDS
        self._final_at = FINAL_SECONDS
        self._began_at = 0.0

    def events(self, seconds: float) -> list[bytes]:
        """The messages that are due once there are so many seconds."""
        found = []
        while self._partial_at <= seconds:
            end = self._partial_at
            self._partial_at += PARTIAL_SECONDS
            if end < self._final_at:
                found.append(self._event(end, partial=True))
            else:
                found.append(self._event(end, partial=False))
                self._began_at, self._final_at = end, self._final_at + FINAL_SECONDS
        return found

    def rest(self, seconds: float) -> list[bytes]:
        """What is still to be said when the audio has ended after `seconds`."""
        return [self._event(seconds, partial=False)] if seconds > self._began_at else []

    def _event(self, end: float, *, partial: bool) -> bytes:
        begin = self._began_at
        count = max(1, round(WORDS * (end - begin) / FINAL_SECONDS))
        step = (end - begin) / count
        first = "synthetic" if partial else f"{_MOMENT}{time.time_ns() // 1000}"
        words = [first, *("synthetic" for _ in range(count - 1))]
        items = [
            {
                "StartTime": round(begin + n * step, 3),
                "EndTime": round(begin + (n + 1) * step, 3),
                "Type": "pronunciation",
                "Content": word,
                "Confidence": 0.99,
            }
            for n, word in enumerate(words)
        ]
        result = {
            "ResultId": f"r{begin:.1f}",
            "StartTime": round(begin, 3),
            "EndTime": round(end, 3),
            "IsPartial": partial,
            "Alternatives": [{"Transcript": " ".join(words), "Items": items}],
        }
        return frame(_EVENT_HEADERS, orjson.dumps({"Transcript": {"Results": [result]}}))


class Connection(asyncio.Protocol):
    """One connection with one stream."""

    numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._frames, self._messages = bytearray(), bytearray()
        self._preface = True
        self._hpack = hpack.Decoder()
        self._transcript = Transcript()
        self._audio_bytes = self._received_bytes = 0
        self._rate_hertz = 16_000
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WINDOW)
        self._transport.write(_frame(_SETTINGS, 0, 0, settings) + _window_update(0, _WINDOW - 65_535))

    def data_received(self, data: bytes) -> None:
        frames = self._frames
        frames += data
        at = 0
        if self._preface:
            if len(frames) < _PREFACE_BYTES:
                return
            self._preface, at = False, _PREFACE_BYTES
        while len(frames) - at >= 9:
            end = at + 9 + int.from_bytes(frames[at : at + 3], "big")
            if len(frames) < end:
                break
            self._take(frames[at + 3], frames[at + 4], bytes(frames[at + 9 : end]))
            at = end
        del frames[:at]

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(payload, bool(flags & END_STREAM))
        elif kind == _HEADERS:
            self._respond(payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))

    def _respond(self, block: bytes) -> None:
        request = dict(self._hpack.decode(block))
        self._rate_hertz = int(request[HEADER_PREFIX + "sample-rate"])
        headers = [
            (":status", "200"),
            ("content-type", CONTENT_TYPE),
            ("x-amzn-request-id", f"request-{next(self.numbers)}"),
            (HEADER_PREFIX + "session-id", request[HEADER_PREFIX + "session-id"]),
        ]
        self._transport.write(_frame(_HEADERS, _END_HEADERS, 1, hpack.Encoder().encode(headers)))

    def _take_data(self, payload: bytes, is_last: bool) -> None:
        self._received_bytes += len(payload)
        if self._received_bytes >= _REFILL_BYTES:
            for stream in (0, 1):
                self._transport.write(_window_update(stream, self._received_bytes))
            self._received_bytes = 0
        messages = self._messages
        messages += payload
        at = 0
        while len(messages) - at >= 8:
            total, headers = struct.unpack_from(">II", messages, at)
            if len(messages) - at < total:
                break
            # Its payload is the signed event, itself a message around the audio; none ends the stream.
            start = at + 12 + headers
            if total > headers + 16:
                size, inner = struct.unpack_from(">II", messages, start)
                self._audio_bytes += size - inner - 16
            at += total
        del messages[:at]
        seconds = self._audio_bytes / _BYTES_PER_SECOND / self._rate_hertz
        said = self._transcript.events(seconds)
        if is_last:
            said += self._transcript.rest(seconds)
        if said or is_last:
            self._transport.write(_frame(_DATA, END_STREAM if is_last else 0, 1, b"".join(said)))


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload


def _window_update(stream_id: int, size: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, stream_id, struct.pack(">I", size))


async def serve(ready_file: Path) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    unfinished = ready_file.with_suffix(".part")
    unfinished.write_text(f"http://127.0.0.1:{port}", encoding="utf-8")
    unfinished.rename(ready_file)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    gc.freeze()
    asyncio.run(serve(Path(sys.argv[1])))
