"""Follows HTTP/2 frames through bytes cut anywhere, to find the places where another frame may go. Pure.

That is between two frames, but not within a header block: HEADERS or PUSH_PROMISE and the CONTINUATION frames
after it, up to the one with END_HEADERS, belong together.

Source: RFC 9113 sections 4.1 (a frame is a header of 9 bytes, the first 3 of them its length, then type and
flags, and a payload), 4.3 and 6.10.
"""

from __future__ import annotations

_HEADER_BYTES = 9
_HEADER_BLOCK_TYPES = (1, 5, 9)  # HEADERS, PUSH_PROMISE, CONTINUATION
_END_HEADERS = 0x4


class FrameBoundaries:
    """Feed it a direction of a connection from its first frame on (a server sends no preface before it)."""

    def __init__(self) -> None:
        self._header = b""  # of a frame whose header is not complete
        self._payload_bytes = 0  # still to come of the frame that is passing
        self._in_header_block = False

    @property
    def at_boundary(self) -> bool:
        """True while everything fed so far is whole frames and whole header blocks."""
        return not (self._header or self._payload_bytes or self._in_header_block)

    def advance(self, data: bytes) -> int | None:
        """Follow `data`; returns the position of the first boundary it reaches, None if it reaches none."""
        first: int | None = None
        position = 0
        while position < len(data):
            position = self._step(data, position)
            if first is None and self.at_boundary:
                first = position
        return first

    def _step(self, data: bytes, position: int) -> int:
        """Take the rest of a payload, or of a header; the position after it."""
        if self._payload_bytes:
            taken = min(self._payload_bytes, len(data) - position)
            self._payload_bytes -= taken
            return position + taken
        wanted = _HEADER_BYTES - len(self._header)
        self._header += data[position : position + wanted]
        if len(self._header) == _HEADER_BYTES:
            self._enter_frame(self._header)
            self._header = b""
        return min(position + wanted, len(data))

    def _enter_frame(self, header: bytes) -> None:
        self._payload_bytes = int.from_bytes(header[:3], "big")
        kind, flags = header[3], header[4]
        self._in_header_block = kind in _HEADER_BLOCK_TYPES and not flags & _END_HEADERS
