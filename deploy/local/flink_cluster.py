"""A standalone Flink cluster on loopback: a JobManager, TaskManagers and Beam's job server, each a process.

Unlike the embedded Flink (`flink.py`) it can lose a TaskManager or the JobManager, restore savepoints, and
spread a job over processes, as a cluster in production does. Workers run in Beam's PROCESS environment, as
children of their TaskManager, or in its EXTERNAL environment: then each TaskManager has a worker pool beside
it (`worker_pool`), as in a Kubernetes pod, on a loopback address of its own. A job names one address for all,
so each TaskManager resolves the pools' common name by a hosts file of its own.

Sizes are explicit, since Flink's scripts, which would work them out, are not used. Source: Flink 1.19,
"Set up TaskManager Memory" and "Configuration".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console

from deploy.local import flink_jvm
from deploy.local.errors import ServerFailed
from deploy.local.flink import FlinkJobServer, pipeline_options, workers_below
from deploy.local.jars import FLINK_LOCK, ensure_jars
from deploy.local.java import class_path, java_executable
from deploy.local.processes import ChildProcess, accepts_connections, tail_of
from deploy.local.server import LocalServer
from deploy.local.worker import LOG_DIRECTORY_VARIABLE
from deploy.local.worker_pools import WorkerPool
from pipeline.jobs.flink_rest import FlinkJob, cancel, jobs_at, task_managers, wait_for

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_POOL_NAME = "medstream-worker-pool"
_POLL_SECONDS = 0.1
_FRAMEWORK_HEAP_MIB = 64
_TASK_MANAGER_SIZES = {
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP_MIB}m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "32m",
    "taskmanager.memory.network.max": "32m",
    "taskmanager.memory.managed.size": "0m",
    "taskmanager.memory.jvm-metaspace.size": "192m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


class _FlinkProcess(LocalServer):
    """One JVM of the cluster, with the class path that the job server has."""

    main_class: str
    heap_mib: int
    first_heap_mib = 64
    environment: Mapping[str, str] | None = None

    @property
    def log_path(self) -> Path:
        return self.directory / "flink.log"

    def _settings(self) -> Mapping[str, str]:
        raise NotImplementedError

    def _launch(self) -> ChildProcess:
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        settings = {**self._settings(), "io.tmp.dirs": str(temporary)}
        return ChildProcess(
            self.name,
            [
                java_executable(),
                f"-Xmx{self.heap_mib}m",
                f"-Xms{self.first_heap_mib}m",
                *flink_jvm.options(self.heap_mib),
                *self._jvm_options(),
                f"-Djava.io.tmpdir={temporary}",
                *("-cp", class_path(ensure_jars(FLINK_LOCK)), self.main_class),
                "--configDir",
                str(flink_jvm.write_configuration(self.directory / "conf", settings)),
            ],
            log_path=self.log_path,
            directory=self.directory,
            environment=self.environment,
            detached=self._detached,
        )

    def _jvm_options(self) -> Sequence[str]:
        return ()


class JobManager(_FlinkProcess):
    """The cluster's ports are its. `shared`: the settings that every process of the cluster has."""

    name = "Flink JobManager"
    main_class = _JOB_MANAGER
    heap_mib, first_heap_mib = 384, 96

    def __init__(
        self, directory: Path, state: Mapping[str, str], *, heartbeat_timeout_ms: int, detached: bool
    ) -> None:
        super().__init__(directory, detached=detached)
        self._ports = self._ports_for(["rest", "rpc", "pools"])
        self._rest_port = self._ports["rest"]
        self.rest_url = f"http://127.0.0.1:{self._rest_port}"
        self.rest_address = f"localhost:{self._rest_port}"
        self.pool_port = self._ports["pools"]
        self.shared = {
            **state,
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": str(self._ports["rpc"]),
            "rest.address": "localhost",
            "rest.port": str(self._rest_port),
            "heartbeat.interval": "1000",
            "heartbeat.timeout": str(heartbeat_timeout_ms),
            # Beam's classes are the same on the class path and in what the job server sends.
            "classloader.resolve-order": "parent-first",
        }

    def _settings(self) -> Mapping[str, str]:
        return {
            **self.shared,
            "rest.bind-address": "127.0.0.1",
            "rest.bind-port": str(self._rest_port),
            "jobmanager.bind-host": "localhost",
            "cluster.evenly-spread-out-slots": "true",
        }

    def _is_ready(self) -> bool:
        return accepts_connections(self._rest_port, "127.0.0.1")


