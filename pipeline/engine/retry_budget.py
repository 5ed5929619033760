"""How often a session's stream was lost in a row, and when the next may be tried. Pure.

The row ends with a final, with a stream that lived for a while, or with one that came to a good end. A
throttled try counts for the backoff, not for the budget: a session that the quota keeps waiting is not lost.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind


class RetryBudget:
    """`backoff` maps the number of failures in a row (from 1) to the seconds until the next try."""

    def __init__(self, max_retries: int, backoff: Callable[[int], float], now: float) -> None:
        self.failures = 0
        self.retry_at = now
        self.last_failure: StreamFailure | None = None
        self._max_retries = max_retries
        self._backoff = backoff
        self._counted = 0

    def note(self, now: float) -> None:
        """Something failed that has to be tried again: wait before."""
        self.failures += 1
        self.retry_at = now + self._backoff(self.failures)

    def note_stream(self, failure: StreamFailure, now: float) -> None:
        """A stream was lost."""
        self.last_failure = failure
        self._counted += failure.kind is not FailureKind.THROTTLED
        self.note(now)

    @property
    def exhausted(self) -> bool:
        """Whether more streams were lost in a row than may be tried again."""
        return self._counted > self._max_retries

    def forget(self) -> None:
        """The session is well: the row is over."""
        self.failures = self._counted = 0
