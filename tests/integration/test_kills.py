"""Everything is killed once, with twenty sessions speaking: workers, broker, endpoint, the account's quota.

Real Kafka, real Flink with a checkpoint each second, the endpoint over HTTP/2, audio in real time. Whatever
happens, each session's finals are complete, in order and at their times; how soon the first final comes
after each kill is printed in the summary of the run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Job, Outputs, marked_session, running_job
from tests.integration.verdicts import assert_complete, assert_repeats_are_the_same, end_reasons

pytestmark = pytest.mark.timeout(540)

SESSIONS = 20
LONGEST_SENTENCES = 400  # of a second or more; the conversation is ended long before
THROTTLED_SECONDS = 30
LIVENESS_SECONDS = 60
"""No promise, but longer than this without a final is a defect."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """Of its own, since it is killed."""
    with KafkaBroker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    # Streams of a killed worker count until the endpoint notices that their connections are gone.
    options = ["--max-streams", str(3 * SESSIONS)]
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as endpoint:
        yield endpoint


@pytest.fixture
def job(
    broker: KafkaBroker, flink: FlinkJobServer, endpoint: EndpointProcess, tmp_path: Path
) -> Iterator[Job]:
    with running_job(broker, flink, endpoint, tmp_path / "job", options=["--catch-up-rate", "4"]) as job:
        yield job


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until finals came again: of the first session that has one, the median one and the last."""

    what: str
    first: float
    median: float
    last: float

    def row(self) -> str:
        return f"{self.what:28} {self.first:6.1f} {self.median:6.1f} {self.last:6.1f}"


def recover(
    job: Job, what: str, disturb: Callable[[], None], ids: set[str], *, streams_survive: bool = False
) -> Recovery:
    """Disturb the job, and wait until each session has a final that was made after it.

    Unless the streams survive it, that final is of a new stream: what an old one had said does not count.
    """
    job.outputs.follow(4)  # a second or more for a checkpoint, and for the finals on their way
    old_streams = set() if streams_survive else {arrival.stream_id for arrival in job.outputs.arrivals}
    disturbed_at = time.time()
    disturb()

    def seconds_by_session(out: Outputs) -> dict[str, float]:
        found: dict[str, float] = {}
        for arrival in out.arrivals:
            if arrival.made_at >= disturbed_at and arrival.stream_id not in old_streams:
                found.setdefault(arrival.session_id, arrival.arrived_at - disturbed_at)
        return found

    job.outputs.wait(
        lambda out: seconds_by_session(out).keys() == ids, LIVENESS_SECONDS, f"each session after: {what}"
    )
    seconds = sorted(seconds_by_session(job.outputs).values())
    return Recovery(what, seconds[0], statistics.median(seconds), seconds[-1])


def throttle(job: Job, endpoint: EndpointProcess) -> None:
    """Every stream is cut, and none is let in for a while; returns after it."""
    endpoint.inject(
        {"kind": "refuse", "code": "LimitExceededException", "times": None},
        {"kind": "reset", "running": True, "times": None},
    )
    job.outputs.follow(THROTTLED_SECONDS)
    endpoint.clear_faults()


def test_whatever_is_killed_twenty_sessions_are_whole(
    job: Job, broker: KafkaBroker, endpoint: EndpointProcess, measured: Measured
) -> None:
    # Sentences of different lengths, so that finals come at all times and a kill falls between some.
    longest = [
        marked_session(f"k{number}", LONGEST_SENTENCES, words=1 + number % 4, sample_rate_hertz=8000)
        for number in range(SESSIONS)
    ]
    ids = {session.id for session in longest}

    def restart_broker() -> None:
        broker.kill()
        broker.restart()

    def restart_endpoint() -> None:
        endpoint.kill()
        endpoint.restart()

    conversation = Conversation(job.player, longest)
    job.outputs.wait(
        lambda out: {arrival.session_id for arrival in out.arrivals} == ids, 90, "a final of each session"
    )
    recoveries = [
        recover(job, "worker killed", job.kill_workers, ids),
        recover(job, "worker killed again", job.kill_workers, ids),
        recover(job, "worker killed a third time", job.kill_workers, ids),
        recover(job, "broker killed, restarted", restart_broker, ids, streams_survive=True),
        recover(job, "endpoint killed, restarted", restart_endpoint, ids),
    ]
    throttled = recover(job, f"throttled for {THROTTLED_SECONDS} s", lambda: throttle(job, endpoint), ids)
    recoveries.append(throttled)
    sessions = conversation.finish()
    job.outputs.wait_ended(sessions, 120)

    measured(f"{'seconds to the first final':28}  first median   last", *(row.row() for row in recoveries))
    rejected = [(letter["error_class"], letter["message"]) for letter in job.outputs.dead_letters]
    assert rejected == []
    assert [ended["gaps"] for ended in job.outputs.sessions if ended["gaps"]] == []
    assert_complete(job, sessions)
    repeats = assert_repeats_are_the_same(job, sessions)
    retries = sum(ended["retries"] for ended in job.outputs.sessions)
    measured(f"{len(job.outputs.finals)} finals, {repeats} of them repeats; {retries} retries")
    measured(f"ends of streams: {end_reasons(endpoint.events())}")
    assert throttled.first > THROTTLED_SECONDS, "nothing came while it was throttled"
