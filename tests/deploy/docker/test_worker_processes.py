"""A pool over real gRPC that starts real processes; what they do is scripted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
)
from apache_beam.portability.api.org.apache.beam.model.pipeline.v1 import endpoints_pb2

from deploy.docker.worker_pool import WorkerProcesses, serve
from deploy.local.processes import accepts_connections, free_port

# Writes more than a pipe holds, then how it was called, and lives on.
WORKER = """
import pathlib, sys, time
print("x" * 200_000)
name = next(a for a in sys.argv if a.startswith("--id=")).removeprefix("--id=")
pathlib.Path(sys.argv[1], name).write_text(" ".join(sys.argv[2:]))
time.sleep(600)
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[WorkerProcesses]:
    workers = WorkerProcesses([sys.executable, "-c", WORKER, str(tmp_path)], grace_seconds=2)
    yield workers
    workers.stop_all()


@pytest.fixture
def stub(workers: WorkerProcesses) -> Iterator[Any]:
    server, port = serve("127.0.0.1:0", workers)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
    server.stop(0)


def start(stub: Any, name: str) -> str:
    endpoint = endpoints_pb2.ApiServiceDescriptor(url="localhost:4711")
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=name, provision_endpoint=endpoint)
    return str(stub.StartWorker(request, timeout=10).error)


def stop(stub: Any, name: str) -> str:
    return str(stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=name), timeout=10).error)


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_is_started_as_the_runner_says_and_stopped(stub: Any, tmp_path: Path) -> None:
    before = set(children())
    assert start(stub, "1-1") == ""
    called = tmp_path / "1-1"
    wait(lambda: called.exists() and called.read_text())
    assert called.read_text() == "--id=1-1 --provision_endpoint=localhost:4711"
    [worker] = set(children()) - before
    assert stop(stub, "1-1") == ""
    assert not worker.is_running()
    assert stop(stub, "1-1") == ""


def test_a_runner_that_has_lost_a_worker_gets_a_new_one_for_it(stub: Any) -> None:
    before = set(children())
    start(stub, "1-1")
    [lost] = set(children()) - before
    start(stub, "1-1")
    [worker] = set(children()) - before
    assert worker != lost


def test_what_cannot_be_started_is_told_to_the_runner() -> None:
    server, port = serve("127.0.0.1:0", WorkerProcesses(["/nowhere/worker"]))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        assert "/nowhere/worker" in start(stub, "1-1")
    server.stop(0)


def test_the_command_serves_on_loopback_until_it_is_told_to_end() -> None:
    port = free_port()
    command = [Path(sys.executable).with_name("medstream-worker-pool"), f"--port={port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as pool:
        wait(lambda: accepts_connections(port, "127.0.0.1"))
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
        pool.terminate()
        assert pool.wait(10) == 0
