"""`make soak-job`: a job for an hour, fifty sessions at a time, on a standalone Flink cluster.

Sessions last some minutes, end, and others begin, in real time; the endpoint reads back marked words. Each
minute is printed: resident memory of every Python worker (the minute's median), heap of every JVM of Flink,
size of the newest checkpoint, finals, and how late they were (from the endpoint's result to a consumer that
is `read_committed`). At the end: the slopes after the warm-up, and whether every word of every session came
once, in order.

    python -m tests.benchmarks.job_soak --minutes 60 --sessions 50 --json soak.json

The checkpoint grows by the state that Flink's runner leaves at each read of a partition (Beam issue 27648):
that is measured here too. After 32,767 reads of one subtask that runner's job restarts, with new workers
(deploy/README.md, "Sizing"), so an hour has to do with fewer: hence the source's longer interval. The first
sessions end, and are remembered for some minutes more, until all that a worker holds is there: hence the
warm-up. All audio is synthetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local.flink_cluster import FlinkCluster
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.jobs.flink_rest import checkpoints
from tests.integration.committed_reader import CommittedReader, assert_each_word_once
from tests.integration.harness import Player, Session, Topics, marked_session, running_job

SCREEN = Console(stderr=True, width=200)
ROUND_SECONDS = 240.0
RESIDENT_INTERVAL_SECONDS = 3.0
GROUPS = 5  # of sessions, which begin one after the other
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Minute:
    """The job as it was at `seconds` after its start. Memory in MiB, by process."""

    seconds: float
    workers_mib: tuple[float, ...]
    heaps_mib: tuple[float, ...]
    checkpoint_kib: float
    finals: int
    ended: int
    late_p50_ms: float
    late_p99_ms: float


@dataclass(slots=True)
class Speakers:
    """Groups of sessions in threads: when a group's sessions have ended, others take their place."""

    player: Player
    sessions: int
    until: float
    spoken: list[Session] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        threads = [
            threading.Thread(target=self._speak, args=(number,), daemon=True) for number in range(GROUPS)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _speak(self, group: int) -> None:
        time.sleep(group * ROUND_SECONDS / GROUPS)
        number = 0
        while time.monotonic() + 30 < self.until:
            seconds = min(ROUND_SECONDS, self.until - time.monotonic())
            sessions = [
                _session(f"g{group}r{number}n{place}", place, seconds)
                for place in range(group, self.sessions, GROUPS)
            ]
            self.spoken += sessions
            self.player.play(sessions).join()
            number += 1


def _session(name: str, place: int, seconds: float) -> Session:
    words = 1 + place % 5
    sentences = int(seconds / (words * 0.3 + 0.7))
    return marked_session(name, max(1, sentences), words=words, sample_rate_hertz=8000)


def run(arguments: argparse.Namespace, directory: Path) -> dict[str, object]:
    with (
        KafkaBroker(directory / "kafka") as broker,
        EndpointProcess(
            directory / "endpoint", recogniser="markers", options=["--max-streams", "500"]
        ) as endpoint,
        FlinkCluster(
            directory / "cluster",
            task_managers=arguments.task_managers,
            slots=2,
            task_heap_mib=arguments.task_heap_mib,
            heartbeat_timeout_ms=50_000,
        ) as cluster,
    ):
        topics = Topics.create(broker, arguments.partitions)
        options = [f"--checkpointing_interval={arguments.checkpoint_seconds * 1000}"]
        with running_job(
            *(broker, cluster, endpoint, directory / "job"),
            topics=topics,
            # However the sessions are spread over the workers, none waits for a stream.
            options=[
                f"--delivery={arguments.delivery}",
                f"--max-live-streams={arguments.sessions}",
                f"--read-interval-ms={arguments.read_interval_ms}",
            ],
            beam_options=[*options, f"--parallelism={arguments.parallelism}"],
        ) as job:
            reader = CommittedReader(broker.bootstrap_servers, topics, partitions=2)
            until = time.monotonic() + arguments.minutes * 60
            speakers = Speakers(job.player, arguments.sessions, until)
            threads = speakers.start()
            minutes = watch(cluster, reader, until)
            for thread in threads:
                thread.join()
            reader.wait_ended(speakers.spoken, 180)
            reader.close()
    assert_each_word_once(reader, speakers.spoken)
    SCREEN.print(f"{len(reader.finals)} finals of {len(speakers.spoken)} sessions: every word once, in order")
    warm = [minute for minute in minutes if minute.seconds >= arguments.warm_up_minutes * 60]
    return {
        "settings": vars(arguments) | {"json": None},
        "sessions": len(speakers.spoken),
        "finals": len(reader.finals),
        "worker_mib_per_10_minutes": _slopes(warm, "workers_mib"),
        "heap_mib_per_10_minutes": _slopes(warm, "heaps_mib"),
        "checkpoint_kib_per_minute": _slope([(m.seconds, m.checkpoint_kib) for m in warm]) * 60,
        "minutes": [asdict(minute) for minute in minutes],
    }


def watch(cluster: FlinkCluster, reader: CommittedReader, until: float) -> list[Minute]:
    """A line a minute, until then."""
    began, minutes, seen = time.monotonic(), [], 0
    while time.monotonic() < until:
        resident = resident_mib(cluster, min(60.0, max(1.0, until - time.monotonic())))
        late = [1000 * (arrival.arrived_at - arrival.made_at) for arrival in list(reader.arrivals[seen:])]
        seen += len(late)
        minute = Minute(
            round(time.monotonic() - began),
            resident,
            tuple(round(heap / MIB, 1) for heap in heaps(cluster)),
            checkpoint_kib(cluster),
            len(reader.finals),
            len(reader.ended),
            round(statistics.median(late), 1) if late else 0.0,
            round(statistics.quantiles(late, n=100)[98], 1) if len(late) > 1 else 0.0,
        )
        minutes.append(minute)
        SCREEN.print(
            f"{minute.seconds / 60:5.1f} min  workers {minute.workers_mib} heaps {minute.heaps_mib} MiB  "
            f"checkpoint {minute.checkpoint_kib:.0f} KiB  finals {minute.finals}  ended {minute.ended}  "
            f"late p50 {minute.late_p50_ms:.0f} p99 {minute.late_p99_ms:.0f} ms",
            highlight=False,
        )
    return minutes


def resident_mib(cluster: FlinkCluster, seconds: float) -> tuple[float, ...]:
    """Each worker's median over so long: from one second to the next it goes up and down with its bundles."""
    until, seen = time.monotonic() + seconds, defaultdict[int, list[float]](list)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(RESIDENT_INTERVAL_SECONDS, left))
        for worker in cluster.workers():
            seen[worker.pid].append(_rss(worker) / MIB)
    return tuple(round(statistics.median(values), 1) for _, values in sorted(seen.items()))


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def heaps(cluster: FlinkCluster) -> list[float]:
    """Used heap in bytes: the JobManager's, then the TaskManagers'."""
    name = "Status.JVM.Memory.Heap.Used"
    ids = [manager.resource_id for manager in cluster.task_managers]
    paths = ["/jobmanager", *(f"/taskmanagers/{found}" for found in ids)]
    found = []
    for path in paths:
        with urlopen(f"{cluster.rest_url}{path}/metrics?get={name}", timeout=5) as answer:  # noqa: S310
            [metric] = json.load(answer) or [{"value": "0"}]
            found.append(float(metric["value"]))
    return found


