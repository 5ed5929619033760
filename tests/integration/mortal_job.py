"""A job in which everything may be killed, and the ways to do that."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.worker import LOG_DIRECTORY_VARIABLE
from tests.integration import detachable_worker, mortal_worker
from tests.integration.committed_reader import CommittedReader
from tests.integration.conftest import Measured
from tests.integration.harness import Job, running_job
from tests.integration.test_paused_worker import listening_ports

LIVENESS_SECONDS = 60
ZOMBIE_SECONDS = 6
BEFORE_COMMIT, AFTER_COMMIT, ANY_MOMENT = "before a commit", "after a commit", "at any moment"
BROKER, ZOMBIE = "broker", "zombie"


@dataclass
class Stage:
    """A job in which everything may be killed."""

    job: Job
    broker: KafkaBroker
    flink: FlinkJobServer
    reader: CommittedReader
    directory: Path
    dice: random.Random
    ids: set[str] = field(default_factory=set)

    @property
    def deaths(self) -> Path:
        return self.directory / "deaths"

    @property
    def cut_ports(self) -> Path:
        return self.directory / "cut-ports"

    def processes(self) -> list[psutil.Process]:
        """The three processes of each worker: the one that Flink knows, one between, the one that works."""
        name = Path(mortal_worker.__file__).name
        found = []
        for process in psutil.Process(self.flink.pid).children(recursive=True):
            with suppress(psutil.Error):  # gone meanwhile
                if any(Path(part).name == name for part in process.cmdline()):
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """Those of them that work."""
        of_workers = {process.pid: process for process in self.processes()}
        parents = {pid: process.ppid() for pid, process in of_workers.items()}
        return [of_workers[pid] for pid, parent in parents.items() if parents.get(parent) in of_workers]

    def kill_workers(self) -> None:
        """kill -9, at any moment."""
        assert self.workers(), "there is a worker"
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_at_commit(self, moment: str) -> None:
        """The next worker that commits dies around it."""
        self.deaths.write_text(moment)
        deadline = time.monotonic() + LIVENESS_SECONDS
        while self.deaths.exists():
            assert time.monotonic() < deadline, "nobody has committed anything"
            time.sleep(0.02)
        for process in self.processes():  # what waits for the dead one
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_broker(self) -> None:
        self.broker.kill()
        self.broker.restart()

    def make_zombie(self) -> None:
        """A worker that Flink has lost and replaced wakes up with a bundle under way."""
        [zombie, *_] = self.workers()
        self.cut_ports.write_text(" ".join(map(str, listening_ports(self.flink))))
        cut_at = time.time()
        os.kill(zombie.pid, signal.SIGUSR1)
        self.reader.seconds_until_all_spoke(self.ids, cut_at, LIVENESS_SECONDS)
        time.sleep(ZOMBIE_SECONDS)
        zombie.resume()


@contextmanager
def stage(
    broker: KafkaBroker,
    flink: FlinkJobServer,
    endpoint: EndpointProcess,
    directory: Path,
    delivery: str,
    seed: int,
) -> Iterator[Stage]:
    """The job with `mortal_worker`, and a reader of what it commits; `seed` of when things happen."""
    launcher = directory / "launcher"
    launcher.write_text(
        f'#!/bin/sh\nPYTHONPATH="{Path(__file__).parents[2]}" '
        f'exec "{sys.executable}" "{mortal_worker.__file__}" "$@"\n'
    )
    launcher.chmod(0o755)
    environment = {
        LOG_DIRECTORY_VARIABLE: str(flink.worker_log_directory),
        detachable_worker.CUT_PORTS_VARIABLE: str(directory / "cut-ports"),
        mortal_worker.DEATHS_VARIABLE: str(directory / "deaths"),
        **endpoint.environment(),
    }
    worker = json.dumps({"command": str(launcher), "env": environment})
    options = [f"--delivery={delivery}", "--catch-up-rate=4"]
    beam_options = [f"--environment_config={worker}"]
    with running_job(
        broker, flink, endpoint, directory / "job", options=options, beam_options=beam_options
    ) as job:
        reader = CommittedReader(broker.bootstrap_servers, job.topics, partitions=2)
        try:
            yield Stage(job, broker, flink, reader, directory, random.Random(seed))  # noqa: S311
        finally:
            reader.close()


def disturb(scene: Stage, what: str, measured: Measured) -> float:
    """Returns the seconds until each session had a new final that was committed."""
    time.sleep(scene.dice.uniform(1.0, 4.0))
    began = time.time()
    if what == ANY_MOMENT:
        scene.kill_workers()
    elif what == BROKER:
        scene.kill_broker()
    elif what == ZOMBIE:
        scene.make_zombie()
        began = time.time()
    else:
        scene.kill_at_commit(what.split()[0])
        began = time.time()
    over = time.time()
    seconds = over - began + scene.reader.seconds_until_all_spoke(scene.ids, over, LIVENESS_SECONDS)
    measured(f"{began:.3f} {what}: {seconds:.1f} s")
    return seconds
