"""A real Flink for tests and the demo: Beam's job server with an embedded Flink 1.19 per job, on loopback.

The Python workers run in Beam's PROCESS environment (`medstream-worker` of this virtual environment), so a
worker that is killed comes back as a new process and the job continues from its checkpoint. Checkpoints go
to files, as memory would hit Flink's 5 MB cap: each self-checkpoint of a source leaves a state descriptor
in runners before 2.76 (Beam issue 27648).

The jars pinned here are of Beam 2.62, the newest complete set; a job server jar of one's own is taken
instead by `job_server_jar`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
from rich.console import Console

from deploy.local import flink_jvm
from deploy.local.errors import ServerFailed
from deploy.local.jars import FLINK_LOCK, ensure_jars
from deploy.local.java import class_path, java_executable
from deploy.local.processes import ChildProcess, accepts_connections, tail_of
from deploy.local.server import LocalServer
from deploy.local.worker import LOG_DIRECTORY_VARIABLE
from pipeline.jobs.flink_rest import FlinkJob, cancel, jobs_at

_MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_SERVICES = ("job", "artifact", "expansion")
_REST_PORTS = 50  # every job has a Flink, and every Flink a REST server
WORKER = "medstream-worker"
_POLL_SECONDS = 0.1
_MAX_PARALLELISM = 16
"""Flink's key groups. What the runner leaves of each read (Beam issue 27648) is a table for each group of a
subtask: with Flink's 128 the heap grew by 90 KiB a read on two task managers, and checkpoints stood still."""
EMBEDDED = "[local]"

_HEAP_MIB = 512
_FIRST_HEAP_MIB = 96


