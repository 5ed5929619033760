"""Whether a job may be submitted, asked of a server that answers as Flink does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deploy.docker.submission_gate import main, obstacle, running_jobs


class Flink:
    """`/jobs/overview` of a cluster with `jobs`, (name, state) each; `after` requests it answers 503 to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []
        self.unavailable = 0
        flink = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if flink.unavailable > 0 or self.path != "/jobs/overview":
                    flink.unavailable -= 1
                    self.send_error(503)
                    return
                body = json.dumps(
                    {
                        "jobs": [
                            {"jid": f"{n:032x}", "name": j, "state": s} for n, (j, s) in enumerate(flink.jobs)
                        ]
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def flink() -> Iterator[Flink]:
    found = Flink()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def job_endpoint() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_empty_cluster_lets_a_job_pass(flink: Flink, job_endpoint: str) -> None:
    flink.jobs = [("medstream", "CANCELED"), ("medstream", "FAILED"), ("medstream", "FINISHED")]
    assert obstacle(flink.url, job_endpoint, 0) is None
    main([f"--flink-url={flink.url}/", f"--job-endpoint={job_endpoint}", "--wait-seconds=0"])


@pytest.mark.parametrize(
    "state",
    ["INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING", "SUSPENDED", "RECONCILING"],
)
def test_a_job_that_has_not_ended_keeps_others_out(flink: Flink, job_endpoint: str, state: str) -> None:
    flink.jobs = [("medstream", "FAILED"), ("medstream", state)]
    with pytest.raises(SystemExit, match=f"runs medstream \\({1:032x}\\) already"):
        main([f"--flink-url={flink.url}", f"--job-endpoint={job_endpoint}"])


def test_it_waits_for_flink(flink: Flink, job_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.docker.submission_gate._POLL_SECONDS", 0.01)
    flink.unavailable = 2
    assert obstacle(flink.url, job_endpoint, 30) is None
    assert flink.unavailable == 0


def test_who_did_not_answer_is_told(flink: Flink, job_endpoint: str) -> None:
    assert "job server at 127.0.0.1:9 has" in str(obstacle(flink.url, "127.0.0.1:9", 0))
    assert running_jobs("http://127.0.0.1:9") is None
    assert "Flink at http://127.0.0.1:9 has" in str(obstacle("http://127.0.0.1:9", job_endpoint, 0))


def test_an_endpoint_without_a_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--flink-url=http://localhost:8081", "--job-endpoint=job-server"])
    assert "'job-server' is not HOST:PORT" in capsys.readouterr().err
