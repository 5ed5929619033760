"""Start one server such that it cannot outlive its parent. Run as a program, never imported by us.

    python -I -S guard.py OWNER_PID PROGRAM ARGUMENT...

The process becomes leader of a session of its own, leaves a guard behind and turns into PROGRAM (exec), so
the pid that the parent knows is the server's. The guard is a child of the server and sleeps nearly always. It
ends the whole process group with SIGKILL
- when the server's parent OWNER_PID is gone, however it died, also by kill -9 (0: the server has no owner);
- when the server is gone, however it died: what it started (worker processes, say) does not stay behind.

Why not PR_SET_PDEATHSIG: it is bound to the parent's THREAD, so a server started from a thread pool would
die with that thread, and it does not reach grandchildren. Why not a pipe: a forked helper of the parent would
hold it open. Pids suffice: the guard sees its own parent change when the server goes (a parent's pid is not
reused unnoticed), and in /proc the server's parent.
"""

import os
import signal
import sys
import time

_INTERVAL_SECONDS = 0.2


def main(arguments: list[str]) -> None:
    owner, command = int(arguments[0]), arguments[1:]
    os.setsid()
    server = os.getpid()
    if os.fork() == 0:
        _watch(server, owner)
    os.execvp(command[0], command)


def _watch(server: int, owner: int) -> None:
    """Sleep until the server or its owner is gone, then end the process group, this process included."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard_stream in (0, 1, 2):
        os.dup2(null, standard_stream)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    while os.getppid() == server and owner in (0, _parent_of(server)):
        time.sleep(_INTERVAL_SECONDS)
    os.killpg(server, signal.SIGKILL)


def _parent_of(pid: int) -> int:
    """Parent pid by /proc/PID/stat (proc(5): the fourth field; the second may hold blanks); 0 when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  imports as few modules as possible
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    main(sys.argv[1:])
