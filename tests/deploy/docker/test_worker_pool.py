"""The worker pool, as the image runs it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)

from deploy.docker.worker_pool import WORKER, answers
from tests.deploy.docker.sandbox import BIN, ENVIRONMENT, hardened

WAIT_SECONDS = 60.0


class ProvisionService(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """A runner's, whose control service nobody listens at."""

    def __init__(self) -> None:
        self.workers: list[str] = []

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002  gRPC's signature
        self.workers += [value for key, value in context.invocation_metadata() if key == "worker_id"]
        info = beam_provision_api_pb2.ProvisionInfo()
        info.logging_endpoint.url = info.control_endpoint.url = "localhost:9"
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


@pytest.fixture
def provision() -> Iterator[tuple[ProvisionService, str]]:
    service = ProvisionService()
    server = grpc.server(ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Its port and process."""
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            hardened(["medstream-worker-pool", f"--port={port}"]), env=ENVIRONMENT, stdout=log, stderr=log
        )
        yield port, psutil.Process(process.pid)
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_worker_is_started_in_the_image_and_ends_with_the_pool(
    pool: tuple[int, psutil.Process], provision: tuple[ProvisionService, str]
) -> None:
    port, process = pool
    service, address = provision
    until(lambda: answers(port))
    listening = [found for found in process.net_connections("tcp") if found.status == psutil.CONN_LISTEN]
    assert [found.laddr.ip.removeprefix("::ffff:") for found in listening] == ["127.0.0.1"]
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="7-1")
    request.provision_endpoint.url = address
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        assert stub.StartWorker(request, timeout=WAIT_SECONDS).error == ""
    until(lambda: service.workers)
    assert service.workers == ["7-1"]
    [worker] = process.children()
    assert any(Path(argument).name == WORKER for argument in worker.cmdline())
    # Nobody reads the pipe that Beam's pool gives to its workers.
    output = [Path(f"/proc/{worker.pid}/fd/{number}").readlink() for number in (1, 2)]
    assert output[0] == output[1]
    process.send_signal(signal.SIGTERM)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command = [str(BIN / "medstream-worker-pool"), f"--port={port}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_the_probe_tells_by_its_exit_code() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        probe = [str(BIN / "medstream-worker-pool"), "--check", f"--port={port}"]
        assert subprocess.run(probe, check=False).returncode == 0
    assert subprocess.run(probe, check=False).returncode == 1
