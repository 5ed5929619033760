"""The options with which a pipeline runs on the local Flink, as Beam reads them."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from deploy.local.flink import FlinkJobServer, pipeline_options


def value(options: list[str], name: str) -> str:
    (found,) = [option.partition("=")[2] for option in options if option.startswith(f"--{name}=")]
    return found


def test_workers_are_processes_of_this_environment_with_their_logs_beside_flinks(tmp_path: Path) -> None:
    flink = FlinkJobServer(tmp_path)
    options = flink.pipeline_options(worker_environment={"AWS_REGION": "us-east-1"})
    assert value(options, "environment_type") == "PROCESS"
    worker = json.loads(value(options, "environment_config"))
    assert Path(worker["command"]).parent == Path(sys.executable).parent
    assert Path(worker["command"]).exists()
    assert worker["env"] == {
        "MEDSTREAM_WORKER_LOG_DIR": str(flink.worker_log_directory),
        "AWS_REGION": "us-east-1",
    }
    assert value(options, "job_endpoint") == flink.job_endpoint


def test_checkpoints_and_parallelism_are_pipeline_options() -> None:
    options = pipeline_options("localhost:1", parallelism=2, checkpointing_interval_ms=500)
    assert value(options, "parallelism") == "2"
    assert value(options, "checkpointing_interval") == "500"
    assert "--finish_bundle_before_checkpointing" in options


def test_where_nothing_runs_there_is_no_job_and_nothing_to_cancel(tmp_path: Path) -> None:
    flink = FlinkJobServer(tmp_path)
    assert flink.rest_urls() == flink.jobs() == flink.cancel_jobs() == []


def test_the_job_endpoint_belongs_to_the_directory(tmp_path: Path) -> None:
    assert FlinkJobServer(tmp_path / "a").job_endpoint == FlinkJobServer(tmp_path / "a").job_endpoint
    assert FlinkJobServer(tmp_path / "a").job_endpoint != FlinkJobServer(tmp_path / "b").job_endpoint


def test_a_service_whose_port_lies_among_the_rest_servers_is_none_of_them(tmp_path: Path) -> None:
    """It would look like a job that never ends."""
    rest = socket.create_server(("127.0.0.1", 0))
    first = rest.getsockname()[1]
    job = next(server for port in range(first + 1, first + 50) if (server := listen(port)))
    ports = {"rest": first, "job": job.getsockname()[1], "artifact": 1, "expansion": 2}
    (tmp_path / "ports.json").write_text(json.dumps(ports))

    class ThisProcess(FlinkJobServer):
        pid = os.getpid()

        def is_running(self) -> bool:
            return True

    with rest, job:
        assert ThisProcess(tmp_path).rest_urls() == [f"http://127.0.0.1:{first}"]


def listen(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None