class TaskManager(_FlinkProcess):
    """`number` from 0; ready once the JobManager has it."""

    main_class = _TASK_MANAGER

    def __init__(
        self,
        directory: Path,
        shared: Mapping[str, str],
        number: int,
        slots: int,
        rest_url: str,
        *,
        task_heap_mib: int,
        hosts: Mapping[str, str] | None,
        detached: bool,
    ) -> None:
        """`hosts`: names and their addresses, in place of what the machine says; None: the machine's."""
        self.name = f"Flink TaskManager {number}"
        super().__init__(directory, detached=detached)
        self._shared = shared
        self.resource_id = f"taskmanager-{number}"
        self._slots = slots
        self._task_heap_mib = task_heap_mib
        self.heap_mib = task_heap_mib + _FRAMEWORK_HEAP_MIB
        self._rest_url = rest_url
        self._hosts = hosts

    def _settings(self) -> Mapping[str, str]:
        return {
            **self._shared,
            **_TASK_MANAGER_SIZES,
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "taskmanager.resource-id": self.resource_id,
            "taskmanager.numberOfTaskSlots": str(self._slots),
            "taskmanager.memory.task.heap.size": f"{self._task_heap_mib}m",
        }

    def _jvm_options(self) -> Sequence[str]:
        if self._hosts is None:
            return ()
        path = self.directory / "hosts"
        path.write_text("".join(f"{address} {name}\n" for name, address in self._hosts.items()))
        return (f"-Djdk.net.hosts.file={path}",)

    def _is_ready(self) -> bool:
        return self.resource_id in task_managers(self._rest_url)


