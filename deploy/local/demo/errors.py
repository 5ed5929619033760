"""What can go wrong with the demo itself; errors of servers and pipeline come from `deploy.local.errors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import LocalStackError


class SessionsIncomplete(LocalStackError):
    """The pipeline runs, but finals or the ends of sessions did not come in time."""

    retryable = True

    def __init__(self, states: Mapping[str, str], waited_seconds: float, log_directory: Path) -> None:
        """`states` says in a few words how far each incomplete session has come, by session id."""
        self.session_ids = list(states)
        self.waited_seconds = waited_seconds
        self.log_directory = log_directory
        super().__init__(
            f"Incomplete {waited_seconds:.0f} s after the last audio: "
            f"{', '.join(f'{name} ({state})' for name, state in states.items())}. "
            f"The logs of pipeline and workers are in {log_directory}."
        )
