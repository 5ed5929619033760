"""Follows HTTP/2 frames through bytes cut anywhere, to find the places between two frames. Pure.

Source: RFC 9113 section 4.1: a frame is a header of 9 bytes, the first 3 of them its length, and a payload.
"""

from __future__ import annotations

_HEADER_BYTES = 9


class FrameBoundaries:
    """Feed it a direction of a connection from its first frame on (a server sends no preface before it)."""

    def __init__(self) -> None:
        self._header = b""  # of a frame whose header is not complete
        self._payload_bytes = 0  # still to come of the frame that is passing

    @property
    def at_boundary(self) -> bool:
        """True while everything fed so far is whole frames."""
        return not self._header and not self._payload_bytes

    def advance(self, data: bytes) -> int | None:
        """Follow `data`; returns the first position in it at which a frame ends, None if none does."""
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
            self._payload_bytes = int.from_bytes(self._header[:3], "big")
            self._header = b""
        return min(position + wanted, len(data))
