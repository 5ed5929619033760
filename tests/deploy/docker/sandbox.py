"""Programs as a hardened container runs them, without a container: the image's user, a read-only root file
system, a /tmp of their own, no capabilities. Network and processes are this machine's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
USER = 10001
ENVIRONMENT = {
    "PATH": f"{BIN}:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_PREPARE = (
    "mount --make-rprivate / && mount -t tmpfs tmpfs /tmp && mount -o remount,ro,bind / && cd /tmp && "
    f'exec unshare --user --map-user={USER} --map-group={USER} "$0" "$@"'
)


def hardened(command: Sequence[str | Path]) -> list[str]:
    """The command line that runs `command` so; its process is the same one. Skips where that is forbidden."""
    if not _allowed():
        pytest.skip("this machine lets nobody make namespaces (util-linux: unshare)")
    return [*_outer(), *map(str, command)]


def _outer() -> list[str]:
    own = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own, "--mount", "sh", "-c", _PREPARE]


@cache
def _allowed() -> bool:
    try:
        return (
            subprocess.run([*_outer(), sys.executable, "-c", ""], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False
