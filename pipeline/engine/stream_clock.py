"""From the service's time to the session's: where on the session's timeline a moment of one stream lies.

The service counts from 0 on each stream, over the audio it was sent. That audio begins somewhere on the
session's timeline, and it may leave parts of the timeline out: a gap whose silence was not sent. Each such
place is an anchor `(stream time, session time)`; between two anchors both run alike.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

_ROUNDING_SECONDS = 0.0051  # the service rounds its times to hundredths
_ANCHORS_KEPT = 1024  # results never reach back that many gaps


class StreamClock:
    """Begins at `session_seconds`; `jump` adds an anchor."""

    def __init__(self, session_seconds: float = 0.0) -> None:
        self._stream = [0.0]
        self._session = [session_seconds]

    def jump(self, stream_seconds: float, session_seconds: float) -> None:
        """From `stream_seconds` on, not before the last anchor, the audio is that of `session_seconds`."""
        if stream_seconds <= self._stream[-1]:
            self._session[-1] = session_seconds
            return
        self._stream.append(stream_seconds)
        self._session.append(session_seconds)
        if len(self._stream) > _ANCHORS_KEPT:
            del self._stream[0], self._session[0]

    @property
    def same(self) -> bool:
        """Whether both times have always been the same: the session's first stream, without a gap."""
        return len(self._stream) == 1 and self._session[0] == 0.0

    def start(self, stream_seconds: float) -> float:
        """The session's time at which something begins; at an anchor it belongs to what follows."""
        return self._place(bisect_right(self._stream, stream_seconds + _ROUNDING_SECONDS), stream_seconds)

    def end(self, stream_seconds: float) -> float:
        """The session's time at which something ends; at an anchor it belongs to what went before."""
        return self._place(bisect_left(self._stream, stream_seconds - _ROUNDING_SECONDS), stream_seconds)

    def _place(self, following: int, stream_seconds: float) -> float:
        anchor = max(0, following - 1)
        return round(self._session[anchor] + stream_seconds - self._stream[anchor], 3)
