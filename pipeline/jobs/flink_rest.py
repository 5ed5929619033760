"""Flink's REST API, as far as operating a job needs it: which jobs run, their checkpoints, savepoints, ends.

Source: Flink 1.19's documentation of the REST API (`/jobs/overview`, `PATCH /jobs/:jobid?mode=cancel`, and of
a job `/checkpoints`, `/savepoints` and `/stop`; `/taskmanagers`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pipeline.errors import FlinkRefused, FlinkUnreachable

ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
_TIMEOUT_SECONDS = 5
_POLL_SECONDS = 0.25
_MAX_CAUSE_CHARS = 300


@dataclass(frozen=True, slots=True)
class FlinkJob:
    """One job: `state` in Flink's words (RUNNING, RESTARTING, …), `rest_url` of the Flink that has it.

    Times are Unix milliseconds; `ended_at_ms` None while it has not ended.
    """

    id: str
    name: str
    state: str
    rest_url: str
    started_at_ms: int = 0
    ended_at_ms: int | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What Flink tells of a job's checkpoints; `latest_path` of the newest complete one, savepoints included,
    None before there is one, and while `restored` says from where the job began. Sizes in bytes.
    """

    completed: int
    failed: int
    latest_path: str | None
    latest_at_ms: int | None
    latest_bytes: int | None
    restored_path: str | None


def jobs_at(rest_url: str) -> list[FlinkJob]:
    """The jobs of this Flink that have not ended; none when it is just going away, or when something else (a
    gRPC server of the same process, say) has the port.
    """
    try:
        return [job for job in all_jobs(rest_url) if not job.ended]
    except (FlinkUnreachable, FlinkRefused):
        return []


def all_jobs(rest_url: str) -> list[FlinkJob]:
    """The jobs of this Flink, ended ones too. Raises FlinkUnreachable, FlinkRefused."""
    overview = _request("GET", rest_url, "/jobs/overview")
    return [
        FlinkJob(
            job["jid"],
            job["name"],
            job["state"],
            rest_url,
            job.get("start-time", 0),
            job["end-time"] if job.get("end-time", -1) >= 0 else None,
        )
        for job in overview["jobs"]
    ]


def refreshed(job: FlinkJob) -> FlinkJob | None:
    """The job as it is now; None when this Flink knows it no more. Raises FlinkUnreachable, FlinkRefused."""
    return next((found for found in all_jobs(job.rest_url) if found.id == job.id), None)


def task_managers(rest_url: str) -> set[str]:
    """Ids of the TaskManagers that the JobManager has; none when it does not answer."""
    try:
        answer = _request("GET", rest_url, "/taskmanagers")
    except (FlinkUnreachable, FlinkRefused):
        return set()
    return {found["id"] for found in answer["taskmanagers"]}


def cancel(job: FlinkJob) -> None:
    """Ask for the end of `job`; nothing when its Flink is gone already."""
    try:
        _request("PATCH", job.rest_url, f"/jobs/{job.id}?mode=cancel")
    except (FlinkUnreachable, FlinkRefused):
        return


def checkpoints(job: FlinkJob) -> Checkpoints:
    """Raises FlinkUnreachable, FlinkRefused."""
    answer = _request("GET", job.rest_url, f"/jobs/{job.id}/checkpoints")
    latest = answer.get("latest") or {}
    done = [found for name in ("completed", "savepoint") if (found := latest.get(name))]
    newest = max(done, key=lambda found: found["latest_ack_timestamp"], default=None)
    counts = answer.get("counts") or {}
    restored = latest.get("restored") or {}
    return Checkpoints(
        counts.get("completed", 0),
        counts.get("failed", 0),
        newest and newest["external_path"],
        newest and newest["latest_ack_timestamp"],
        newest and newest.get("state_size"),
        restored.get("external_path"),
    )


def trigger_savepoint(job: FlinkJob, directory: str | None) -> str:
    """Begin a savepoint below `directory` (a URI; None: Flink's own setting); the job goes on. Returns the
    request's id. Raises FlinkUnreachable, FlinkRefused.
    """
    body = {"target-directory": directory, "cancel-job": False}
    answer = _request("POST", job.rest_url, f"/jobs/{job.id}/savepoints", body)
    return str(answer["request-id"])


def trigger_stop(job: FlinkJob, directory: str | None, *, drain: bool) -> str:
    """The same, and the job ends with it; `drain`: its sources come to their end first."""
    body = {"targetDirectory": directory, "drain": drain}
    answer = _request("POST", job.rest_url, f"/jobs/{job.id}/stop", body)
    return str(answer["request-id"])


def savepoint_of(job: FlinkJob, request_id: str) -> str | None:
    """The path of the savepoint that was begun, None while it is under way. Raises FlinkUnreachable, and
    FlinkRefused with the cause of its failure.
    """
    answer = _request("GET", job.rest_url, f"/jobs/{job.id}/savepoints/{request_id}")
    if answer["status"]["id"] != "COMPLETED":
        return None
    operation = answer["operation"]
    if "failure-cause" in operation:
        raise FlinkRefused(job.rest_url, _first_line(operation["failure-cause"].get("stack-trace", "")))
    return str(operation["location"])


def wait_for(
    condition: Callable[[], Any],
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """The first answer of `condition` that is true, None when the time is over."""
    deadline = clock() + timeout_seconds
    while not (found := condition()):
        if clock() >= deadline:
            return None
        pause(_POLL_SECONDS)
    return found


def _request(method: str, rest_url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(rest_url.rstrip("/") + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310  http(s) only, checked below
    if request.type not in ("http", "https"):
        raise FlinkUnreachable(rest_url, "not an http:// or https:// address")
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return json.load(response)
    except HTTPError as error:
        raise FlinkRefused(rest_url, _errors_in(error)) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise FlinkUnreachable(rest_url, str(reason) or type(error).__name__) from None


def _errors_in(error: HTTPError) -> str:
    try:
        told = json.load(error)["errors"]
    except (OSError, ValueError, KeyError):
        return f"HTTP status {error.code}"
    return _first_line("; ".join(told)) or f"HTTP status {error.code}"


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:_MAX_CAUSE_CHARS] if lines else ""
