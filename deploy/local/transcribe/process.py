"""The endpoint as a child process, for the local stack, the demo and tests.

with EndpointProcess(directory, recogniser="markers") as endpoint:
    run_pipeline(endpoint.url, environment=endpoint.environment())
    endpoint.inject({"kind": "reset", "after_partials": 1})
    finals = [event for event in endpoint.events() if event["event"] == "final_sent"]
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from deploy.local.processes import ChildProcess
from deploy.local.server import LocalServer
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY

REGION = "us-east-1"
_CONTROL_TIMEOUT_SECONDS = 5


class EndpointProcess(LocalServer):
    """`medstream endpoint` in `directory`, with its log, event log and ready file there.

    A restarted endpoint listens on the same port. With `tls` it has a certificate authority of its own
    (`ca_file`), which the control calls (`inject`, `faults`, `status`) trust too; with a certificate given
    by `--tls-cert` they need one that this process trusts (`SSL_CERT_FILE`).
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
        tls: bool = False,
        options: Sequence[str] = (),
        detached: bool = False,
    ) -> None:
        """`options` are further options of `medstream endpoint`; port 0 chooses a free one.

        `tls` serves TLS with a generated authority (`--generate-ca`); the certificate is for localhost,
        127.0.0.1, ::1 and what the options `--host` and `--tls-name` say.
        """
        super().__init__(directory, detached=detached)
        self._recogniser = recogniser
        # Not the server's own choice: that may be a port which an outgoing connection takes during a restart.
        self._port = port or self._ports_for(["endpoint"])["endpoint"]
        self._url = ""
        self._ca_file: Path | None = None
        authority = ("--generate-ca", str(self.directory / "tls")) if tls else ()
        self.options = (*authority, *options)

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
        """For `--endpoint-url`, once started."""
        return self._url

    @property
    def ca_file(self) -> Path | None:
        """The certificate authority to trust (PEM), once started; None without `tls`."""
        return self._ca_file

    @property
    def region(self) -> str:
        """The region that requests must be signed for."""
        return self._option("--region", REGION)

    @property
    def access_key_id(self) -> str:
        """The key that is let in."""
        return self._option("--access-key-id", LOCAL_ACCESS_KEY_ID)

    @property
    def secret_access_key(self) -> str:
        """Its secret."""
        return self._option("--secret-access-key", LOCAL_SECRET_ACCESS_KEY)

    def environment(self) -> dict[str, str]:
        """The variables with which a client is let in: the key, the region, whom to trust.

        With `tls` the last are what AWS's SDKs read: SSL_CERT_FILE (Python's awscrt, Go, OpenSSL),
        AWS_CA_BUNDLE (botocore, AWS CLI) and NODE_EXTRA_CA_CERTS (Node).
        """
        trust = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS") if self._ca_file else ()
        return {
            **dict.fromkeys(trust, str(self._ca_file)),
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
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
        # -P: whoever starts it from a folder with packages of our packages' names still gets ours.
        command = [sys.executable, "-P", "-m", "deploy.local.transcribe", *arguments, *self.options]
        return ChildProcess(self.name, command, log_path=self.log_path, detached=self._detached)

    def _is_ready(self) -> bool:
        if not self._ready_path.exists():
            return False
        ready = json.loads(self._ready_path.read_text(encoding="utf-8"))
        self._port, self._url = int(ready["port"]), str(ready["url"])
        self._ca_file = Path(ready["ca_file"]) if ready.get("ca_file") else None
        return True

    def _option(self, name: str, default: str) -> str:
        """The value given in `options`, in either spelling; the last one counts."""
        value = default
        for word, following in zip(self.options, (*self.options[1:], ""), strict=False):
            if word == name:
                value = following
            elif word.startswith(f"{name}="):
                value = word.removeprefix(f"{name}=")
        return value

    @property
    def _ready_path(self) -> Path:
        return self.directory / "ready.json"

    def _control(self, method: str, path: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = Request(self.url + path, data=body, method=method)  # noqa: S310 - our own address
        trust = HTTPSHandler(context=ssl.create_default_context(cafile=self._ca_file))
        opener = build_opener(ProxyHandler({}), trust)  # no proxy stands before a local endpoint
        with opener.open(request, timeout=_CONTROL_TIMEOUT_SECONDS) as response:
            return json.load(response)
