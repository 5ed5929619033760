"""What can go wrong with a test run itself; differences are no error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.local.errors import LocalStackError

_SHOWN = 10


class SessionsUnfinished(LocalStackError):
    """The job still ran when the time was over."""

    retryable = True

    def __init__(self, session_ids: Sequence[str], waited_seconds: float, log_path: Path) -> None:
        """`session_ids`: those whose end had not come; none when only the job's own end was missing."""
        self.session_ids = tuple(session_ids)
        self.waited_seconds = waited_seconds
        self.log_path = log_path
        names = ", ".join(self.session_ids[:_SHOWN])
        more = f" and {len(self.session_ids) - _SHOWN} more" if len(self.session_ids) > _SHOWN else ""
        what = f"unfinished: {names}{more}" if names else "all sessions have ended, the job has not"
        super().__init__(
            f"Not done within {waited_seconds:.0f} s (--timeout-seconds); {what}. "
            f"The job's log is {log_path}."
        )
