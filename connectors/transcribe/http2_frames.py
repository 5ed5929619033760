"""Takes GOAWAY frames out of received HTTP/2 bytes, before the `h2` library sees them.

A GOAWAY with NO_ERROR announces that a connection takes no new streams while open ones go on (RFC 9113
section 6.8). `h2` closes its whole connection on any GOAWAY (python-hyper/h2 issue 1181), which would cut
off the finals of a stream that the service is about to finish. The splitter passes every other frame on
unchanged and buffers nothing but a partial frame header or a partial GOAWAY.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FRAME_HEADER_BYTES = 9
GOAWAY_FRAME_TYPE = 7
MAX_GOAWAY_BYTES = 16_384  # the largest frame a peer may send us; a longer one is left for h2 to refuse

_GOAWAY = struct.Struct(">II")
_STREAM_ID_MASK = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Goaway:
    """The last stream the peer has processed or will, and HTTP/2's error code (0: no error)."""

    last_stream_id: int
    error_code: int


class GoawaySplitter:
    """`receive_data` gives the bytes to pass on and the GOAWAY frames found among them."""

    def __init__(self) -> None:
        self._held = b""  # the start of a frame that may be a GOAWAY
        self._passing_bytes = 0  # rest of a frame that is being passed on

    def receive_data(self, data: bytes) -> tuple[bytes, list[Goaway]]:
        """Split `data`, cut anywhere."""
        if self._held:
            data, self._held = self._held + data, b""
        goaways: list[Goaway] = []
        kept: list[bytes] = []
        start, position = 0, self._passing_bytes  # data[start:position] is to be passed on
        while position < len(data):
            frame_bytes = self._frame_bytes(data, position)
            if frame_bytes and data[position + 3] != GOAWAY_FRAME_TYPE:
                position += frame_bytes
                continue
            if frame_bytes and frame_bytes - FRAME_HEADER_BYTES > MAX_GOAWAY_BYTES:
                position += frame_bytes
                continue
            kept.append(data[start:position])
            if not frame_bytes or position + frame_bytes > len(data):
                self._held = data[position:]
                start = position = len(data)
                break
            goaways.extend(_parse(data[position + FRAME_HEADER_BYTES : position + frame_bytes]))
            start = position = position + frame_bytes
        self._passing_bytes = position - len(data)
        kept.append(data[start:])
        return b"".join(kept), goaways

    @staticmethod
    def _frame_bytes(data: bytes, position: int) -> int:
        """Length of the frame at `position` with its header, 0 while the header is incomplete."""
        if len(data) - position < FRAME_HEADER_BYTES:
            return 0
        return FRAME_HEADER_BYTES + int.from_bytes(data[position : position + 3], "big")


def _parse(payload: bytes) -> list[Goaway]:
    if len(payload) < _GOAWAY.size:
        return []
    last_stream_id, error_code = _GOAWAY.unpack_from(payload)
    return [Goaway(last_stream_id & _STREAM_ID_MASK, error_code)]
