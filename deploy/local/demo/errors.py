"""What can go wrong with the demo itself; errors of servers and pipeline come from `deploy.local.errors`."""

from __future__ import annotations

from pathlib import Path

from deploy.local.errors import LocalStackError


class PipelineSilent(LocalStackError):
    """The pipeline runs, but sessions did not come to an end in time."""

    retryable = True

    def __init__(self, session_ids: list[str], waited_seconds: float, log_directory: Path) -> None:
        self.session_ids = session_ids
        self.waited_seconds = waited_seconds
        self.log_directory = log_directory
        super().__init__(
            f"No end of {', '.join(session_ids)} came within {waited_seconds:.0f} s of the last audio. "
            f"The pipeline's and the workers' logs are in {log_directory}."
        )
