"""A worker that Flink can lose without ending it, as one on a node that the network has cut off.

The process that Flink knows, and kills, only waits; the worker is another process's child. At SIGUSR1 the
worker loses its connections to Flink, whose ports are in the file that `CUT_PORTS_VARIABLE` names, and in the
same breath it pauses itself: a SIGSTOP from outside would leave Flink waiting for those connections for
minutes.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType

from deploy.local import worker

CUT_PORTS_VARIABLE = "MEDSTREAM_TEST_CUT_PORTS"


def main() -> None:
    if os.fork():
        while True:
            signal.pause()
    if os.fork():
        os.wait()
        os._exit(0)
    signal.signal(signal.SIGUSR1, _cut_off_and_pause)
    worker.main()


def _cut_off_and_pause(_: int, __: FrameType | None) -> None:
    ports = {int(port) for port in Path(os.environ[CUT_PORTS_VARIABLE]).read_text().split()}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # no socket, or not connected
            _shut_down(int(descriptor.name), ports)
    os.kill(os.getpid(), signal.SIGSTOP)


def _shut_down(descriptor: int, ports: set[int]) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
        if is_tcp and connection.getpeername()[1] in ports:
            connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
