"""A worker that is paused (SIGSTOP), as on a node that swaps or in a machine that is moved, and wakes up.

Its streams die of the service's idle limit meanwhile. Flink may wait for it. Or Flink has lost it and
restored the job elsewhere: then an old worker wakes up beside its successor, with sessions, results and
a bundle of its own. Or Flink restores the job and gives it back to the same process, whose sessions are
ahead of the restored state. Finals are delivered exactly once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.worker import LOG_DIRECTORY_VARIABLE
from tests.integration import detachable_worker
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Job, Outputs, marked_session, running_job
from tests.integration.verdicts import assert_complete, assert_repeats_are_the_same, end_reasons

pytestmark = pytest.mark.timeout(240)

EXACTLY_ONCE = ("--delivery=exactly-once",)
SESSIONS = 6
PAUSE_SECONDS = 20  # the service gives a stream up after 15


@pytest.fixture
def lone_flink(tmp_path: Path) -> Iterator[FlinkJobServer]:
    """Of its own: what a woken worker may do to it must not reach other tests."""
    with FlinkJobServer(tmp_path / "flink") as server:
        yield server


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint:
        yield endpoint


def converse(job: Job) -> Conversation:
    """Sessions that speak; returns a moment after a final came that no checkpoint can have seen yet."""
    longest = [
        marked_session(f"p{number}", 200, words=1 + number % 4, sample_rate_hertz=8000)
        for number in range(SESSIONS)
    ]
    ids = {session.id for session in longest}
    conversation = Conversation(job.player, longest)
    job.outputs.wait(
        lambda out: {arrival.session_id for arrival in out.arrivals} == ids, 90, "a final of each session"
    )
    job.outputs.follow(4)
    finals = len(job.outputs.finals)
    job.outputs.wait(lambda out: len(out.finals) > finals, 10, "one more final")
    return conversation


def wait_for_all(job: Job, since: float, *, new_streams: bool) -> float:
    """Wait until each session has a final made after `since` (Unix seconds); returns the seconds."""
    ids = {arrival.session_id for arrival in job.outputs.arrivals}
    old_streams = {arrival.stream_id for arrival in job.outputs.arrivals} if new_streams else set()

    def have_spoken(out: Outputs) -> bool:
        fresh = (a for a in out.arrivals if a.made_at > since and a.stream_id not in old_streams)
        return {arrival.session_id for arrival in fresh} == ids

    job.outputs.wait(have_spoken, 60, "a new final of each session")
    return time.time() - since


def finish(job: Job, endpoint: EndpointProcess, conversation: Conversation, measured: Measured) -> None:
    """Some more speech; then everything must be there, once and in order."""
    job.outputs.follow(8)
    sessions = conversation.finish()
    job.outputs.wait_ended(sessions, 120)
    assert_complete(job, sessions)
    assert assert_repeats_are_the_same(job, sessions) == 0
    measured(f"{len(job.outputs.finals)} finals; streams: {end_reasons(endpoint.events())}")
    assert job.outputs.dead_letters == []


def test_a_worker_that_flink_waits_for_goes_on_where_it_was(
    kafka_broker: KafkaBroker,
    lone_flink: FlinkJobServer,
    endpoint: EndpointProcess,
    tmp_path: Path,
    measured: Measured,
) -> None:
    with running_job(kafka_broker, lone_flink, endpoint, tmp_path / "job", options=EXACTLY_ONCE) as job:
        conversation = converse(job)
        [worker] = job.worker_processes()
        worker.suspend()
        job.outputs.follow(PAUSE_SECONDS)
        worker.resume()
        seconds = wait_for_all(job, time.time(), new_streams=True)
        measured(f"paused for {PAUSE_SECONDS} s; all sessions had new finals {seconds:.1f} s after it")
        finish(job, endpoint, conversation, measured)
        assert [process.pid for process in job.worker_processes()] == [worker.pid]


def test_a_worker_that_was_replaced_wakes_up_and_does_no_harm(
    kafka_broker: KafkaBroker,
    lone_flink: FlinkJobServer,
    endpoint: EndpointProcess,
    tmp_path: Path,
    measured: Measured,
) -> None:
    cut_ports = tmp_path / "cut-ports"
    worker = detachable(lone_flink, endpoint, tmp_path, cut_ports)
    environment = [f"--environment_config={json.dumps(worker)}"]
    with running_job(
        *(kafka_broker, lone_flink, endpoint, tmp_path / "job"),
        options=EXACTLY_ONCE,
        beam_options=environment,
    ) as job:
        conversation = converse(job)
        [old_worker] = detachable_workers(lone_flink)
        cut_ports.write_text(" ".join(map(str, listening_ports(lone_flink))))
        cut_at = time.time()
        os.kill(old_worker.pid, signal.SIGUSR1)
        seconds = wait_for_all(job, cut_at, new_streams=True)
        measured(f"cut off and paused; all sessions had finals of another worker {seconds:.1f} s later")
        assert old_worker.status() == psutil.STATUS_STOPPED
        job.outputs.follow(PAUSE_SECONDS - seconds)
        old_streams = {arrival.stream_id for arrival in job.outputs.arrivals if arrival.made_at < cut_at}
        resumed_at = time.time()
        old_worker.resume()
        finish(job, endpoint, conversation, measured)
        late = [a for a in job.outputs.arrivals if a.made_at >= resumed_at and a.stream_id in old_streams]
        measured(f"the old worker published {len(late)} finals when it woke up")
        assert detachable_workers(lone_flink) != [old_worker]
        old_worker.wait(30)


def test_a_worker_that_outlives_its_job_is_not_ahead_of_the_restored_state(
    kafka_broker: KafkaBroker,
    lone_flink: FlinkJobServer,
    endpoint: EndpointProcess,
    tmp_path: Path,
    measured: Measured,
) -> None:
    # A checkpoint held up for so long fails the job, unless --fail_on_checkpointing_errors is given: it is on
    # by default, and Beam's Python SDK turns such a flag off. The restored job gets the worker there is.
    flink_options = ["--checkpoint_timeout_millis=4000", "--environment_cache_millis=5000"]
    with running_job(
        *(kafka_broker, lone_flink, endpoint, tmp_path / "job"),
        options=EXACTLY_ONCE,
        beam_options=flink_options,
    ) as job:
        conversation = converse(job)
        [worker] = job.worker_processes()
        worker.suspend()
        job.outputs.follow(8)  # longer than a checkpoint may take
        assert "from state RUNNING to RESTARTING" in lone_flink.log_path.read_text()
        worker.resume()
        seconds = wait_for_all(job, time.time(), new_streams=False)
        measured(f"job restored; all sessions had new finals {seconds:.1f} s after the pause")
        finish(job, endpoint, conversation, measured)
        assert [process.pid for process in job.worker_processes()] == [worker.pid]


def detachable(
    flink: FlinkJobServer, endpoint: EndpointProcess, directory: Path, cut_ports: Path
) -> dict[str, object]:
    """Beam's PROCESS environment with `detachable_worker`; it wants one executable file."""
    launcher = directory / "launcher"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{detachable_worker.__file__}" "$@"\n')
    launcher.chmod(0o755)
    environment = {
        LOG_DIRECTORY_VARIABLE: str(flink.worker_log_directory),
        detachable_worker.CUT_PORTS_VARIABLE: str(cut_ports),
        **endpoint.environment(),
    }
    return {"command": str(launcher), "env": environment}


def detachable_workers(flink: FlinkJobServer) -> list[psutil.Process]:
    """The workers of `detachable_worker`: those below Flink whose parent and its parent are of it, too."""
    name = Path(detachable_worker.__file__).name

    def is_of_it(process: psutil.Process | None) -> bool:
        return process is not None and any(Path(part).name == name for part in process.cmdline())

    return [
        process
        for process in psutil.Process(flink.pid).children(recursive=True)
        if is_of_it(process) and is_of_it(process.parent()) and is_of_it(process.parents()[1])
    ]


def listening_ports(flink: FlinkJobServer) -> list[int]:
    """Where Flink and Beam's services listen."""
    connections = psutil.Process(flink.pid).net_connections("tcp")
    return [entry.laddr.port for entry in connections if entry.status == psutil.CONN_LISTEN]
