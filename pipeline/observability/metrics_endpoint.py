"""The HTTP endpoint where Prometheus reads a worker process, and the file that tells it where that is.

A host may run several worker processes of one job with the same settings, so each takes the first free port
of a range. Where that is stands in its log, and, with a folder given, in a file for Prometheus' file-based
discovery (`file_sd_configs`), one a process. A process that was killed leaves its file, so that it shows as
down, until the next one of the host begins and clears it away.

Whatever is wrong with the endpoint (no port, no folder) is a warning: a job goes on without being watched.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from pipeline.observability.metrics_settings import PORTS, MetricsSettings
from pipeline.observability.process_metrics import REGISTRY
from pipeline.observability.scraped_metrics import WorkerCollector

_LOG = logging.getLogger(__name__)

_OWN_FILE = re.compile(r"medstream-(?P<host>.+)-(?P<pid>\d+)\.json")
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class MetricsEndpoint:
    """The endpoint of this process. Raises OSError when no port of the range can be had."""

    def __init__(self, settings: MetricsSettings) -> None:
        self._server, self._thread = _serve(settings)
        self.port: int = self._server.server_port
        self.target = f"{_reachable(settings.address)}:{self.port}"
        self._file: Path | None = None
        if settings.targets_directory is not None:
            try:
                self._file = _announce(Path(settings.targets_directory), self.target, settings.labels)
            except OSError as error:
                _LOG.warning(
                    "Metrics are not announced in %s: %s", settings.targets_directory, error.strerror
                )

    @property
    def url(self) -> str:
        return f"http://{self.target}/metrics"

    def close(self) -> None:
        """Stop serving and take the announcement back."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


_lock = threading.Lock()
_endpoints: dict[int, MetricsEndpoint | None] = {}
_collector = WorkerCollector()


def show_metrics(settings: MetricsSettings) -> MetricsEndpoint | None:
    """Serve this process's metrics from now on, if the settings say so; the first call's settings hold."""
    if settings.port is None:
        return None
    with _lock:
        if not _endpoints:
            REGISTRY.register(_collector)
        pid = os.getpid()
        if pid not in _endpoints:  # a forked child has its own
            _endpoints[pid] = _begin(settings)
        return _endpoints[pid]


def _begin(settings: MetricsSettings) -> MetricsEndpoint | None:
    try:
        endpoint = MetricsEndpoint(settings)
    except OSError as error:
        _LOG.warning("Metrics cannot be served at %s: %s", settings.address, error.strerror or error)
        return None
    _LOG.info("Metrics are at %s", endpoint.url)
    atexit.register(endpoint.close)
    return endpoint


def _serve(settings: MetricsSettings) -> tuple[Any, threading.Thread]:
    first = settings.port or 0
    ports = range(first, min(first + PORTS, 65_536)) if first else range(1)
    for port in ports:
        try:
            return start_http_server(port, settings.address, REGISTRY)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port of {ports.start} to {ports.stop - 1} is free")


def _reachable(address: str) -> str:
    """The address as Prometheus finds it: the host's name for a server on every address."""
    host = socket.gethostname() if address in _EVERY_ADDRESS else address
    return f"[{host}]" if ":" in host else host


def _announce(folder: Path, target: str, labels: Mapping[str, str]) -> Path:
    """Write the file of targets, whole or not at all; files of this host's dead processes go."""
    folder.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for file in folder.glob("medstream-*.json"):
        found = _OWN_FILE.fullmatch(file.name)
        if found and found["host"] == host and not _is_alive(int(found["pid"])):
            file.unlink(missing_ok=True)
    path = folder / f"medstream-{host}-{os.getpid()}.json"
    unfinished = path.with_suffix(".tmp")
    try:
        unfinished.write_text(json.dumps([{"targets": [target], "labels": dict(labels)}]), encoding="utf-8")
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return path


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
