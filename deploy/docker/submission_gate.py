"""`medstream-submission-gate`: lets a job be submitted when its servers answer and no other job runs.

A Kubernetes Job may start its pod a second time (a drained node, a hasty `kubectl apply`). A second
`medstream run` would be a second job that reads and publishes the same sessions, so this runs before it: it
waits until the Flink cluster's REST server and Beam's job server answer, and refuses when the cluster has a
job that has not ended, whatever its name.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Sequence

from pipeline.errors import FlinkRefused, FlinkUnreachable
from pipeline.jobs.flink_rest import all_jobs

_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; exit code 0 lets the job pass, 1 comes with one sentence."""
    options = _parse(arguments)
    problem = obstacle(options.flink_url.rstrip("/"), options.job_endpoint, options.wait_seconds)
    if problem is not None:
        sys.exit(f"medstream-submission-gate: {problem}")


def obstacle(flink_url: str, job_endpoint: str, wait_seconds: float) -> str | None:
    """Why no job may be submitted now, None if it may; waits up to `wait_seconds` for the servers."""
    deadline = time.monotonic() + wait_seconds
    while (running := running_jobs(flink_url)) is None or not _listens(job_endpoint):
        if time.monotonic() >= deadline:
            missing = f"Flink at {flink_url}" if running is None else f"the job server at {job_endpoint}"
            return f"{missing} has not answered within {wait_seconds:g} s"
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    if running:
        return f"{flink_url} runs {', '.join(running)} already; cancel it before another is submitted"
    return None


def running_jobs(flink_url: str) -> list[str] | None:
    """Name and id of each job that has not ended; None while Flink does not answer."""
    try:
        return [f"{job.name} ({job.id})" for job in all_jobs(flink_url) if not job.ended]
    except (FlinkUnreachable, FlinkRefused):
        return None


def _listens(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="medstream-submission-gate", description="Refuses a second job on a Flink cluster."
    )
    parser.add_argument(
        "--flink-url", required=True, help="http://HOST:PORT of the job manager's REST server"
    )
    parser.add_argument(
        "--job-endpoint", required=True, type=_endpoint, help="HOST:PORT of Beam's job server"
    )
    parser.add_argument("--wait-seconds", type=float, default=300.0, help="for both (default 300)")
    return parser.parse_args(arguments)


def _endpoint(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


if __name__ == "__main__":
    main()