class FlinkCluster:
    """The whole cluster in `directory`; as a context manager it serves inside the block.

    `heartbeat_timeout_ms`: for how long a TaskManager may be silent; Flink's default is ten times as long.
    `worker_pools`: workers in EXTERNAL environments; `worker_environment` is then given to the pools, and
    otherwise, as for the embedded Flink, with each job.
    """

    def __init__(
        self,
        directory: Path,
        *,
        task_managers: int = 2,
        slots: int = 2,
        task_heap_mib: int = 192,
        heartbeat_timeout_ms: int = 5_000,
        worker_pools: bool = False,
        worker_environment: Mapping[str, str] | None = None,
        job_server_jar: Path | None = None,
        detached: bool = False,
        console: Console | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._console = console
        state = flink_jvm.job_settings(self.checkpoints, self.savepoints)
        self.job_manager = JobManager(
            self.directory / "jobmanager",
            state,
            heartbeat_timeout_ms=heartbeat_timeout_ms,
            detached=detached,
        )
        addresses = [f"127.0.0.{2 + number}" for number in range(task_managers)] if worker_pools else []
        self.worker_pools = [
            WorkerPool(
                self.directory / f"pool-{number}",
                *(number, address, self.job_manager.pool_port, self.worker_log_directory),
                detached=detached,
            )
            for number, address in enumerate(addresses)
        ]
        for pool in self.worker_pools:
            pool.environment.update(worker_environment or {})
        self.task_managers = [
            TaskManager(
                self.directory / f"taskmanager-{number}",
                *(self.job_manager.shared, number, slots, self.rest_url),
                task_heap_mib=task_heap_mib,
                hosts={"localhost": "127.0.0.1", _POOL_NAME: addresses[number]} if worker_pools else None,
                detached=detached,
            )
            for number in range(task_managers)
        ]
        self.job_server = FlinkJobServer(
            self.directory / "jobserver",
            master=self.job_manager.rest_address,
            state_directory=self.directory,
            job_server_jar=job_server_jar,
            detached=detached,
        )

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def savepoints(self) -> Path:
        return self.directory / "savepoints"

    @property
    def worker_log_directory(self) -> Path:
        """Where each Python worker writes a log of its own."""
        return self.directory / "workers"

    @property
    def rest_url(self) -> str:
        return self.job_manager.rest_url

    @property
    def job_endpoint(self) -> str:
        return self.job_server.job_endpoint

    @property
    def servers(self) -> tuple[LocalServer, ...]:
        return self.job_manager, *self.worker_pools, *self.task_managers, self.job_server

    def pipeline_options(
        self,
        *,
        parallelism: int = 2,
        checkpointing_interval_ms: int = 1_000,
        worker_environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Beam options to run a streaming pipeline here; checkpoints are retained when a job is cancelled."""
        environment = {LOG_DIRECTORY_VARIABLE: str(self.worker_log_directory), **(worker_environment or {})}
        options = pipeline_options(
            self.job_endpoint,
            parallelism=parallelism,
            checkpointing_interval_ms=checkpointing_interval_ms,
            worker_environment=environment,
        )
        if self.worker_pools:
            options = [option for option in options if not option.startswith("--environment_")]
            options += [
                "--environment_type=EXTERNAL",
                f"--environment_config={_POOL_NAME}:{self.job_manager.pool_port}",
            ]
        return [
            *options,
            "--externalized_checkpoints_enabled",
            "--retain_externalized_checkpoints_on_cancellation",
        ]

    def jobs(self) -> list[FlinkJob]:
        """The jobs that have not ended yet."""
        return jobs_at(self.rest_url)

    def workers(self) -> list[psutil.Process]:
        """The Python workers that run in this cluster."""
        return [
            worker
            for server in (*self.task_managers, *self.worker_pools)
            if server.is_running()
            for worker in workers_below(server.pid)
        ]

    def cancel_jobs(self, timeout_seconds: float = 30.0) -> list[FlinkJob]:
        """Cancel every job, and return them when they and their workers are gone. Raises ServerFailed."""
        cancelled = self.jobs()
        for job in cancelled:
            cancel(job)
        self.wait_until_idle(timeout_seconds)
        return cancelled

    def wait_until_idle(self, timeout_seconds: float = 30.0) -> None:
        """Return when no job and no worker runs. Raises ServerFailed when the time is over.

        Workers of a pool are not waited for: of a job that restarts just after a start, Flink's runner (2.62)
        forgets to stop one, which then stays with the pool.
        """
        deadline = time.monotonic() + timeout_seconds
        while self.jobs() or (self.workers() and not self.worker_pools):
            if time.monotonic() > deadline:
                log = self.job_manager.log_path
                reason = f"has jobs or workers after {timeout_seconds:.0f} s"
                raise ServerFailed(self.job_manager.name, reason, log, tail_of(log))
            time.sleep(_POLL_SECONDS)

    def adopt(self) -> bool:
        """Take over the processes that run in this directory; whether all of them do, and serve."""
        adopted = [server.adopt() for server in self.servers]  # each of them, whatever the others say
        return all(adopted)

    def wait_for_task_managers(self, timeout_seconds: float = 30.0) -> None:
        """Return when the JobManager has them all: after it was restarted, say. Raises ServerFailed."""
        wanted = {manager.resource_id for manager in self.task_managers}
        if not wait_for(lambda: task_managers(self.rest_url) >= wanted, timeout_seconds):
            log = self.job_manager.log_path
            reason = f"does not have its TaskManagers after {timeout_seconds:.0f} s"
            raise ServerFailed(self.job_manager.name, reason, log, tail_of(log))

    def start(self) -> None:
        """Start all side by side, and wait until they serve. Raises what a server's start raises."""
        ensure_jars(FLINK_LOCK, console=self._console)
        self._all(lambda server: server.start())

    def stop(self) -> None:
        """Stop all; the directory stays. Idempotent."""
        self._all(lambda server: server.stop())

    def _all(self, call: Callable[[LocalServer], None]) -> None:
        with ThreadPoolExecutor(len(self.servers)) as pool:
            futures = [pool.submit(call, server) for server in self.servers]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for server in self.servers:
                server.stop()
            raise

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
