"""What every local server does, on a small real one: one directory, one process, found again by others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.errors import ServerAlreadyRunning, ServerFailed
from deploy.local.processes import ChildProcess, accepts_connections
from deploy.local.server import LocalServer

# Waits for a connection on its port, for ever; with port 0 it says what is wrong and ends.
PROGRAM = """
import socket, sys
if sys.argv[1] == "0":
    sys.exit("port 0 is not allowed")
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    server.accept()[0].close()
"""


class Listener(LocalServer):
    name = "Listener"

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory)
        self.port = self._ports_for(["main"])["main"] if port is None else port

    @property
    def log_path(self) -> Path:
        return self.directory / "listener.log"

    def _launch(self) -> ChildProcess:
        return ChildProcess(
            self.name, [sys.executable, "-c", PROGRAM, str(self.port)], log_path=self.log_path
        )

    def _is_ready(self) -> bool:
        return accepts_connections(self.port)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "listener") as running:
        yield running


def test_inside_the_block_it_serves_and_after_it_is_gone(tmp_path: Path) -> None:
    with Listener(tmp_path) as server:
        assert server.is_running()
        assert accepts_connections(server.port)
    assert not server.is_running()
    assert not accepts_connections(server.port)
    server.stop()  # again is fine


def test_a_kill_and_a_restart_keep_the_port_and_give_a_new_process(listener: Listener) -> None:
    pid, port = listener.pid, listener.port
    listener.kill()
    assert not listener.is_running()
    listener.restart()
    assert listener.is_running()
    assert listener.pid != pid
    assert listener.port == port == Listener(listener.directory).port


def test_starting_what_runs_changes_nothing(listener: Listener) -> None:
    pid = listener.pid
    listener.start()
    assert listener.pid == pid


def test_a_second_one_in_the_same_directory_is_refused_and_can_adopt_instead(listener: Listener) -> None:
    second = Listener(listener.directory)
    with pytest.raises(ServerAlreadyRunning, match=str(listener.pid)):
        second.start()
    assert second.adopt()
    assert second.identity == listener.identity
    second.stop()
    assert not listener.is_running()


def test_there_is_nothing_to_adopt_where_nothing_runs(tmp_path: Path, listener: Listener) -> None:
    assert not Listener(tmp_path / "empty").adopt()
    listener.kill()
    assert not Listener(listener.directory).adopt()
    listener.restart()
    (listener.directory / "process.json").write_text("{}")
    assert not Listener(listener.directory).adopt()


def test_one_that_fails_at_start_is_reported_and_not_recorded_as_running(tmp_path: Path) -> None:
    server = Listener(tmp_path, port=0)
    with pytest.raises(ServerFailed, match="port 0 is not allowed"):
        server.start()
    assert not server.is_running()
    assert not server.adopt()


def test_before_the_start_there_is_no_pid(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = Listener(tmp_path).pid
