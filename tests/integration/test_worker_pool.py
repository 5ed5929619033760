"""A job whose workers come from the worker pool, as in a hardened container, on real Flink; one is killed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest

from deploy.docker.submission_gate import obstacle
from deploy.docker.worker_pool import answers
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import free_port
from deploy.local.transcribe.process import EndpointProcess
from tests.deploy.docker.sandbox import ENVIRONMENT, hardened
from tests.integration.harness import marked_session, running_job, words_of


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture
def pool(endpoint: EndpointProcess, tmp_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Its port and process."""
    port = free_port()
    command = hardened(["medstream-worker-pool", f"--port={port}"])
    with (tmp_path / "pool.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**ENVIRONMENT, **endpoint.environment()}, stdout=log, stderr=log
        )
        while not answers(port):
            assert process.poll() is None
            time.sleep(0.1)
        yield port, psutil.Process(process.pid)
        process.terminate()
        process.wait(30)


def test_workers_of_the_pool_do_the_job_and_come_back(
    kafka_broker: KafkaBroker,
    flink: FlinkJobServer,
    endpoint: EndpointProcess,
    pool: tuple[int, psutil.Process],
    tmp_path: Path,
) -> None:
    port, process = pool
    external = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
    with running_job(kafka_broker, flink, endpoint, tmp_path / "job", beam_options=external) as job:

        def play(name: str) -> None:
            session = marked_session(name, 2)
            job.player.play([session], speed=4)
            job.outputs.wait_ended([session], 120)
            said = words_of(job.outputs.finals_of(session.id))
            assert said == list(chain.from_iterable(session.sentences))

        play("first")
        [rest_url] = flink.rest_urls()
        assert "runs medstream" in str(obstacle(rest_url, flink.job_endpoint, 0))
        [worker] = process.children()
        worker.kill()
        play("second")
        assert [child.pid for child in process.children()] != [worker.pid]
