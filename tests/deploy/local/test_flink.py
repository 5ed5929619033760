"""The options with which a pipeline runs on the local Flink, as Beam reads them."""

from __future__ import annotations

import json
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
