"""More than a minute without the service, with fifty sessions speaking: the worker's memory stays where it
was, nothing is lost, and what was missed goes out at the set pace afterwards. `make prove-outage`: for three
minutes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Job, Session, marked_session, running_job
from tests.integration.verdicts import assert_complete, assert_repeats_are_the_same, largest_burst_seconds

pytestmark = pytest.mark.timeout(540)

SESSIONS = 50
WARM_UP_SECONDS = 20
STEADY_SECONDS = 10
OUTAGE_SECONDS = int(os.environ.get("MEDSTREAM_TEST_OUTAGE_SECONDS", "75"))
CATCH_UP_RATE = 3.0
BURST_SECONDS = 1.0
"""What a stream may send at once before the rate applies (`pipeline.worker.live_stream`)."""
TOLERANCE_SECONDS = 2.0
"""Audio may wait between two busy processes of a busy machine and then arrive together."""
MAX_GROWTH_BYTES = 30 * 1024 * 1024


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    options = ["--max-streams", str(2 * SESSIONS), "--log-level", "warning"]
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as endpoint:
        yield endpoint


@pytest.fixture
def job(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, endpoint: EndpointProcess, tmp_path: Path
) -> Iterator[Job]:
    options = ["--catch-up-rate", str(CATCH_UP_RATE), "--max-live-streams", str(SESSIONS)]
    with running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job:
        yield job


def resident_bytes(workers: list[psutil.Process]) -> int:
    return sum(worker.memory_info().rss for worker in workers)


def follow_memory(job: Job, workers: list[psutil.Process], seconds: float) -> list[int]:
    """The workers' resident memory, a few times a second for so long."""
    sizes = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job.outputs.poll()
        sizes.append(resident_bytes(workers))
    return sizes


def sessions_of_sparse_speech() -> list[Session]:
    """Two words every two seconds: whole seconds of audio to carry, few marks to make."""
    return [
        marked_session(f"o{number}", 180, words=2, word_seconds=0.2, pause_seconds=1.6)
        for number in range(SESSIONS)
    ]


def test_an_outage_of_the_service_costs_no_memory_and_no_words(
    job: Job, endpoint: EndpointProcess, measured: Measured
) -> None:
    longest = sessions_of_sparse_speech()
    ids = {session.id for session in longest}
    conversation = Conversation(job.player, longest)
    job.outputs.wait(
        lambda out: {arrival.session_id for arrival in out.arrivals} == ids, 90, "a final of each session"
    )
    workers = job.worker_processes()
    follow_memory(job, workers, WARM_UP_SECONDS)
    before = max(follow_memory(job, workers, STEADY_SECONDS))  # it goes up and down by some megabytes
    endpoint.stop()
    sizes = follow_memory(job, workers, OUTAGE_SECONDS)
    finals = len(job.outputs.finals)
    endpoint.start()
    began, logged = time.monotonic(), len(endpoint.events())
    sessions = conversation.finish()
    catching_up = follow_memory(job, workers, 1)
    while len({ended["session_id"] for ended in job.outputs.sessions}) < SESSIONS:
        assert time.monotonic() - began < 180, "caught up"
        catching_up += follow_memory(job, workers, 1)
    seconds = time.monotonic() - began

    burst = largest_burst_seconds(endpoint.events()[logged:], CATCH_UP_RATE)
    megabyte = 1024 * 1024
    growth = (max(sizes) - before) / megabyte
    measured(
        f"resident memory before the outage {before / megabyte:.1f} MB, in it {growth:+.1f} MB at most, "
        f"{(sizes[-1] - before) / megabyte:+.1f} MB at its end, "
        f"{(max(catching_up) - before) / megabyte:+.1f} MB at most while catching up",
        f"all sessions ended {seconds:.1f} s after it; at {CATCH_UP_RATE:g} times real time a stream was "
        f"ahead by {burst:.2f} s of audio at most",
    )
    assert_complete(job, sessions)
    assert_repeats_are_the_same(job, sessions)
    assert len(job.outputs.finals) > finals
    assert job.outputs.dead_letters == []
    assert burst <= BURST_SECONDS + TOLERANCE_SECONDS
    assert max(sizes) - before <= MAX_GROWTH_BYTES
