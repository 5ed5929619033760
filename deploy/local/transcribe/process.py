"""The endpoint as a child process, for the local stack, the demo and tests.

with EndpointProcess(directory, recogniser="markers") as endpoint:
    run_pipeline(endpoint.url, environment=endpoint.environment())
    endpoint.inject({"kind": "reset", "after_partials": 1})
    finals = [event for event in endpoint.events() if event["event"] == "final_sent"]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from deploy.local.processes import ChildProcess
from deploy.local.server import LocalServer
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY

REGION = "us-east-1"
_CONTROL_TIMEOUT_SECONDS = 5


class EndpointProcess(LocalServer):
    """`medstream endpoint` in `directory`, with its log, event log and ready file there.

    A restarted endpoint listens on the same port. Control calls (`inject`, `faults`, `status`) need
    cleartext.
    """

    name = "endpoint"
    ready_timeout_seconds = 30.0
    stop_grace_seconds = 5.0

    def __init__(
        self,
        directory: Path,
        *,
        recogniser: str = "scripted",
        port: int = 0,
        options: Sequence[str] = (),
        detached: bool = False,
    ) -> None:
        """`options` are further options of `medstream endpoint`; port 0 chooses a free one."""
        super().__init__(directory, detached=detached)
        self._recogniser = recogniser
        self._port = port
        self.options = tuple(options)

    @property
    def log_path(self) -> Path:
        """Standard output and error of the process."""
        return self.directory / "endpoint.log"

    @property
    def event_log_path(self) -> Path:
        """The file of `event_log.py`'s lines."""
        return self.directory / "events.jsonl"

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return self._port

    @property
    def url(self) -> str:
        """For `--endpoint-url`."""
        scheme = "https" if "--tls-cert" in self.options else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """The AWS variables with which a client is let in: the published local key and the region."""
        return {
            "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": LOCAL_SECRET_ACCESS_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def inject(self, *rules: Mapping[str, Any]) -> None:
        """Add fault rules (see `faults.py`)."""
        self._control("POST", "/_local/faults", list(rules))

    def clear_faults(self) -> None:
        """Forget all fault rules."""
        self._control("DELETE", "/_local/faults")

    def faults(self) -> list[dict[str, Any]]:
        """The rules, each with how often it has `acted`."""
        rules: list[dict[str, Any]] = self._control("GET", "/_local/faults")
        return rules

    def status(self) -> dict[str, Any]:
        """How many streams are open."""
        status: dict[str, Any] = self._control("GET", "/_local/status")
        return status

    def events(self) -> list[dict[str, Any]]:
        """The event log so far."""
        if not self.event_log_path.exists():
            return []
        return [json.loads(line) for line in self.event_log_path.read_text(encoding="utf-8").splitlines()]

    def _launch(self) -> ChildProcess:
        self._ready_path.unlink(missing_ok=True)
        options = {
            "--port": self._port,
            "--recogniser": self._recogniser,
            "--region": REGION,
            "--event-log": self.event_log_path,
            "--ready-file": self._ready_path,
        }
        arguments = [str(part) for option in options.items() for part in option]
        command = [sys.executable, "-m", "deploy.local.transcribe", *arguments, *self.options]
        return ChildProcess(self.name, command, log_path=self.log_path, detached=self._detached)

    def _is_ready(self) -> bool:
        if not self._ready_path.exists():
            return False
        self._port = int(json.loads(self._ready_path.read_text(encoding="utf-8"))["port"])
        return True

    @property
    def _ready_path(self) -> Path:
        return self.directory / "ready.json"

    def _control(self, method: str, path: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = Request(self.url + path, data=body, method=method)  # noqa: S310 - our own loopback address
        with urlopen(request, timeout=_CONTROL_TIMEOUT_SECONDS) as response:  # noqa: S310
            return json.load(response)
