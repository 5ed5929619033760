"""Child processes: ready or a clear failure, and nothing left behind, whoever dies first and how."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import ServerFailed
from deploy.local.processes import (
    ChildProcess,
    ProcessIdentity,
    accepts_connections,
    first_free,
    free_port,
    tail_of,
)

# A server with a child of its own; it writes both pids to the file it is given, then does nothing.
FAMILY = "sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"


def eventually(condition: Callable[[], bool], timeout_seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def shell(script: str, folder: Path, *, detached: bool = False) -> ChildProcess:
    return ChildProcess(
        "Shell", ["sh", "-c", script], log_path=folder / "logs" / "shell.log", detached=detached
    )


def family_of(pids: Path) -> list[int]:
    assert eventually(pids.exists)
    return [int(pid) for pid in pids.read_text().split()]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[ChildProcess]:
    process = shell(FAMILY.format(pids=tmp_path / "pids"), tmp_path)
    yield process
    process.kill()


def test_the_pid_is_that_of_the_program_itself(family: ChildProcess, tmp_path: Path) -> None:
    assert family_of(tmp_path / "pids")[0] == family.pid == family.identity.pid


@pytest.mark.parametrize("end", [ChildProcess.stop, ChildProcess.kill])
def test_when_a_server_ends_what_it_started_ends_too(
    family: ChildProcess, tmp_path: Path, end: Callable[[ChildProcess], None]
) -> None:
    pids = family_of(tmp_path / "pids")
    end(family)
    assert not family.is_running()
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_a_parent_killed_with_9_takes_its_servers_and_their_children_along(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy.local.processes import ChildProcess;"
        "ChildProcess('x', ['sh', '-c', sys.argv[1]], log_path=Path(sys.argv[2])); time.sleep(60)"
    )
    script = FAMILY.format(pids=tmp_path / "pids")
    parent = subprocess.Popen([sys.executable, "-c", program, script, str(tmp_path / "log")])
    pids = family_of(tmp_path / "pids")
    assert all(map(is_alive, pids))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: started.append(shell("sleep 60", tmp_path)))
    thread.start()
    thread.join()
    time.sleep(0.6)  # three looks of the guard
    assert started[0].is_running()
    started[0].kill()


def test_a_detached_server_outlives_its_parent_and_is_stopped_by_its_identity(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from deploy.local.processes import ChildProcess;"
        "ChildProcess('x', ['sh', '-c', sys.argv[1]], log_path=Path(sys.argv[2]), detached=True)"
    )
    script = FAMILY.format(pids=tmp_path / "pids")
    subprocess.run([sys.executable, "-c", program, script, str(tmp_path / "log")], check=True)
    pids = family_of(tmp_path / "pids")
    time.sleep(0.6)
    assert all(map(is_alive, pids))
    identity = ProcessIdentity.of(pids[0])
    identity.stop(grace_seconds=5)
    assert not identity.is_running()
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_a_server_that_ends_at_start_is_reported_with_its_log(tmp_path: Path) -> None:
    process = shell("echo reading settings; echo no such setting >&2; exit 3", tmp_path)
    with pytest.raises(ServerFailed, match="ended at start with code 3") as failure:
        process.wait_until_ready(lambda: False, timeout_seconds=10)
    assert failure.value.log_tail == ("reading settings", "no such setting")
    assert str(process.log_path) in str(failure.value)
    assert "no such setting" in str(failure.value)


def test_a_server_that_is_never_ready_is_ended_and_reported(tmp_path: Path) -> None:
    process = shell("echo still thinking; sleep 60", tmp_path)
    with pytest.raises(ServerFailed, match="not ready after") as failure:
        process.wait_until_ready(lambda: False, timeout_seconds=0.3)
    assert failure.value.log_tail == ("still thinking",)
    assert not process.is_running()


def test_a_report_shows_only_what_this_run_logged(tmp_path: Path) -> None:
    shell("echo earlier", tmp_path).wait(timeout_seconds=5)
    process = shell("echo later; exit 1", tmp_path)
    with pytest.raises(ServerFailed) as failure:
        process.wait_until_ready(lambda: False, timeout_seconds=10)
    assert failure.value.log_tail == ("later",)
    assert tail_of(process.log_path) == ["earlier", "later"]


def test_one_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = shell("trap '' TERM; echo trapped; while :; do sleep 0.1; done", tmp_path)
    assert eventually(lambda: tail_of(process.log_path) == ["trapped"])
    started = time.monotonic()
    process.stop(grace_seconds=0.3)
    assert time.monotonic() - started >= 0.3
    assert not process.is_running()
    process.stop()  # again is fine


def test_a_pid_that_is_another_process_by_now_is_left_alone(family: ChildProcess) -> None:
    stale = dataclasses.replace(family.identity, create_time=family.identity.create_time - 3600)
    assert not stale.is_running()
    stale.stop(grace_seconds=0.1)
    assert family.is_running()
    assert ProcessIdentity(**family.identity.as_dict()) == family.identity


def test_free_ports_differ_lie_below_outgoing_connections_and_can_be_bound() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < max(first_ephemeral, 20_000)
    with socket.create_server(("127.0.0.1", ports[0])):
        assert accepts_connections(ports[0])
    assert not accepts_connections(ports[1])


def test_a_port_stays_reserved_for_the_process_that_asked() -> None:
    def ask_another_process(*candidates: int) -> int:
        program = (
            "import sys; from deploy.local.processes import first_free;"
            "print(first_free(map(int, sys.argv[1:])))"
        )
        command = [sys.executable, "-c", program, *map(str, candidates)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    ours = free_port()
    theirs = ask_another_process(*range(20_000, 20_500))
    assert ask_another_process(ours, theirs) == theirs, "took ours, or did not get its predecessor's back"
    with pytest.raises(OSError, match="no free TCP port"):
        first_free([ours])
