"""The worker's boot program against a real provision service, and its end with the runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
    beam_provision_api_pb2 as api,
)
from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
    beam_provision_api_pb2_grpc as api_grpc,
)
from apache_beam.portability.api.org.apache.beam.model.pipeline.v1 import endpoints_pb2
from apache_beam.runners.worker.sdk_worker_main import _parse_pipeline_options
from google.protobuf import json_format, text_format

from deploy.local.worker import LOG_DIRECTORY_VARIABLE, _harness_environment, _parse

OPTIONS = {"beam:option:max_cache_memory_usage_mb:v1": 100, "beam:option:experiments:v1": ["a=1", "b"]}


class ProvisionService(api_grpc.ProvisionServiceServicer):  # type: ignore[misc]
    """Answers as a runner does; remembers the metadata it was asked with."""

    def __init__(self) -> None:
        self.worker_ids: list[str] = []
        self.info = api.ProvisionInfo(
            logging_endpoint=endpoints_pb2.ApiServiceDescriptor(url="localhost:7001"),
            control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="localhost:7002"),
            runner_capabilities=["beam:protocol:a:v1", "beam:protocol:b:v1"],
        )
        json_format.ParseDict(OPTIONS, self.info.pipeline_options)

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002  gRPC's signature
        self.worker_ids += [item for key, item in context.invocation_metadata() if key == "worker_id"]
        return api.GetProvisionInfoResponse(info=self.info)


@pytest.fixture
def provision() -> Iterator[tuple[ProvisionService, str]]:
    service = ProvisionService()
    server = grpc.server(ThreadPoolExecutor(1))
    api_grpc.add_ProvisionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


def test_the_harness_gets_what_the_provision_service_says(provision: tuple[ProvisionService, str]) -> None:
    service, address = provision
    environment = _harness_environment(_parse(["--id=3-1", f"--provision_endpoint={address}", "--future=1"]))
    assert service.worker_ids == ["3-1"]
    assert environment["WORKER_ID"] == "3-1"
    assert environment["RUNNER_CAPABILITIES"].split() == ["beam:protocol:a:v1", "beam:protocol:b:v1"]
    descriptor = endpoints_pb2.ApiServiceDescriptor()
    text_format.Merge(environment["CONTROL_API_SERVICE_DESCRIPTOR"], descriptor)
    assert descriptor.url == "localhost:7002"
    options = _parse_pipeline_options(environment["PIPELINE_OPTIONS"]).get_all_options(drop_default=True)
    assert options["max_cache_memory_usage_mb"] == 100
    assert options["experiments"] == ["a=1", "b"]
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in environment
    assert "SEMI_PERSISTENT_DIRECTORY" not in environment


def test_optional_parts_are_passed_on(provision: tuple[ProvisionService, str]) -> None:
    service, address = provision
    service.info.status_endpoint.url = "localhost:7003"
    options = _parse(["--id=1", f"--provision_endpoint={address}", "--semi_persist_dir=/var/staged"])
    environment = _harness_environment(options)
    assert "localhost:7003" in environment["STATUS_API_SERVICE_DESCRIPTOR"]
    assert environment["SEMI_PERSISTENT_DIRECTORY"] == "/var/staged"


def test_a_worker_ends_with_its_runner_and_logs_to_a_file_of_its_own(tmp_path: Path) -> None:
    # The "runner" is a shell; its worker waits for a provision service that never answers.
    worker = f"{sys.executable} -m deploy.local.worker --id=7-1 --provision_endpoint=127.0.0.1:9"
    runner = subprocess.Popen(
        ["sh", "-c", f"{worker} & wait"], env={**os.environ, LOG_DIRECTORY_VARIABLE: str(tmp_path / "logs")}
    )
    deadline = time.monotonic() + 20
    while not (logs := list((tmp_path / "logs").glob("worker-7-1-*.log"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(logs[0].stem.rpartition("-")[2])
    assert psutil.Process(pid).ppid() == runner.pid
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_the_options_are_handed_over_as_json(provision: tuple[ProvisionService, str]) -> None:
    _, address = provision
    environment = _harness_environment(_parse(["--id=1", f"--provision_endpoint={address}"]))
    assert json.loads(environment["PIPELINE_OPTIONS"]) == OPTIONS
    assert "100.0" not in environment["PIPELINE_OPTIONS"]
