"""Flink's REST API, as far as the local stack needs it: which jobs run, and their end.

Source: Flink 1.19's documentation of the REST API (`/jobs/overview`, `PATCH /jobs/:jobid?mode=cancel`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 5
_ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})


@dataclass(frozen=True, slots=True)
class FlinkJob:
    """One job: `state` in Flink's words (RUNNING, RESTARTING, …), `rest_url` of the Flink that runs it."""

    id: str
    name: str
    state: str
    rest_url: str


def jobs_at(rest_url: str) -> list[FlinkJob]:
    """The jobs of this Flink that have not ended; none when it is just going away, or when something else (a
    gRPC server of the same process, say) has the port.
    """
    try:
        overview = _request("GET", f"{rest_url}/jobs/overview")
    except (OSError, HTTPException, ValueError):
        return []
    jobs = [FlinkJob(job["jid"], job["name"], job["state"], rest_url) for job in overview["jobs"]]
    return [job for job in jobs if job.state not in _ENDED]


def cancel(job: FlinkJob) -> None:
    """Ask for the end of `job`; nothing when its Flink is gone already."""
    try:
        _request("PATCH", f"{job.rest_url}/jobs/{job.id}?mode=cancel")
    except OSError:
        return


def _request(method: str, url: str) -> Any:
    request = Request(url, method=method)  # noqa: S310  loopback, an address of our own
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.load(response)
