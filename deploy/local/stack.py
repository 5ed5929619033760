"""The whole local stack: Kafka, Flink and the Transcribe endpoint, started side by side in one directory,
with a schema registry where it is asked for.

Each server has a folder below the directory, with its settings, data, log and the identity of its process;
that is all the state there is, so whoever knows the directory can ask for the status and end the stack. A
detached stack outlives the command that started it; any other ends with its process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console

from deploy.local.errors import StackAlreadyOwned
from deploy.local.flink import FlinkJobServer
from deploy.local.flink_cluster import FlinkCluster, JobManager
from deploy.local.jars import FLINK_LOCK, KAFKA_LOCK, ensure_jars
from deploy.local.kafka import KafkaBroker
from deploy.local.registry import REGISTRY_LOCK, SchemaRegistryServer
from deploy.local.server import LocalServer
from deploy.local.transcribe.process import EndpointProcess

Report = Callable[[str, str], None]
"""Told the name of a server and, in a few words, what became of it; called from several threads."""

_KILL_INTERVAL_SECONDS = 0.1
_FAMILY_SECONDS = 5.0
"""A killed server's guard ends what the server started within a fraction of this (`guard.py`)."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as it is now; `addresses` are settings by name, empty while it does not run."""

    name: str
    running: bool
    pid: int | None
    addresses: Mapping[str, str]
    log: Path


def default_directory() -> Path:
    """`medstream/local` below XDG_STATE_HOME or ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "medstream" / "local"


class LocalStack:
    """Kafka, Flink and endpoint in `directory`; as a context manager all serve inside the block.

    A schema registry belongs to it if `schema_registry` says so, or the directory has one from before; Flink
    is a cluster of processes, instead of embedded in the job server, if `cluster` says so, or was before.
    """

    def __init__(
        self,
        directory: Path,
        *,
        recogniser: str = "pocketsphinx",
        endpoint_options: Sequence[str] = (),
        flink_job_server_jar: Path | None = None,
        schema_registry: bool = False,
        cluster: bool = False,
        detached: bool = False,
        console: Console | None = None,
    ) -> None:
        """`endpoint_options` go to `medstream endpoint`; download progress goes to `console`."""
        self.directory = directory.absolute()
        self._console = console
        self._own_job_server = flink_job_server_jar is not None
        self.kafka = KafkaBroker(self.directory / "kafka", detached=detached)
        self.flink = self._flink(flink_job_server_jar, cluster=cluster, detached=detached)
        self.endpoint = EndpointProcess(
            self.directory / "endpoint", recogniser=recogniser, options=endpoint_options, detached=detached
        )
        folder = self.directory / "registry"
        self.registry = (
            SchemaRegistryServer(folder, detached=detached) if schema_registry or folder.exists() else None
        )

    def _flink(
        self, job_server_jar: Path | None, *, cluster: bool, detached: bool
    ) -> FlinkJobServer | FlinkCluster:
        folder = self.directory / "cluster"
        if cluster or folder.exists():
            return FlinkCluster(folder, job_server_jar=job_server_jar, detached=detached)
        return FlinkJobServer(self.directory / "flink", job_server_jar=job_server_jar, detached=detached)

    @property
    def servers(self) -> tuple[LocalServer, ...]:
        return self.kafka, *self.flink.servers, self.endpoint, *self._optional

    @property
    def _optional(self) -> tuple[LocalServer, ...]:
        return () if self.registry is None else (self.registry,)

    def start(self, report: Report = lambda _name, _text: None) -> None:
        """Start what does not run yet, side by side, and wait until all serve.

        Raises what a server's start raises, JarUnavailable or CorruptDownload, StackAlreadyOwned; whatever
        this call started is stopped again then, also when it is interrupted.
        """
        with self._owned():
            missing = [server for server in self.servers if not _adopt(server, report)]
            if missing:
                self._fetch_jars()
                start_all(missing, report)

    def stop(self, report: Report = lambda _name, _text: None) -> None:
        """Stop every server of the directory, whoever started it; the data stays. Idempotent."""
        with self._owned():
            # Flink first: a running job would only complain about the others going.
            for server in (*reversed(self.flink.servers), self.endpoint, self.kafka, *self._optional):
                server.adopt()
                if server.is_running():
                    server.stop()
                    report(server.name, "stopped")
                else:
                    report(server.name, "was not running")

    def status(self) -> list[ServerStatus]:
        """Every server as it is now."""
        return [self._status_of(server) for server in self.servers]

    def environment(self) -> dict[str, str]:
        """AWS variables with which a client, or `medstream run`, is let in at the endpoint."""
        return self.endpoint.environment()

    def _status_of(self, server: LocalServer) -> ServerStatus:
        server.adopt()
        running = server.is_running()
        return ServerStatus(
            name=server.name,
            running=running,
            pid=server.pid if running else None,
            addresses=self._addresses(server) if running else {},
            log=server.log_path,
        )

    def _addresses(self, server: LocalServer) -> dict[str, str]:
        if server is self.kafka:
            return {"bootstrap_servers": self.kafka.bootstrap_servers}
        if isinstance(server, FlinkJobServer):
            return {"job_endpoint": server.job_endpoint}
        if isinstance(server, JobManager):
            return {"flink_url": server.rest_url}
        if isinstance(server, SchemaRegistryServer):
            return {"schema_registry_url": server.url}
        if server is not self.endpoint:
            return {}
        return {"endpoint_url": self.endpoint.url, **self.endpoint.environment()}

    def _fetch_jars(self) -> None:
        """All jars under one progress bar, and in the thread that Ctrl-C interrupts."""
        embedded = self._own_job_server and isinstance(self.flink, FlinkJobServer)
        locks = [KAFKA_LOCK] if embedded else [KAFKA_LOCK, FLINK_LOCK]
        locks += [] if self.registry is None else [REGISTRY_LOCK]
        ensure_jars(*locks, console=self._console)

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """Keep other commands away from the directory; the lock ends with the process, however it ends."""
        with (self.directory / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StackAlreadyOwned(self.directory) from None
            yield

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


def _adopt(server: LocalServer, report: Report) -> bool:
    if not server.adopt():
        return False
    report(server.name, f"already running (process {server.pid})")
    return True


def start_all(servers: Sequence[LocalServer], report: Report) -> None:
    """Start servers side by side and wait until all serve; when one fails, or on a signal, none runs.

    Raises what their `start` raises.
    """

    def start(server: LocalServer) -> None:
        started = time.monotonic()
        server.start()
        report(server.name, f"ready after {time.monotonic() - started:.1f} s")

    with ThreadPoolExecutor(len(servers)) as pool:
        futures = [pool.submit(start, server) for server in servers]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            _undo(servers, futures)
            raise


def end_at_once(servers: Iterable[LocalServer]) -> None:
    """Kill servers whose data nobody will want, and wait until what they started is gone as well."""
    family = psutil.Process().children(recursive=True)
    for server in servers:
        if server.is_running():
            server.kill()
    psutil.wait_procs(family, timeout=_FAMILY_SECONDS)


def _undo(servers: Sequence[LocalServer], futures: Sequence[Future[None]]) -> None:
    """Stop them all, also those whose thread is just about to start a process."""
    while True:
        for server in servers:
            server.stop()
        if not wait(futures, timeout=_KILL_INTERVAL_SECONDS).not_done:
            break
    for server in servers:
        server.stop()
