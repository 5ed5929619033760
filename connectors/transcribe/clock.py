"""The clock that signatures are dated with: the machine's, corrected when a refusal shows a skew.

A signature is refused when its date is more than five minutes from the service's clock, so a worker whose
clock is wrong could never open a stream. The answer's `Date` header says what time it is over there:
`ServiceClock.measure` compares, `correct` adopts what was measured, and the next stream is signed in the
service's time. A stream that is refused although the clocks agree (audio sent minutes ahead of real time)
changes nothing. Many streams measure the same difference at once: it is counted from the machine's clock, so
that adopting it twice does no harm.

`now_ms` is handed in, so the module itself reads no clock. Source: "Clock skew correction" in the AWS SDKs
and Tools Reference Guide, and RFC 9110 section 6.6.1 for the header.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MIN_SKEW_MS = 30_000
"""A smaller difference is the header's resolution and the way here, and never the cause of a refusal."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ServiceClock:
    """Milliseconds since the epoch as the service counts them; shared by all streams to one endpoint."""

    def __init__(self, local_now_ms: Callable[[], int]) -> None:
        self._local_now_ms = local_now_ms
        self.offset_ms = 0

    def now_ms(self) -> int:
        """The time to sign with."""
        return self._local_now_ms() + self.offset_ms

    def measure(self, date: str | None) -> int | None:
        """How far the service is ahead of the machine, by the `Date` header of an answer of just now."""
        server_ms = parse_http_date(date)
        return None if server_ms is None else server_ms - self._local_now_ms()

    def correct(self, measured_ms: int | None) -> bool:
        """Adopt a measured offset if that explains a refused signature; True if the clock was moved."""
        if measured_ms is None or abs(measured_ms - self.offset_ms) < MIN_SKEW_MS:
            return False
        self.offset_ms = measured_ms
        return True


def parse_http_date(date: str | None) -> int | None:
    """An HTTP date as milliseconds since the epoch; None for none and for what is no date."""
    try:
        parsed = None if not date else parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # A date without a zone (one of HTTP's old forms) is in UTC, wherever this machine is.
    return None if parsed is None else (parsed.replace(tzinfo=parsed.tzinfo or UTC) - _EPOCH) // _MILLISECOND
