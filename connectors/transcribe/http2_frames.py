"""Looks at received HTTP/2 bytes before the `h2` library: takes GOAWAY frames out, stops at overlong ones.

A GOAWAY with NO_ERROR announces that a connection takes no new streams while open ones go on (RFC 9113
section 6.8). `h2` closes its whole connection on any GOAWAY (python-hyper/h2 issue 1181), which would cut
off the finals of a stream that the service is about to finish. And `h2` collects a frame of up to 16 MiB
before it refuses its length, so a peer that speaks no HTTP/2 at all would be waited for until a timeout.

`FrameFilter` passes every other frame on unchanged and holds nothing but a partial header or GOAWAY.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FRAME_HEADER_BYTES = 9
MAX_FRAME_BYTES = 16_384  # what a peer may send unless SETTINGS_MAX_FRAME_SIZE is raised, and we do not
GOAWAY_FRAME_TYPE = 7

_GOAWAY = struct.Struct(">II")
_STREAM_ID_MASK = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Goaway:
    """The last stream the peer has processed or will, and HTTP/2's error code (0: no error)."""

    last_stream_id: int
    error_code: int


class FrameFilter:
    """`receive_data` gives the bytes to pass on and the GOAWAY frames found among them.

    `overlong_frame_bytes` is the length of a frame above the limit, 0 for none; from it on all is dropped.
    """

    def __init__(self) -> None:
        self._held = b""  # a partial frame header, or a partial GOAWAY
        self._passing_bytes = 0  # rest of a frame that is being passed on
        self.overlong_frame_bytes = 0

    def receive_data(self, data: bytes) -> tuple[bytes, list[Goaway]]:
        """Filter `data`, cut anywhere."""
        if self._held:
            data, self._held = self._held + data, b""
        goaways: list[Goaway] = []
        kept: list[bytes] = []
        start, position = 0, self._passing_bytes  # data[start:position] is to be passed on
        while position < len(data):
            end = self._frame_end(data, position)
            if end and data[position + 3] != GOAWAY_FRAME_TYPE:
                position = end
                continue
            kept.append(data[start:position])
            if not 0 < end <= len(data):  # incomplete
                self._held = b"" if self.overlong_frame_bytes else data[position:]
                start = position = len(data)
            else:
                goaways.extend(_parse(data[position + FRAME_HEADER_BYTES : end]))
                start = position = end
        self._passing_bytes = position - len(data)
        kept.append(data[start:])
        return b"".join(kept), goaways

    def _frame_end(self, data: bytes, position: int) -> int:
        """Where the frame at `position` ends, beyond `data` perhaps; 0 while its header is of no use."""
        if self.overlong_frame_bytes or len(data) - position < FRAME_HEADER_BYTES:
            return 0
        frame_bytes = int.from_bytes(data[position : position + 3], "big")
        if frame_bytes > MAX_FRAME_BYTES:
            self.overlong_frame_bytes = frame_bytes
            return 0
        return position + FRAME_HEADER_BYTES + frame_bytes


def _parse(payload: bytes) -> list[Goaway]:
    if len(payload) < _GOAWAY.size:
        return []
    last_stream_id, error_code = _GOAWAY.unpack_from(payload)
    return [Goaway(last_stream_id & _STREAM_ID_MASK, error_code)]