class FlinkJobServer(LocalServer):
    """Beam's Flink job server in `directory`: its settings, checkpoints, log and workers' logs."""

    name = "Flink"

    def __init__(
        self,
        directory: Path,
        *,
        master: str = EMBEDDED,
        state_directory: Path | None = None,
        job_server_jar: Path | None = None,
        java: Path | None = None,
        heap_mib: int = _HEAP_MIB,
        console: Console | None = None,
        detached: bool = False,
    ) -> None:
        """`master`: `host:port` of a Flink's REST server to submit to, instead of one per job inside of this
        process. `state_directory`: where jobs keep checkpoints and savepoints; the job server decides that,
        not the cluster. `directory` without. `heap_mib`: of its JVM, with the embedded Flink in it; a job
        of many hours needs more, for what the runner leaves in the state (Beam issue 27648).
        """
        super().__init__(directory, detached=detached)
        self._master = master
        self._state = (state_directory or self.directory).absolute()
        self._job_server_jar = job_server_jar
        self._java = java
        self._heap_mib = heap_mib
        self._console = console
        self._ports = self._ports_for([*_SERVICES, "rest"])

    @property
    def servers(self) -> tuple[LocalServer, ...]:
        """All its processes: one."""
        return (self,)

    @property
    def log_path(self) -> Path:
        return self.directory / "flink.log"

    @property
    def worker_log_directory(self) -> Path:
        """Where each Python worker writes a log of its own."""
        return self.directory / "workers"

    @property
    def job_endpoint(self) -> str:
        """`host:port` for Beam's `--job_endpoint`; the same after every restart."""
        return f"localhost:{self._ports['job']}"

    def pipeline_options(
        self,
        *,
        parallelism: int = 1,
        checkpointing_interval_ms: int = 1_000,
        worker_environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Beam options to run a streaming pipeline here; see the function of the same name."""
        environment = {LOG_DIRECTORY_VARIABLE: str(self.worker_log_directory), **(worker_environment or {})}
        return pipeline_options(
            self.job_endpoint,
            parallelism=parallelism,
            checkpointing_interval_ms=checkpointing_interval_ms,
            worker_environment=environment,
        )

    def rest_urls(self) -> list[str]:
        """Addresses of the REST servers: one for the Flink of each job that runs."""
        if not self.is_running():
            return []
        if self._master != EMBEDDED:
            return [f"http://{self._master}"]  # of the cluster; it does not go when a job ends
        listening = {
            connection.laddr.port
            for connection in psutil.Process(self.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        first = self._ports["rest"]
        own = {self._ports[name] for name in _SERVICES}  # they may lie in that range, and never go
        served = (port for port in sorted(listening - own) if first <= port <= first + _REST_PORTS)
        return [f"http://127.0.0.1:{port}" for port in served]

    def jobs(self) -> list[FlinkJob]:
        """The jobs that have not ended yet; none when the server does not run."""
        return [job for url in self.rest_urls() for job in jobs_at(url)]

    def cancel_jobs(self, timeout_seconds: float = 30.0) -> list[FlinkJob]:
        """Cancel every job, and return them when they and their workers are gone.

        Beam's own `PipelineResult.cancel()` does not do that here: it only interrupts the job server's thread
        that waits for the job, and the embedded Flink goes on. Raises ServerFailed when the time is over.
        """
        cancelled = self.jobs()
        for job in cancelled:
            cancel(job)
        deadline = time.monotonic() + timeout_seconds
        while self.is_running() and (self.rest_urls() or self.workers()):
            if time.monotonic() > deadline:
                reason = f"did not cancel its jobs within {timeout_seconds:.0f} s"
                raise ServerFailed(self.name, reason, self.log_path, tail_of(self.log_path))
            time.sleep(_POLL_SECONDS)
        return cancelled

    def workers(self) -> list[psutil.Process]:
        """The Python workers that run in this Flink."""
        return workers_below(self.pid)

    def _launch(self) -> ChildProcess:
        jars = (
            [self._job_server_jar] if self._job_server_jar else ensure_jars(FLINK_LOCK, console=self._console)
        )
        temporary = self._directory_for("tmp")
        return ChildProcess(
            self.name,
            [
                java_executable(self._java),
                f"-Xmx{self._heap_mib}m",
                f"-Xms{_FIRST_HEAP_MIB}m",
                *flink_jvm.options(self._heap_mib),
                f"-Djava.io.tmpdir={temporary}",
                *("-cp", class_path(jars), _MAIN_CLASS),
                "--job-host=localhost",
                *(
                    f"--{service}-port={port}"
                    for service, port in self._ports.items()
                    if service in _SERVICES
                ),
                f"--artifacts-dir={self._directory_for('artifacts')}",
                f"--flink-master={self._master}",
                f"--flink-conf-dir={self._write_configuration(temporary)}",
            ],
            log_path=self.log_path,
            directory=self.directory,
            detached=self._detached,
        )

    def _is_ready(self) -> bool:
        return accepts_connections(self._ports["job"], "localhost")

    def _directory_for(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def _write_configuration(self, temporary: Path) -> Path:
        rest_port = self._ports["rest"]
        settings = {
            **flink_jvm.job_settings(self._state / "checkpoints", self._state / "savepoints"),
            "rest.bind-address": "127.0.0.1",
            "rest.bind-port": f"{rest_port}-{rest_port + _REST_PORTS}",
            "io.tmp.dirs": str(temporary),
        }
        return flink_jvm.write_configuration(self.directory / "conf", settings)


def workers_below(pid: int) -> list[psutil.Process]:
    """The Python workers among the descendants of a process; none when that is gone."""
    try:
        return [child for child in psutil.Process(pid).children(recursive=True) if is_worker(child)]
    except psutil.NoSuchProcess:
        return []


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a Python worker of a job, and lives."""
    try:
        arguments = process.cmdline()
        return process.is_running() and any(Path(argument).name == WORKER for argument in arguments)
    except psutil.Error:  # gone meanwhile
        return False


def pipeline_options(
    job_endpoint: str,
    *,
    parallelism: int = 1,
    checkpointing_interval_ms: int = 1_000,
    worker_environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Beam options for a streaming pipeline on the job server at `job_endpoint`, workers in this environment.

    `checkpointing_interval` must be a pipeline option: set in Flink's configuration only, Beam shuts the
    sources down and no checkpoint completes. Without a state cache each read is a round trip to the JVM.
    Short bundles keep the latency low. Without `finish_bundle_before_checkpointing` jobs came back from a
    restart with a source partition that was never read again.
    """
    worker = {
        "command": str(Path(sys.executable).with_name(WORKER)),
        "env": dict(worker_environment or {}),
    }
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={job_endpoint}",
        "--streaming",
        "--environment_type=PROCESS",
        f"--environment_config={json.dumps(worker)}",
        f"--parallelism={parallelism}",
        f"--max_parallelism={_MAX_PARALLELISM}",
        f"--checkpointing_interval={checkpointing_interval_ms}",
        "--finish_bundle_before_checkpointing",
        "--max_cache_memory_usage_mb=100",
        "--max_bundle_time_mills=20",
        "--experiments=disable_logging_submission_environment",  # spares a `pip freeze` at each submission
    ]
