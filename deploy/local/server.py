"""What the local servers have in common: one directory each, one log, start, ready, stop, kill, restart.

A subclass says how to launch its process and how to tell that it is ready. Used as a context manager, a
server is ready inside the block and gone after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.processes import ChildProcess, ProcessIdentity


class LocalServer(ABC):
    """A server in `directory`, which is created. A `detached` one outlives this process."""

    name: str
    ready_timeout_seconds = 60.0
    stop_grace_seconds = 10.0

    def __init__(self, directory: Path, *, detached: bool = False) -> None:
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._detached = detached
        self._child: ChildProcess | None = None

    @property
    @abstractmethod
    def log_path(self) -> Path:
        """The file with the server's standard output and error."""

    @abstractmethod
    def _launch(self) -> ChildProcess:
        """Start the process; not to wait for it."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server serves. Called often, at short intervals."""

    def start(self) -> None:
        """Start and wait until ready. Raises ServerFailed with the end of the log; nothing runs then."""
        if self.is_running():
            return
        child = self._launch()
        self._child = child
        try:
            child.wait_until_ready(self._is_ready, self.ready_timeout_seconds)
        except BaseException:
            child.kill()
            raise

    @property
    def identity(self) -> ProcessIdentity:
        """The running process, to be recognised later. Raises RuntimeError before the start."""
        return self._started().identity

    @property
    def pid(self) -> int:
        return self.identity.pid

    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running()

    def stop(self) -> None:
        """End it in order (SIGTERM, later SIGKILL). Idempotent; the directory stays."""
        if self._child is not None:
            self._child.stop(self.stop_grace_seconds)

    def kill(self) -> None:
        """kill -9. The directory stays, so `restart` finds what a crash would leave."""
        self._started().kill()

    def restart(self) -> None:
        """Start again in the same directory, on the same ports; stops it first if it runs."""
        self.stop()
        self.start()

    def _started(self) -> ChildProcess:
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
