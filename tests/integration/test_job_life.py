"""The life of a job on a standalone Flink cluster, by the commands of the runbook (deploy/README.md).

Two TaskManagers with two slots each, forty sessions that speak all the while, exactly-once delivery. The job
loses a TaskManager and the JobManager, is stopped with a savepoint and resumed with another parallelism,
resumed from its newest checkpoint, upgraded by a drain, and rolled back. In the end a `read_committed`
consumer has each word of each session once, in order, with segment indexes without holes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.flink_cluster import FlinkCluster
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.settings import EXACTLY_ONCE
from tests.integration.committed_reader import CommittedReader, assert_each_word_once
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Job, Player, Topics, marked_session, running_job

pytestmark = pytest.mark.timeout(900)

SESSIONS = 40
PARTITIONS = 4
LIVENESS_SECONDS = 120
"""No promise, but longer than this without a final is a defect. Two cores with a second Flink and its tests
are overloaded: 52 s were seen.
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    # Streams of a killed worker count until the endpoint notices that their connections are gone.
    options = ["--max-streams", str(4 * SESSIONS)]
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as endpoint:
        yield endpoint


class Life:
    """One conversation, through one job after another. `reader` sees what all of them commit."""

    def __init__(
        self,
        broker: KafkaBroker,
        cluster: FlinkCluster,
        endpoint: EndpointProcess,
        directory: Path,
        sessions: int = SESSIONS,
    ) -> None:
        self.broker, self.cluster, self.endpoint, self.directory = broker, cluster, endpoint, directory
        self.topics = Topics.create(broker, PARTITIONS)
        self.player = Player(broker, self.topics.audio)
        # Sentences of different lengths, so that finals come at all times.
        longest = [
            marked_session(f"l{number}", 400, words=1 + number % 4, sample_rate_hertz=8000)
            for number in range(sessions)
        ]
        self.talking = Conversation(self.player, longest)
        self.ids = {session.id for session in longest}
        self.reader = CommittedReader(broker.bootstrap_servers, self.topics, partitions=2)
        self._jobs = 0

    def job(self, *options: str, parallelism: int = 4) -> AbstractContextManager[Job]:
        """`medstream run`."""
        self._jobs += 1
        return running_job(
            *(self.broker, self.cluster, self.endpoint, self.directory / f"job-{self._jobs}"),
            topics=self.topics,
            # However Flink spreads the sessions over the workers, none waits for a stream.
            options=[
                f"--delivery={EXACTLY_ONCE}",
                "--catch-up-rate=4",
                f"--max-live-streams={SESSIONS}",
                *options,
            ],
            beam_options=[f"--parallelism={parallelism}"],
        )

    def command(self, *arguments: str) -> str:
        """`medstream jobs …`, as an operator types it; returns its standard output."""
        medstream = Path(sys.executable).with_name("medstream")
        command = [medstream, "jobs", *arguments, f"--flink-url={self.cluster.rest_url}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def drain(self) -> None:
        self.command(
            "drain",
            f"--bootstrap-servers={self.broker.bootstrap_servers}",
            f"--input-topic={self.topics.audio}",
            f"--output-topic={self.topics.finals}",
            f"--group-id={self.topics.audio}",
        )

    def seconds_until_all_spoke(self, since: float) -> float:
        """Until each session has a final that was made after `since` (Unix seconds)."""
        return self.reader.seconds_until_all_spoke(self.ids, since, LIVENESS_SECONDS)

    def finals_again(self, killed_at: float) -> str:
        """How soon finals came again, of streams that were opened after it (Unix seconds)."""
        old = {arrival.stream_id for arrival in list(self.reader.arrivals) if arrival.made_at <= killed_at}
        last = 1 + self.seconds_until_all_spoke(killed_at + 1)
        fresh = (a.arrived_at for a in list(self.reader.arrivals) if a.stream_id not in old)
        return f"finals again after {min(fresh) - killed_at:.1f} s, of every session after {last:.1f} s"

    def finish(self) -> None:
        """Every word once, at the end."""
        sessions = self.talking.finish()
        self.reader.wait_ended(sessions, 240)  # whatever was heard since a savepoint is heard once more
        self.player.close()
        self.reader.close()
        assert_each_word_once(self.reader, sessions)


def test_a_job_lives_through_what_befalls_it_and_every_word_is_published_once(
    kafka_broker: KafkaBroker, endpoint: EndpointProcess, tmp_path: Path, measured: Measured
) -> None:
    with FlinkCluster(tmp_path / "cluster", task_managers=2, slots=2) as cluster:
        life = Life(kafka_broker, cluster, endpoint, tmp_path)
        with life.job():
            life.seconds_until_all_spoke(time.time())
            measured(f"streams by worker: {sorted(streams_by_worker(life).values())}")
            assert len(streams_by_worker(life)) == 2, "sessions are spread over both TaskManagers"
            killed_at = time.time()
            cluster.task_managers[0].kill()
            cluster.task_managers[0].restart()
            measured(f"TaskManager killed: {life.finals_again(killed_at)}")
            stopped_with = life.command("stop")
        with life.job(f"--resume-from={stopped_with}", parallelism=2):
            life.seconds_until_all_spoke(time.time())
            [listed] = json.loads(life.command("list", "--json"))
            assert listed["restored_path"] == stopped_with
            cluster.job_manager.kill()
        cluster.job_manager.restart()
        cluster.wait_for_task_managers()
        with life.job(f"--resume-from={cluster.checkpoints}"):
            life.seconds_until_all_spoke(time.time())
            kept = life.command("savepoint")
            [listed] = json.loads(life.command("list", "--json"))
            assert listed["state"] == "RUNNING"
            assert listed["checkpoint_path"]
            drained_at = time.time()
            life.drain()
            measured(f"drained in {time.time() - drained_at:.1f} s")
        with life.job():  # the new version, from the committed offsets
            life.seconds_until_all_spoke(time.time())
            life.command("cancel")
        with life.job(f"--resume-from={kept}"):  # rolled back, to the state before the upgrade
            life.finish()
        assert_one_stream_at_a_time(life.reader)


def test_workers_of_a_pool_beside_each_task_manager(
    kafka_broker: KafkaBroker, endpoint: EndpointProcess, tmp_path: Path, measured: Measured
) -> None:
    """As in Kubernetes: the EXTERNAL environment."""
    environment = endpoint.environment()
    with FlinkCluster(tmp_path / "cluster", worker_pools=True, worker_environment=environment) as cluster:
        life = Life(kafka_broker, cluster, endpoint, tmp_path, sessions=12)
        with life.job(parallelism=4):
            life.seconds_until_all_spoke(time.time())
            assert len(streams_by_worker(life)) == 2
            assert {worker.ppid() for worker in cluster.workers()} == {p.pid for p in cluster.worker_pools}
            killed_at = time.time()
            cluster.task_managers[1].kill()
            cluster.task_managers[1].restart()
            measured(f"TaskManager of a pool killed: {life.finals_again(killed_at)}")
            life.finish()
        assert_one_stream_at_a_time(life.reader)
        left = cluster.workers()  # of a job that restarted just after its start Flink's runner forgets some
    assert [worker for worker in left if worker.is_running()] == [], "the pools have ended their workers"


def streams_by_worker(life: Life) -> Counter[int]:
    """How many connections to the endpoint each worker has."""
    port = life.endpoint.port
    return Counter(
        {
            worker.pid: count
            for worker in life.cluster.workers()
            if (count := sum(found.raddr and found.raddr.port == port for found in connections(worker)))
        }
    )


def connections(worker: psutil.Process) -> list[Any]:
    return [found for found in worker.net_connections("tcp") if found.status == psutil.CONN_ESTABLISHED]


def assert_one_stream_at_a_time(reader: CommittedReader) -> None:
    """A session that was on two workers at once would have finals of two streams by turns."""
    streams: defaultdict[str, list[str]] = defaultdict(list)
    for final in reader.finals:
        streams[final["session_id"]].append(final["stream_id"])
    for used in streams.values():
        runs = [stream for stream, _ in groupby(used)]
        assert len(runs) == len(set(runs))
