"""What can go wrong with the local stack, as one tree.

`LocalStackError` is the root. Every message is a whole sentence that names the setting or the file concerned
and the remedy; the values are kept as attributes. `retryable` says whether the same call may succeed later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class LocalStackError(Exception):
    """Root of everything `deploy.local` raises on purpose."""

    retryable = False


class InvalidLockFile(LocalStackError):
    """A line of a lock file is not `SHA-256, size, path`."""

    def __init__(self, lock: Path, line_number: int) -> None:
        self.lock = lock
        self.line_number = line_number
        super().__init__(
            f"{lock} line {line_number} is not a locked jar; expected: SHA-256, size in bytes, path."
        )


class JarUnavailable(LocalStackError):
    """A jar could not be fetched: no network, an unknown address, or an error from the repository."""

    retryable = True

    def __init__(self, jar: str, repository_url: str, reason: str) -> None:
        self.jar = jar
        self.repository_url = repository_url
        self.reason = reason
        super().__init__(
            f"Cannot download {jar} from {repository_url}: {reason}. Check the network "
            "connection, or set MEDSTREAM_MAVEN_REPOSITORY to a Maven repository this machine can reach; "
            "what has arrived is kept."
        )


class CorruptDownload(LocalStackError):
    """What the repository sent is not the jar that the lock file pins; it was deleted."""

    def __init__(self, jar: str, expected_sha256: str, actual_sha256: str) -> None:
        self.jar = jar
        self.expected_sha256 = expected_sha256
        self.actual_sha256 = actual_sha256
        super().__init__(
            f"Refused {jar}: its SHA-256 is {actual_sha256}, the lock file pins {expected_sha256}. "
            "The download was deleted; try again, and if it happens again, check MEDSTREAM_MAVEN_REPOSITORY "
            "or the proxy in between."
        )


class NotRunning(LocalStackError):
    """A command needs a server that does not run."""

    retryable = True

    def __init__(self, server: str) -> None:
        self.server = server
        super().__init__(f"{server} is not running; start it with: medstream local up")


class JavaNotFound(LocalStackError):
    """There is no Java runtime where the setting says, or the package that bundles one is missing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{reason} Install medstream[local], or set MEDSTREAM_JAVA to a java program of version 21."
        )


class ServerFailed(LocalStackError):
    """A server ended, or did not become ready in time; carries the path and the last lines of its log."""

    retryable = True

    def __init__(self, name: str, reason: str, log_path: Path, log_tail: Sequence[str]) -> None:
        self.name = name
        self.reason = reason
        self.log_path = log_path
        self.log_tail = tuple(log_tail)
        tail = "".join(f"\n    {line}" for line in self.log_tail) or "\n    (empty)"
        super().__init__(f"{name} {reason}. Its log is {log_path}; the last lines:{tail}")


class ServerAlreadyRunning(LocalStackError):
    """Another process started a server in this directory, and it still runs."""

    def __init__(self, name: str, directory: Path, pid: int) -> None:
        self.name = name
        self.directory = directory
        self.pid = pid
        super().__init__(
            f"{name} already runs in {directory} (process {pid}). Stop it with `medstream local down`, or "
            "choose another directory with --dir."
        )


class StackAlreadyOwned(LocalStackError):
    """Another process is starting or stopping the stack of this directory."""

    retryable = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"Another medstream command is at work on {directory}; wait for it, or choose another with --dir."
        )
