"""`medstream local up`, `status`, `down`, and the stack inside a program, on the real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaConsumer

from deploy.local.errors import StackAlreadyOwned
from deploy.local.processes import accepts_connections
from deploy.local.stack import LocalStack

SERVERS = ("kafka", "flink", "endpoint")


def medstream_local(*arguments: str, program: str | None = None) -> subprocess.CompletedProcess[str]:
    """`medstream local …`; without `program` the module alone, which starts in a third of the time."""
    command = [program, "local"] if program else [sys.executable, "-m", "deploy.local.cli"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=90)


def document_of(command: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(command.stdout)
    return document


def pids_below(directory: Path) -> list[int]:
    """Processes that carry the directory in their command line: the servers and their guards."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(directory) in argument for argument in process.info["cmdline"] or [])
    ]


def gone(directory: Path, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while pids_below(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "local"
    yield folder
    LocalStack(folder).stop()


def test_topics_cannot_be_created_where_no_broker_runs(directory: Path) -> None:
    refused = medstream_local("create-topics", "audio:4", "--dir", str(directory))
    assert refused.returncode == 1
    assert "medstream local up" in refused.stderr


@pytest.mark.integration
def test_up_status_and_down_make_a_round_trip(directory: Path) -> None:
    folder = ("--dir", str(directory))
    medstream = str(Path(sys.executable).with_name("medstream"))
    first = medstream_local("up", "--json", "--recogniser", "scripted", *folder, program=medstream)
    assert first.returncode == 0, first.stderr
    servers = document_of(first)["servers"]
    assert tuple(servers) == SERVERS
    assert all(server["running"] and Path(server["log"]).exists() for server in servers.values())
    created = medstream_local("create-topics", "audio:4", "finals", *folder)
    assert created.returncode == 0, created.stderr
    consumer = KafkaConsumer(bootstrap_servers=servers["kafka"]["bootstrap_servers"])
    assert {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in ("audio", "finals")} == {
        "audio": 4,
        "finals": 1,
    }
    consumer.close()
    host, _, port = servers["kafka"]["bootstrap_servers"].partition(":")
    assert accepts_connections(int(port), host)

    again = medstream_local("up", "--json", *folder)
    assert again.stderr.count("already running") == len(SERVERS)
    assert document_of(again) == document_of(first)

    psutil.Process(servers["flink"]["pid"]).kill()
    partly = medstream_local("status", "--json", *folder)
    assert partly.returncode == 1
    assert [document_of(partly)["servers"][name]["running"] for name in SERVERS] == [True, False, True]
    repaired = document_of(medstream_local("up", "--json", *folder))["servers"]
    assert repaired["kafka"]["pid"] == servers["kafka"]["pid"]
    assert repaired["flink"]["pid"] != servers["flink"]["pid"]
    assert repaired["flink"]["job_endpoint"] == servers["flink"]["job_endpoint"]
    assert medstream_local("status", *folder).returncode == 0
    assert "no job runs" in medstream_local("cancel", *folder).stderr

    down = medstream_local("down", *folder)
    assert down.returncode == 0
    assert down.stderr.count("stopped") == len(SERVERS)
    assert gone(directory, timeout_seconds=5)
    assert medstream_local("status", *folder).returncode == 1
    assert medstream_local("down", *folder).stderr.count("was not running") == len(SERVERS)


@pytest.mark.integration
@pytest.mark.parametrize(("detached", "sent"), [(False, signal.SIGKILL), (True, signal.SIGINT)])
def test_a_start_that_is_broken_off_leaves_no_server_behind(
    directory: Path, detached: bool, sent: signal.Signals
) -> None:
    program = (
        "import sys; from pathlib import Path; from deploy.local.stack import LocalStack;"
        f"LocalStack(Path(sys.argv[1]), recogniser='scripted', detached={detached}).start()"
    )
    starting = subprocess.Popen([sys.executable, "-c", program, str(directory)], stderr=subprocess.DEVNULL)
    while not (directory / "kafka" / "process.json").exists():
        assert starting.poll() is None
        time.sleep(0.05)
    starting.send_signal(sent)
    assert starting.wait(timeout=15) != 0
    assert gone(directory, timeout_seconds=5)


@pytest.mark.integration
def test_one_command_at_a_time_works_on_a_directory(directory: Path) -> None:
    stack = LocalStack(directory)
    with stack._owned(), pytest.raises(StackAlreadyOwned, match=str(directory)):
        LocalStack(directory).stop()
    LocalStack(directory).stop()


@pytest.mark.integration
def test_a_server_that_cannot_start_ends_the_others_and_is_one_clear_error(directory: Path) -> None:
    failed = medstream_local("up", "--recogniser", "no-such-recogniser", "--dir", str(directory))
    assert failed.returncode == 1
    assert "endpoint ended at start" in failed.stderr
    assert str(directory / "endpoint" / "endpoint.log") in failed.stderr
    assert "Traceback" not in failed.stderr
    assert gone(directory, timeout_seconds=5)
