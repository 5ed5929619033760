"""`medstream run --stop-at`: a recorded topic is transcribed to its end, and the job ends by itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.harness import marked_session, running_job
from tests.integration.verdicts import assert_complete

pytestmark = pytest.mark.timeout(180)


def test_a_replay_to_the_end_publishes_everything_and_ends(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path
) -> None:
    options = ["--stop-at=end", "--session-timeout-seconds=10"]
    sessions = [marked_session(f"replay{number}", 3) for number in range(3)]
    with (
        EndpointProcess(tmp_path, recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options, replay=sessions) as job,
    ):
        job.outputs.job_is_running = lambda: True
        deadline = time.monotonic() + 120
        while job.process.is_running() and time.monotonic() < deadline:
            job.outputs.poll()
        assert not job.process.is_running(), "the job did not end"
        assert "ended in failure" not in job.log_path.read_text()
        job.outputs.wait_ended(sessions, 10)
        assert_complete(job, sessions)
