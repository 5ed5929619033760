"""Flink's REST server: a scripted one that answers as Flink 1.19 does; ports where something else answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy.local.processes import free_port
from pipeline.errors import FlinkRefused, FlinkUnreachable
from pipeline.jobs.flink_rest import (
    FlinkJob,
    all_jobs,
    cancel,
    checkpoints,
    jobs_at,
    savepoint_of,
    task_managers,
    trigger_savepoint,
    trigger_stop,
    wait_for,
)

GRPC = b"\0\0\x12\4\0\0\0\0\0\0\3\x7f\xff\xff\xff\0\4\0\x10\0\0"  # settings, as a gRPC server begins
JOBS = {
    "jobs": [
        {"jid": "1", "name": "a", "state": "RUNNING", "start-time": 1000, "end-time": -1},
        {"jid": "2", "name": "b", "state": "FAILED", "start-time": 1000, "end-time": 2000},
    ]
}


class ScriptedFlink:
    """`answers`: by method and path, the status and body; `asked`: what was asked, with bodies; `after`: what
    happens once something was answered.
    """

    def __init__(self, answers: dict[tuple[str, str], tuple[int, Any]]) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.after: dict[tuple[str, str], Callable[[], None]] = {}
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                scripted.asked.append((self.command, self.path, body))
                status, found = answers.get((self.command, self.path), (404, {"errors": ["Not found."]}))
                encoded = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)
                scripted.after.get((self.command, self.path), lambda: None)()

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, format: str, *args: object) -> None:
                """Nothing to standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def job(self, identity: str = "1") -> FlinkJob:
        return FlinkJob(identity, "a", "RUNNING", self.url)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted(answers: dict[tuple[str, str], tuple[int, Any]]) -> Iterator[ScriptedFlink]:
    server = ScriptedFlink(answers)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says `answer` to whatever comes, once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


def test_jobs_with_their_times_and_without_those_that_have_ended() -> None:
    with scripted({("GET", "/jobs/overview"): (200, JOBS)}) as server:
        assert [(job.id, job.ended, job.ended_at_ms) for job in all_jobs(server.url)] == [
            ("1", False, None),
            ("2", True, 2000),
        ]
        assert [job.name for job in jobs_at(server.url)] == ["a"]


@pytest.mark.parametrize("answer", [GRPC, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno\n"])
def test_a_port_that_something_else_has_holds_no_jobs(answer: bytes) -> None:
    with answering(answer) as url:
        assert jobs_at(url) == []


def test_where_nobody_listens_there_are_none_and_whoever_asks_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert jobs_at(url) == []
    assert task_managers(url) == set()
    cancel(FlinkJob("1", "a", "RUNNING", url))  # it is gone already
    with pytest.raises(FlinkUnreachable, match=rf"--flink-url: no answer from Flink at {url}: .*refused"):
        all_jobs(url)


def test_other_than_http_is_asked_nothing() -> None:
    with pytest.raises(FlinkUnreachable, match="not an http"):
        all_jobs("file:///etc")


def test_the_newest_of_checkpoints_and_savepoints_is_told() -> None:
    def done(name: str, at_ms: int) -> dict[str, Any]:
        return {"external_path": f"file:/c/{name}", "latest_ack_timestamp": at_ms, "state_size": 7}

    answer = {
        "counts": {"completed": 3, "failed": 1},
        "latest": {"completed": done("chk-3", 30), "savepoint": done("savepoint-1", 20), "restored": None},
    }
    with scripted({("GET", "/jobs/1/checkpoints"): (200, answer)}) as server:
        found = checkpoints(server.job())
    assert (found.latest_path, found.latest_at_ms, found.latest_bytes) == ("file:/c/chk-3", 30, 7)
    assert (found.completed, found.failed, found.restored_path) == (3, 1, None)


def test_a_job_without_checkpoints_has_none() -> None:
    with scripted({("GET", "/jobs/1/checkpoints"): (200, {"counts": {}, "latest": {}})}) as server:
        assert checkpoints(server.job()).latest_path is None


def test_a_savepoint_is_begun_waited_for_and_found() -> None:
    answers: dict[tuple[str, str], tuple[int, Any]] = {
        ("POST", "/jobs/1/savepoints"): (202, {"request-id": "r"}),
        ("POST", "/jobs/1/stop"): (202, {"request-id": "s"}),
        ("GET", "/jobs/1/savepoints/r"): (200, {"status": {"id": "IN_PROGRESS"}}),
        ("GET", "/jobs/1/savepoints/s"): (
            200,
            {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/savepoint-1"}},
        ),
    }
    with scripted(answers) as server:
        job = server.job()
        assert savepoint_of(job, trigger_savepoint(job, "file:/s")) is None
        assert savepoint_of(job, trigger_stop(job, None, drain=True)) == "file:/s/savepoint-1"
        bodies = [body for method, _, body in server.asked if method == "POST"]
    assert bodies == [
        {"target-directory": "file:/s", "cancel-job": False},
        {"targetDirectory": None, "drain": True},
    ]


def test_a_savepoint_that_failed_is_told_with_flinks_first_line() -> None:
    failed = {
        "status": {"id": "COMPLETED"},
        "operation": {"failure-cause": {"stack-trace": "CheckpointException: no room\n\tat a.b.c"}},
    }
    with (
        scripted({("GET", "/jobs/1/savepoints/r"): (200, failed)}) as server,
        pytest.raises(FlinkRefused, match=r"CheckpointException: no room$"),
    ):
        savepoint_of(server.job(), "r")


def test_a_request_that_flink_refuses_is_told_in_its_words() -> None:
    refusal = {"errors": ["Config key [state.savepoints.dir] is not set.\n\tat x"]}
    with (
        scripted({("POST", "/jobs/1/stop"): (400, refusal)}) as server,
        pytest.raises(FlinkRefused, match=r"Config key \[state.savepoints.dir\] is not set.$"),
    ):
        trigger_stop(server.job(), None, drain=False)


def test_waiting_ends_with_an_answer_or_with_the_time() -> None:
    now, answers = [0.0], iter([None, None, "path"])

    def pause(seconds: float) -> None:
        now[0] += seconds

    assert wait_for(lambda: next(answers), 10, clock=lambda: now[0], pause=pause) == "path"
    assert wait_for(lambda: None, 10, clock=lambda: now[0], pause=pause) is None
