"""Servers as child processes: start with a log file, wait until ready, stop, and never leave one behind.

`ChildProcess` starts a command through `guard.py`, which makes the server the leader of its own process group
and ends that group when this process dies, however it dies; a Ctrl-C in the terminal does not reach the
servers, so whoever started them decides in which order they stop. Standard output and error go to one log
file, and a server that fails says so by an error with the log's path and last lines.

`ProcessIdentity` is what a state file keeps: a pid alone may belong to somebody else by the time it is used,
so the creation time is compared as well before anything is signalled.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from deploy.local.errors import ServerFailed

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.05
_TAIL_LINES = 15
_CREATE_TIME_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be recognised later: `create_time` is in seconds since the epoch (psutil)."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Identity of a living process. Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def as_dict(self) -> dict[str, float]:
        """For a state file; `ProcessIdentity(**that)` is this one again."""
        return {"pid": self.pid, "create_time": self.create_time}

    def process(self) -> psutil.Process | None:
        """The process itself while it lives; None when it is gone, or the pid is another's by now."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.create_time) < _CREATE_TIME_TOLERANCE_SECONDS
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def is_running(self) -> bool:
        return self.process() is not None

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL after `grace_seconds`; returns when the process is gone."""
        process = self.process()
        if process is None:
            return
        try:
            process.terminate()
            process.wait(grace_seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        except psutil.NoSuchProcess:
            return


class ChildProcess:
    """One running server. `detached` servers outlive this process; all others end with it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        detached: bool = False,
    ) -> None:
        """Start `command`; `environment` is added to this process's own. The log is appended to."""
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        owner = 0 if detached else os.getpid()
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(owner)]
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            self._popen = subprocess.Popen(
                [*guard, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=directory,
            )
        self.identity = ProcessIdentity.of(self._popen.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait_until_ready(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once `is_ready()`. Raises ServerFailed when the process ends first, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running():
                raise self.failure(f"ended at start with code {self._popen.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failure(f"was not ready after {timeout_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def failure(self, reason: str) -> ServerFailed:
        """An error about this server, with the last lines of its log."""
        return ServerFailed(self.name, reason, self.log_path, tail_of(self.log_path, self._log_start))

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the end by itself; the exit code. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout_seconds)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after `grace_seconds`; returns when the process is gone. Idempotent."""
        if self.is_running():
            self._popen.terminate()
            try:
                self._popen.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9, and wait until the process is gone. Idempotent."""
        self._popen.kill()
        self._popen.wait()


def tail_of(log_path: Path, start: int = 0, lines: int = _TAIL_LINES) -> list[str]:
    """The last `lines` lines of a log from byte `start` on; empty when there is none."""
    try:
        with log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - (1 << 16)))
            return log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens on `host:port`."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


_reservations: list[IO[bytes]] = []


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses and no other medstream process will choose.

    It lies below the range from which the kernel serves outgoing connections, so none of those takes it, and
    a file lock reserves it until this process ends. What remains possible is a foreign server that asks for
    this very port before ours does.
    """
    ports = range(10_000, max(_first_ephemeral_port(), 20_000))
    return first_free(random.sample(ports, k=1_000))


def first_free(candidates: Iterable[int]) -> int:
    """The first of `candidates` that is free and not reserved; reserves it. Raises OSError if none is."""
    folder = Path(tempfile.gettempdir()) / f"medstream-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in candidates:
        if _reserve(folder / str(port)) and _can_bind(port):
            return port
    raise OSError("no free TCP port")


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def _reserve(path: Path) -> bool:
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _reservations.append(file)
    return True


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an earlier server in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
