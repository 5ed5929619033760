"""`medstream demo` as its user sees it: on the real stack, from start to end, and interrupted."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deploy.local.recordings import load_recordings
from deploy.local.recordings.spoken import spoken_form

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]

MEDSTREAM = Path(sys.executable).with_name("medstream")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Environment in which everything the demo leaves lies below the test's folder; jars stay shared."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary), "XDG_STATE_HOME": str(tmp_path / "state")}


def processes_with(text: str) -> list[psutil.Process]:
    """Living processes whose command line or folder contains `text`."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join([*process.cmdline(), process.cwd()]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_none(text: str, timeout_seconds: float = 10.0) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_seconds
    while (found := processes_with(text)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@contextmanager
def started_demo(folders: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """A demo with plain output; killed in the end if it is still there."""
    demo = subprocess.Popen(
        [MEDSTREAM, "demo", "--plain", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=folders,
    )
    try:
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def read_until(demo: subprocess.Popen[str], pattern: str) -> str:
    """Output up to the first line that matches."""
    lines = []
    assert demo.stdout is not None
    for line in demo.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return "".join(lines)
    raise AssertionError(f"no line like {pattern!r} in:\n{''.join(lines)}")


def test_every_session_comes_out_whole_and_nothing_stays_behind(folders: dict[str, str]) -> None:
    with started_demo(folders, "--sessions", "4", "--speed", "2") as demo:
        output, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, output
    rates = re.findall(r"^[a-z-]+-[0-9a-f]{4}: \d+ finals, \d+ of \d+ = ([\d.]+)%$", output, re.MULTILINE)
    assert len(rates) == 4, output
    assert max(map(float, rates)) <= 15.0
    assert re.search(r"Added latency .* p50 \d+ ms, p99 \d+ ms", output)
    assert wait_until_none(folders["TMPDIR"]) == []
    assert list(Path(folders["TMPDIR"]).glob("medstream-demo-*")) == []


@pytest.mark.parametrize("moment", ["^Starting", "^Submitting", "  playing$"])
def test_an_interrupt_at_any_moment_leaves_nothing(folders: dict[str, str], moment: str) -> None:
    with started_demo(folders, "--sessions", "2") as demo:
        read_until(demo, moment)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert wait_until_none(folders["TMPDIR"]) == []
    assert list(Path(folders["TMPDIR"]).glob("medstream-demo-*")) == []


def test_a_killed_demo_takes_its_servers_along(folders: dict[str, str]) -> None:
    with started_demo(folders, "--sessions", "1") as demo:
        read_until(demo, "^Submitting")
        assert processes_with(folders["TMPDIR"])
        demo.kill()
    assert wait_until_none(folders["TMPDIR"]) == []


def test_a_kept_stack_can_be_reached_holds_no_text_in_its_logs_and_ends_by_local_down(
    folders: dict[str, str],
) -> None:
    try:
        with started_demo(folders, "--keep", "--sessions", "2", "--speed", "2") as demo:
            output, _ = demo.communicate(timeout=400)
        assert demo.returncode == 0, output
        assert medstream_local("status", folders).returncode == 0
        assert_finals_readable_as_told(output, folders)
        assert_no_text_in_logs(Path(folders["XDG_STATE_HOME"]))
    finally:
        assert medstream_local("down", folders).returncode == 0
    assert wait_until_none(folders["XDG_STATE_HOME"]) == []


def medstream_local(command: str, folders: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MEDSTREAM, "local", command], env=folders, capture_output=True, text=True, check=False
    )


def assert_finals_readable_as_told(output: str, folders: dict[str, str]) -> None:
    """The command that the demo prints shows a final of the first recording."""
    command = re.search(r"read the finals +python (.*)", output)
    assert command is not None, output
    with subprocess.Popen(
        [sys.executable, "-u", *shlex.split(command[1])], stdout=subprocess.PIPE, text=True, env=folders
    ) as consumer:
        assert consumer.stdout is not None
        finals = [consumer.stdout.readline() for _ in range(8)]
        consumer.send_signal(signal.SIGINT)
    assert any(final.startswith(load_recordings()[0].name) for final in finals)
    assert "sinus rhythm" in spoken_form(" ".join(finals))


def assert_no_text_in_logs(directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.suffix in (".log", ".jsonl")]
    logs = [path for path in files if "data" not in path.parts]  # Kafka's own files hold the topics
    assert {"kafka.log", "flink.log", "endpoint.log", "pipeline.log", "demo.log"} <= {
        log.name for log in logs
    }
    text = spoken_form(" ".join(path.read_text(errors="replace") for path in logs))
    for phrase in ("sinus rhythm", "chest pain", "dry cough", "flights of stairs"):
        assert phrase not in text
