"""`make audit` with pip-audit itself and a database of our own: OSV's API on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.audit import audit

ADVISORY = {
    "id": "OSV-2026-1",
    "aliases": [],
    "summary": "an example",
    "affected": [
        {
            "package": {"name": "left", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            "versions": ["1.0"],
        }
    ],
}


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    digest = "0" * 64
    path.write_text("".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name in ("left", "right")))
    return path


@pytest.fixture
def database() -> Iterator[tuple[str, dict[str, Any]]]:
    """Its address, and what it knows: package -> advisory."""
    known: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            advisory = known.get(query["package"]["name"])
            body = json.dumps({"vulns": [advisory]} if advisory else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query", known
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_vulnerable_package_is_a_failure_that_names_it(
    requirements: Path, database: tuple[str, dict[str, Any]]
) -> None:
    url, known = database
    assert audit(requirements, ["--osv-url", url]) == (0, "no known vulnerability in 2 packages")
    known["left"] = ADVISORY
    code, sentence = audit(requirements, ["--osv-url", url])
    assert code == 1
    assert sentence == "known vulnerabilities:\nleft 1.0: OSV-2026-1"


def test_a_database_out_of_reach_is_told_and_no_failure(requirements: Path) -> None:
    code, sentence = audit(requirements, ["--osv-url", "http://127.0.0.1:9/v1/query"])
    assert (code, sentence.split(":")[0]) == (0, "SKIPPED, the vulnerability database cannot be reached")


def test_requirements_that_cannot_be_read_are_a_failure(tmp_path: Path) -> None:
    broken = tmp_path / "requirements.txt"
    broken.write_text("left>=1\n")
    code, sentence = audit(broken)
    assert code == 1
    assert sentence.startswith("pip-audit failed: ")
