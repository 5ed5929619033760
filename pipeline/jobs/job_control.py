"""Operate a job that runs: find it, take a savepoint, stop, drain or cancel it. Shells around two interfaces:
Flink's REST API (`flink_rest`), and requests on Kafka that the job's source hears (`drain_requests`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from connectors.kafka.reading.drain_requests import LeftPartitions, request_drain
from pipeline.errors import FlinkUnreachable, JobNotFound, StillRunning
from pipeline.jobs.flink_rest import (
    FlinkJob,
    all_jobs,
    cancel,
    refreshed,
    savepoint_of,
    trigger_savepoint,
    trigger_stop,
    wait_for,
)
from pipeline.output.unfinished_sessions import read_markers
from pipeline.settings import JobSettings

_POLL_SECONDS = 0.3
_GONE_AFTER_SILENCES = 12

Report = Callable[[float, str], None]
"""How much is done, and a few words about it."""


def find_job(rest_url: str, wanted: str | None) -> FlinkJob:
    """The running job with this id or name; without, the only one. Raises JobNotFound, FlinkUnreachable."""
    running = [job for job in all_jobs(rest_url) if not job.ended]
    meant = [job for job in running if wanted is None or wanted in (job.id, job.name)]
    if len(meant) != 1:
        raise JobNotFound(rest_url, wanted, [f"{job.id} ({job.name})" for job in running])
    return meant[0]


def take_savepoint(job: FlinkJob, directory: str | None, timeout_seconds: float) -> str:
    """The path of a new savepoint; the job goes on. Raises FlinkRefused, FlinkUnreachable, StillRunning."""
    return _savepoint(job, trigger_savepoint(job, directory), timeout_seconds)


def stop(job: FlinkJob, directory: str | None, timeout_seconds: float) -> str:
    """The same, and the job has ended with it."""
    path = _savepoint(job, trigger_stop(job, directory, drain=False), timeout_seconds)
    _wait_for_end(job, timeout_seconds)
    return path


def end_drained(job: FlinkJob, directory: str | None, timeout_seconds: float) -> None:
    """End a job whose sources have ended. Raises FlinkRefused, FlinkUnreachable, StillRunning."""
    request_id = trigger_stop(job, directory, drain=True)
    _wait_for_end(job, timeout_seconds, lambda: savepoint_of(job, request_id) is not None)


def cancel_and_wait(job: FlinkJob, timeout_seconds: float) -> None:
    """End the job without a savepoint. Raises FlinkRefused, StillRunning."""
    cancel(job)
    _wait_for_end(job, timeout_seconds)


def _savepoint(job: FlinkJob, request_id: str, timeout_seconds: float) -> str:
    path = wait_for(lambda: savepoint_of(job, request_id), timeout_seconds)
    if path is None:
        remedy = "see the JobManager's log, and the workers'; a job that restarts takes none"
        raise StillRunning("the savepoint is not complete", timeout_seconds, remedy)
    return str(path)


def _wait_for_end(job: FlinkJob, timeout_seconds: float, is_done: Callable[[], bool] = lambda: True) -> None:
    """Return when the job has ended, after `is_done`. Raises what that raises, FlinkRefused, StillRunning.

    An embedded Flink goes with its job: one that was asked to end it, and answers no more, has done so.
    """
    silences = 0

    def ended() -> bool:
        nonlocal silences
        try:
            found = refreshed(job) if is_done() else job
        except FlinkUnreachable:
            silences += 1
            return silences >= _GONE_AFTER_SILENCES
        silences = 0
        return found is None or found.ended

    if not wait_for(ended, timeout_seconds):
        remedy = "see the JobManager's log, and the workers'"
        raise StillRunning("the job has not ended", timeout_seconds, remedy)


def leave_partitions(settings: JobSettings, timeout_seconds: float, report: Report) -> int:
    """Ask the job to drain, and return when it has left every partition of its input, with its offsets
    committed; their number. Raises KafkaConnectorError, StillRunning.
    """
    topic = settings.topics.audio
    deadline = time.monotonic() + timeout_seconds
    with LeftPartitions(settings.kafka, topic, settings.group_id, setting="--input-topic") as partitions:
        request_id = request_drain(settings.kafka, settings.topics.progress)
        while (left := partitions.left(request_id)) < partitions.count:
            report(left / partitions.count, f"{left} of {partitions.count} partitions left")
            if time.monotonic() > deadline:
                raise StillRunning(
                    f"{partitions.count - left} of {partitions.count} partitions of {topic} are not left",
                    timeout_seconds,
                    "does a job run with this --progress-topic and --group-id, and does it complete "
                    "checkpoints? Offsets are committed behind the second",
                )
            time.sleep(_POLL_SECONDS)
        return partitions.count


def unfinished_count(settings: JobSettings) -> int:
    """How many sessions the next job goes on with. Raises KafkaConnectorError."""
    return sum(marker.ended_at_ms is None for marker in read_markers(settings))
