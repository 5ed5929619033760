"""Worker pools (`deploy.docker.worker_pool`) as local servers: Beam's EXTERNAL environment, as in a pod."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.processes import ChildProcess, accepts_connections
from deploy.local.server import LocalServer
from deploy.local.worker import LOG_DIRECTORY_VARIABLE


class WorkerPool(LocalServer):
    """The pool of one TaskManager, on a loopback address of its own."""

    def __init__(
        self, directory: Path, number: int, address: str, port: int, logs: Path, *, detached: bool
    ) -> None:
        self.name = f"worker pool {number}"
        super().__init__(directory, detached=detached)
        self.address, self._port, self._logs = address, port, logs
        self.environment: dict[str, str] = {}

    @property
    def log_path(self) -> Path:
        return self.directory / "pool.log"

    def _launch(self) -> ChildProcess:
        return ChildProcess(
            self.name,
            [
                Path(sys.executable).with_name("medstream-worker-pool"),
                f"--host={self.address}",
                f"--port={self._port}",
            ],
            log_path=self.log_path,
            environment={LOG_DIRECTORY_VARIABLE: str(self._logs), **self.environment},
            detached=self._detached,
        )

    def _is_ready(self) -> bool:
        return accepts_connections(self._port, self.address)