def checkpoint_kib(cluster: FlinkCluster) -> float:
    """Of the newest one."""
    jobs = cluster.jobs()
    return (checkpoints(jobs[0]).latest_bytes or 0) / 1024 if jobs else 0.0


def _slopes(minutes: Sequence[Minute], name: str) -> list[float]:
    """Per ten minutes, for each process that was there all the time."""
    rows = [getattr(minute, name) for minute in minutes]
    if not rows or len({len(row) for row in rows}) != 1:
        return []
    seconds = [minute.seconds for minute in minutes]
    columns = zip(*rows, strict=True)
    return [round(600 * _slope(list(zip(seconds, column, strict=True))), 2) for column in columns]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def show(found: dict[str, object]) -> None:
    table = Table("figure", "value")
    for name, value in found.items():
        if name not in ("minutes", "settings"):
            table.add_row(name, str(value))
    SCREEN.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up-minutes", type=float, default=15.0)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--task-heap-mib", type=int, default=6144, help="of each TaskManager: see the leak")
    parser.add_argument("--checkpoint-seconds", type=int, default=60)
    parser.add_argument("--read-interval-ms", type=int, default=500, help="the job's own default is 100")
    parser.add_argument("--delivery", default="exactly-once")
    parser.add_argument("--directory", type=Path, default=None, help="kept; a temporary one without")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medstream-soak-") as temporary:
        found = run(arguments, arguments.directory or Path(temporary))
    show(found)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1, default=str))


if __name__ == "__main__":
    main()
