"""The pipelines that are compared, each as a context manager over the same broker and the same service.

`bare`: `bare_loop`. `embedded`: medstream on the embedded Flink, as `make demo` runs it. `cluster`: medstream
on a standalone cluster, two TaskManagers, parallelism 2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local.flink import FlinkJobServer, is_worker
from deploy.local.flink_cluster import FlinkCluster
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import ChildProcess
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from tests.benchmarks.pipelines.bare_loop import REGION

SYSTEMS = ("bare", "embedded", "cluster")
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": LOCAL_SECRET_ACCESS_KEY,
}
PYTHON, JVM = "python", "jvm"
CHECKPOINT_MS = 10_000  # the default of `medstream run`; the local stack's is for watching recoveries
_JOB_OPTIONS = ("--max-live-streams=2000", "--max-stream-opens-per-second=100")


@dataclass(frozen=True, slots=True)
class Stage:
    """What the systems share: the broker, the service's URL, a folder for logs. `options`: of every job.
    `heap_mib`: of the JVM that a job's operators are in.
    """

    broker: KafkaBroker
    service_url: str
    directory: Path
    options: tuple[str, ...] = ()
    heap_mib: int = 512


@dataclass(slots=True)
class System:
    """One that runs."""

    root: psutil.Process

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Its processes by role: the Python that does the work, the JVMs beside it."""
        found: dict[str, list[psutil.Process]] = {PYTHON: [], JVM: []}
        for process in self.root.children(recursive=True):
            role = _role(process)
            if role is not None:
                found[role].append(process)
        return found

    def cpu_seconds(self) -> dict[str, float]:
        return {role: sum(map(_cpu_seconds, found)) for role, found in self.processes().items()}

    def rss_mib(self) -> dict[str, float]:
        return {role: sum(map(_rss_mib, found)) for role, found in self.processes().items()}


@contextmanager
def running(
    name: str, stage: Stage, audio_topic: str, finals_topic: str, options: Sequence[str] = ()
) -> Iterator[System]:
    """`options`: further ones of `medstream run`."""
    directory = stage.directory / f"{audio_topic}-{name}"
    directory.mkdir(parents=True)
    if name == "bare":
        arguments = [stage.broker.bootstrap_servers, stage.service_url, audio_topic, finals_topic]
        command = [sys.executable, "-m", "tests.benchmarks.pipelines.bare_loop", *arguments]
        loop = ChildProcess("bare loop", command, log_path=directory / "loop.log")
        try:
            yield System(psutil.Process())
        finally:
            loop.stop()
        return
    embedded = name == "embedded"
    with _flink(directory / "flink", stage.heap_mib, embedded=embedded) as flink:
        parallelism = [] if embedded else ["--parallelism=2"]
        arguments = [
            f"--bootstrap-servers={stage.broker.bootstrap_servers}",
            *(f"--input-topic={audio_topic}", f"--output-topic={finals_topic}"),
            *(f"--dead-letter-topic={finals_topic}.dead", f"--group-id={audio_topic}"),
            *(f"--endpoint-url={stage.service_url}", f"--region={REGION}", *_JOB_OPTIONS),
            *options,
            *flink.pipeline_options(worker_environment=CREDENTIALS),
            f"--checkpointing_interval={CHECKPOINT_MS}",
            *parallelism,
            *stage.options,
        ]
        command = [str(Path(sys.executable).with_name("medstream")), "run", *arguments]
        job = ChildProcess("medstream run", command, log_path=directory / "run.log", environment=CREDENTIALS)
        try:
            yield System(psutil.Process())
        finally:
            job.stop()
            flink.cancel_jobs()


def _flink(directory: Path, heap_mib: int, *, embedded: bool) -> FlinkJobServer | FlinkCluster:
    if embedded:
        return FlinkJobServer(directory, heap_mib=heap_mib)
    return FlinkCluster(directory, task_heap_mib=heap_mib)


def _role(process: psutil.Process) -> str | None:
    try:
        arguments = process.cmdline()
    except psutil.Error:
        return None
    if is_worker(process) or "tests.benchmarks.pipelines.bare_loop" in arguments:
        return PYTHON
    java = bool(arguments) and Path(arguments[0]).name == "java"
    return JVM if java and "kafka.Kafka" not in arguments else None


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _rss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0
