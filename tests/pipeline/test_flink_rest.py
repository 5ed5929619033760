"""Flink's REST server, asked at ports where something else may answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local.processes import free_port
from pipeline.flink_rest import jobs_at

GRPC = b"\0\0\x12\4\0\0\0\0\0\0\3\x7f\xff\xff\xff\0\4\0\x10\0\0"  # settings, as a gRPC server begins
JOBS = (
    b'{"jobs": [{"jid": "1", "name": "a", "state": "RUNNING"}, {"jid": "2", "name": "b", "state": "FAILED"}]}'
)


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


def test_jobs_that_have_ended_are_none() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOBS)
    with answering(answer + JOBS) as url:
        assert [job.name for job in jobs_at(url)] == ["a"]


@pytest.mark.parametrize("answer", [GRPC, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno\n"])
def test_a_port_that_something_else_has_holds_no_jobs(answer: bytes) -> None:
    with answering(answer) as url:
        assert jobs_at(url) == []


def test_where_nobody_listens_there_are_none() -> None:
    assert jobs_at(f"http://127.0.0.1:{free_port()}") == []
