"""The endpoint of a process: port, address, announcement, and that a job outlives what is wrong with it."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import free_port
from pipeline.observability import metrics_endpoint
from pipeline.observability.metrics_endpoint import MetricsEndpoint, show_metrics
from pipeline.observability.metrics_settings import MetricsSettings

LABELS = {"output_topic": "finals"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has the process to itself."""
    endpoints: dict[int, MetricsEndpoint | None] = {}
    monkeypatch.setattr(metrics_endpoint, "_endpoints", endpoints)
    yield
    for endpoint in endpoints.values():
        if endpoint is not None:
            endpoint.close()
    with_collector = metrics_endpoint.REGISTRY._collector_to_names
    if metrics_endpoint._collector in with_collector:
        metrics_endpoint.REGISTRY.unregister(metrics_endpoint._collector)


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - of this test
        assert response.headers["content-type"].startswith("text/plain")
        return str(response.read().decode())


def test_without_a_port_nothing_is_served() -> None:
    assert show_metrics(MetricsSettings()) is None


def test_metrics_are_served_on_loopback_and_the_log_says_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        endpoint = show_metrics(MetricsSettings(port=0))
    assert endpoint is not None
    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}/metrics"
    assert f"Metrics are at {endpoint.url}" in caplog.text
    shown = text(endpoint.url)
    assert 'medstream_sessions{state="streaming"} 0.0' in shown
    assert "medstream_finals_total" in shown
    assert "process_resident_memory_bytes" in shown


def test_a_process_has_one_endpoint_whoever_asks() -> None:
    first = show_metrics(MetricsSettings(port=0))
    assert show_metrics(MetricsSettings(port=0)) is first


def test_the_next_free_port_is_taken() -> None:
    port = free_port()
    first = MetricsEndpoint(MetricsSettings(port=port))
    second = MetricsEndpoint(MetricsSettings(port=port))
    assert first.port == port
    assert port < second.port < port + metrics_endpoint.PORTS
    first.close()
    second.close()


def test_a_job_goes_on_without_an_endpoint(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "PORTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert show_metrics(MetricsSettings(port=taken.getsockname()[1])) is None
    assert "Metrics cannot be served at 127.0.0.1: no port of" in caplog.text
    metrics_endpoint._endpoints.clear()
    metrics_endpoint.REGISTRY.unregister(metrics_endpoint._collector)
    assert show_metrics(MetricsSettings(port=0, address="192.0.2.1")) is None
    assert "Metrics cannot be served at 192.0.2.1" in caplog.text


def test_a_process_announces_itself_and_takes_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "targets"
    endpoint = MetricsEndpoint(MetricsSettings(0, targets_directory=str(folder), labels=LABELS))
    (file,) = folder.iterdir()
    assert file.name == f"medstream-{socket.gethostname()}-{os.getpid()}.json"
    assert json.loads(file.read_text()) == [{"targets": [f"127.0.0.1:{endpoint.port}"], "labels": LABELS}]
    endpoint.close()
    assert list(folder.iterdir()) == []
    with pytest.raises(urllib.error.URLError):
        text(endpoint.url)


def test_files_of_dead_processes_of_this_host_are_cleared_away(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    host = socket.gethostname()
    gone = tmp_path / f"medstream-{host}-{dead.pid}.json"
    stays = [
        tmp_path / f"medstream-{host}-{os.getppid()}.json",
        tmp_path / f"medstream-elsewhere-{dead.pid}.json",
    ]
    for file in (gone, *stays, tmp_path / "other.json"):
        file.write_text("[]")
    endpoint = MetricsEndpoint(MetricsSettings(0, targets_directory=str(tmp_path)))
    assert not gone.exists()
    assert all(file.exists() for file in stays)
    assert (tmp_path / "other.json").exists()
    endpoint.close()


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    endpoint = MetricsEndpoint(MetricsSettings(0, targets_directory=str(tmp_path / "file" / "folder")))
    assert "Metrics are not announced in" in caplog.text
    assert "medstream_build_info" in text(endpoint.url) or "medstream_finals_total" in text(endpoint.url)
    endpoint.close()


def test_on_every_address_the_host_s_name_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "worker-3")
    endpoint = MetricsEndpoint(MetricsSettings(0, address="0.0.0.0"))  # noqa: S104
    assert endpoint.target == f"worker-3:{endpoint.port}"
    endpoint.close()
