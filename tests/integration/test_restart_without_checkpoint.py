"""A job that was cancelled, or drained, and one that begins without its checkpoint: from committed offsets.

All state is gone, and the second has twice the parallelism. Sessions that were in the middle go on at their
place: every word once, at its time on the session's own timeline, under numbers that go on; also those whose
last audio had been delivered before, and of which nothing more comes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.settings import DELIVERIES, EXACTLY_ONCE
from tests.integration.committed_reader import CommittedReader, assert_each_word_once
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Job, Player, marked_session, running_job
from tests.integration.verdicts import assert_complete

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_sessions_go_on_from_what_was_published_and_nothing_of_it_comes_again(
    kafka_broker: KafkaBroker,
    flink: FlinkJobServer,
    tmp_path: Path,
    measured: Measured,
    delivery: str,
) -> None:
    options = [f"--delivery={delivery}", "--catch-up-rate=4"]
    words = ["--recogniser-option", "max-words=5"]
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=words) as endpoint:
        with running_job(kafka_broker, flink, endpoint, tmp_path / "first", options=options) as job:
            player = Player(kafka_broker, job.topics.audio)
            talking = Conversation(player, [marked_session(f"t{n}", 400, words=2 + n) for n in range(3)])
            job.outputs.wait(lambda out: len(out.finals) > 10, 90, "finals")
            # Its last sentence is on the topic, and no final of it can have come when the job ends.
            silent = marked_session("silent", 3, words=6)
            player.play([silent], speed=0).join()
            if delivery == EXACTLY_ONCE:
                drain(job, kafka_broker)
            else:
                time.sleep(2.5)  # offsets are committed about once a second
                flink.cancel_jobs()
        with running_job(
            *(kafka_broker, flink, endpoint, tmp_path / "second"),
            topics=job.topics,
            options=options,
            beam_options=["--parallelism=2"],
        ) as again:
            reader = CommittedReader(kafka_broker.bootstrap_servers, job.topics, partitions=2)
            before = len(job.outputs.finals)
            reader.seconds_until_all_spoke({s.id for s in talking.sessions}, time.time(), 90)
            sessions = [*talking.finish(), silent]
            reader.wait_ended(sessions, 90)
            again.outputs.wait_ended(sessions, 30)
            again.outputs.follow(1)
            reader.close()
        player.close()
        published = len(reader.finals)
        from_the_beginning = [*options, "--start-from=earliest", "--stop-at=end"]
        with running_job(
            kafka_broker, flink, endpoint, tmp_path / "third", topics=job.topics, options=from_the_beginning
        ) as third:
            assert third.process.wait(90) == 0, "a replay ends by itself"
            assert "what was published of them is not published again" in third.log_path.read_text()
            third.outputs.follow(1)
            assert len(third.outputs.finals) == published
    measured(f"{delivery}: {before} finals of the first job, {len(reader.finals) - before} of the second")
    if delivery == EXACTLY_ONCE:
        assert_each_word_once(reader, sessions)
    assert_complete(again, sessions)


def drain(job: Job, broker: KafkaBroker) -> None:
    """By the command, on the embedded Flink, which goes with its job."""
    [rest_url] = job.flink.rest_urls()
    topics = job.topics
    medstream = Path(sys.executable).with_name("medstream")
    command = [medstream, "jobs", "drain", f"--flink-url={rest_url}", f"--group-id={topics.audio}"]
    command += [f"--bootstrap-servers={broker.bootstrap_servers}", f"--input-topic={topics.audio}"]
    subprocess.run([*command, f"--output-topic={topics.finals}"], check=True, timeout=90)
    assert job.process.wait(30) == 0
