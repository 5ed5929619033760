"""What the local servers have in common: one directory each, one log, start, ready, stop, kill, restart.

A subclass says how to launch its process and how to tell that it is ready. Used as a context manager, a
server is ready inside the block and gone after it.

The directory also holds `process.json`, the identity of the process that serves it. By that a later command
finds a detached server again (`adopt`), and a second server in a directory in use is refused.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.errors import ServerAlreadyRunning
from deploy.local.processes import ChildProcess, ProcessIdentity, free_port


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
        self._adopted: ProcessIdentity | None = None

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
        """Start and wait until ready; nothing if it runs already.

        Raises ServerFailed with the end of the log, and nothing runs then; ServerAlreadyRunning when another
        process started a server in this directory and it still runs.
        """
        if self.is_running():
            return
        other = self._recorded()
        if other is not None:
            raise ServerAlreadyRunning(self.name, self.directory, other.pid)
        child = self._launch()
        self._child = child
        try:
            self._record_path.write_text(json.dumps(child.identity.as_dict()))
            child.wait_until_ready(self._is_ready, self.ready_timeout_seconds)
        except BaseException:
            child.kill()
            raise

    def adopt(self) -> bool:
        """Take over the server that runs in this directory, if one runs and serves; whether that is so."""
        if not self.is_running():
            self._adopted = self._recorded()
        return self._adopted is not None and self._is_ready()

    @property
    def identity(self) -> ProcessIdentity:
        """The process, to be recognised later. Raises RuntimeError before the start."""
        if self._child is not None:
            return self._child.identity
        if self._adopted is not None:
            return self._adopted
        raise RuntimeError(f"{self.name} was not started")

    @property
    def pid(self) -> int:
        return self.identity.pid

    def is_running(self) -> bool:
        if self._child is not None:
            return self._child.is_running()
        return self._adopted is not None and self._adopted.is_running()

    def stop(self) -> None:
        """End it in order (SIGTERM, later SIGKILL). Idempotent; the directory stays."""
        if self._child is not None:
            self._child.stop(self.stop_grace_seconds)
        elif self._adopted is not None:
            self._adopted.stop(self.stop_grace_seconds)
        else:
            return
        self._record_path.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9. The directory stays, so `restart` finds what a crash would leave."""
        if self._child is not None:
            self._child.kill()
        else:
            self.identity.stop(grace_seconds=0)

    def restart(self) -> None:
        """Start again in the same directory, on the same ports; stops it first if it runs."""
        self.stop()
        self._adopted = None
        self.start()

    def _ports_for(self, listeners: Sequence[str]) -> dict[str, int]:
        """A port for each of `listeners`: those that the directory remembers, else new ones."""
        path = self.directory / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        for listener in listeners:
            if listener not in ports:
                ports[listener] = free_port()
        path.write_text(json.dumps(ports))
        return {listener: ports[listener] for listener in listeners}

    def _recorded(self) -> ProcessIdentity | None:
        """The process that `process.json` names, while it runs."""
        try:
            recorded = ProcessIdentity(**json.loads(self._record_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return recorded if recorded.is_running() else None

    @property
    def _record_path(self) -> Path:
        return self.directory / "process.json"

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
