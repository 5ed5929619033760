"""What exactly-once costs: the delay of finals under both deliveries, in one run on one stack.

    python -m tests.benchmarks.deliveries [--sessions 10] [--seconds 60]

Two jobs run side by side on the same broker, Flink and endpoint, with as many sessions each; marked audio is
played to both in real time. The delay of a final is the time from the endpoint's sending it to a
`read_committed` consumer of librdkafka having it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.settings import DELIVERIES
from tests.integration.committed_reader import CommittedReader, assert_each_word_once
from tests.integration.harness import Conversation, Job, marked_session, running_job

PARTITIONS = 2
WARM_UP_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.deliveries", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10, help="of each job")
    parser.add_argument("--seconds", type=float, default=60, help="of audio that is measured")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medstream-bench-")))
        broker = stack.enter_context(KafkaBroker(folder / "kafka"))
        flink = stack.enter_context(FlinkJobServer(folder / "flink"))
        limit = ["--max-streams", str(4 * options.sessions)]
        endpoint = stack.enter_context(
            EndpointProcess(folder / "endpoint", recogniser="markers", options=limit)
        )
        jobs: dict[str, tuple[Job, CommittedReader]] = {}
        for name in DELIVERIES:
            choice = [f"--delivery={name}"]
            job = stack.enter_context(running_job(broker, flink, endpoint, folder / name, options=choice))
            reader = CommittedReader(broker.bootstrap_servers, job.topics, PARTITIONS)
            stack.callback(reader.close)
            jobs[name] = job, reader
        since = play(jobs, options.sessions, options.seconds)
        show({name: delays(endpoint, reader, since) for name, (_, reader) in jobs.items()})


def play(jobs: dict[str, tuple[Job, CommittedReader]], sessions: int, seconds: float) -> float:
    """Conversations in all jobs at once, to their ends; returns when the measurement began (Unix seconds)."""
    talks = []
    for name, (job, _) in jobs.items():
        spoken = [marked_session(f"{name[:1]}{n}", 4000, words=2 + n % 5) for n in range(sessions)]
        talks.append((name, spoken, Conversation(job.player, spoken)))
    for name, spoken, _ in talks:
        jobs[name][1].seconds_until_all_spoke({session.id for session in spoken}, 0.0, 90)
    time.sleep(WARM_UP_SECONDS)
    since = time.time()
    time.sleep(seconds)
    for name, _, talk in talks:
        ended = talk.finish()
        reader = jobs[name][1]
        reader.wait_ended(ended, 60)
        assert_each_word_once(reader, ended)
    return since


def delays(endpoint: EndpointProcess, reader: CommittedReader, since: float) -> list[float]:
    """Milliseconds of each final sent after `since`, by stream and order."""
    sent: defaultdict[str, list[float]] = defaultdict(list)
    for event in endpoint.events():
        if event["event"] == "final_sent":
            sent[event["session_id"]].append(event["emitted_at"])
    arrived: defaultdict[str, list[float]] = defaultdict(list)
    for arrival in reader.arrivals:
        arrived[arrival.stream_id].append(arrival.arrived_at)
    return [
        1000 * (there - emitted)
        for stream, moments in arrived.items()
        for emitted, there in zip(sent[stream], moments, strict=True)
        if emitted >= since
    ]


def show(found: dict[str, list[float]]) -> None:
    table = Table(
        "delivery", "finals", "p50 ms", "p90 ms", "p99 ms", title="from the service to the consumer"
    )
    for name, values in found.items():
        cuts = statistics.quantiles(values, n=100)
        table.add_row(name, str(len(values)), *(f"{cuts[at - 1]:.0f}" for at in (50, 90, 99)))
    at_least, exactly = (statistics.median(found[name]) for name in DELIVERIES)
    console = Console()
    console.print(table)
    console.print(f"exactly-once: p50 {exactly - at_least:+.0f} ms, {exactly / at_least:.2f} times")


if __name__ == "__main__":
    main()
