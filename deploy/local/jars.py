"""The servers' jars: pinned by SHA-256, fetched once, kept outside the work tree.

A lock file names each jar by its path below a Maven repository, with size and SHA-256. `ensure_jars` hashes
what the cache holds (190 MB in 0.12 s measured, so every run checks every byte and no marker goes stale) and
fetches the rest with eight threads. A download goes to `NAME.part`, is resumed by an HTTP range request, is
checked, and only then takes its name, so a jar in the cache is always whole. One process at a time downloads;
others wait, then find it done.

The repository's address is an option, else MEDSTREAM_MAVEN_REPOSITORY, else the one Beam itself uses; Beam is
imported for that only when a jar is really missing, because the import costs seconds.

`python -m deploy.local.jars` fetches everything ahead of time.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import tenacity
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deploy.local.errors import CorruptDownload, InvalidLockFile, JarUnavailable, LocalStackError

REPOSITORY_VARIABLE = "MEDSTREAM_MAVEN_REPOSITORY"
KAFKA_LOCK = Path(__file__).with_name("kafka-4.4.0.lock")
FLINK_LOCK = Path(__file__).with_name("flink-1.19-beam-2.62.lock")

_THREADS = 8
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 15
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One line of a lock file: `path` is below the repository, size and hash are of the whole file."""

    path: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


def read_lock(lock: Path) -> list[LockedJar]:
    """The jars `lock` pins, in its order. Raises InvalidLockFile with the line's number."""
    jars = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [sha256, size, path] if len(sha256) == 64 and size.isdecimal():
                jars.append(LockedJar(path, int(size), sha256.lower()))
            case _:
                raise InvalidLockFile(lock, number)
    return jars


def default_cache_dir() -> Path:
    """`medstream/jars` below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medstream" / "jars"


def ensure_jars(
    *locks: Path,
    cache_dir: Path | None = None,
    repository_url: str | None = None,
    console: Console | None = None,
) -> list[Path]:
    """Paths of all jars of `locks`, in their order, fetched if they are not in `cache_dir` yet.

    Progress goes to `console` (default: standard error): a bar on a terminal, else a line before and one
    after. Raises JarUnavailable or CorruptDownload, each naming the jar.
    """
    cache = cache_dir or default_cache_dir()
    jars = [jar for lock in locks for jar in read_lock(lock)]
    if _missing(jars, cache):
        with _cache_lock(cache):
            missing = _missing(jars, cache)
            if missing:
                _fetch_all(
                    missing, cache, repository_url or _repository_url(), console or Console(stderr=True)
                )
    return [cache / jar.path for jar in jars]


def _missing(jars: Sequence[LockedJar], cache: Path) -> list[LockedJar]:
    """Those that are not whole in `cache`, each once: two locks may name the same jar."""
    jars = list({jar.path: jar for jar in jars}.values())
    with ThreadPoolExecutor(_THREADS) as pool:
        whole = pool.map(lambda jar: _is_whole(cache / jar.path, jar), jars)
        return [jar for jar, ok in zip(jars, whole, strict=True) if not ok]


def _is_whole(path: Path, jar: LockedJar) -> bool:
    try:
        return path.stat().st_size == jar.size_bytes and _sha256(path) == jar.sha256
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _repository_url() -> str:
    configured = os.environ.get(REPOSITORY_VARIABLE)
    if configured:
        return configured
    from apache_beam.utils.subprocess_server import JavaJarServer  # seconds, so only when needed

    return str(JavaJarServer.MAVEN_CENTRAL_REPOSITORY)


@contextmanager
def _cache_lock(cache: Path) -> Iterator[None]:
    """Hold the cache for this process; the lock ends with the process, however it ends."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: Sequence[LockedJar], cache: Path, repository_url: str, console: Console) -> None:
    """Fetch `jars` side by side; the first failure stops the rest, whose part files stay for the next run."""
    with _progress(jars, console) as advance, ThreadPoolExecutor(_THREADS) as pool:
        download = _Download(repository_url.rstrip("/"), cache, advance)
        # The biggest first, so that none of them is left alone at the end.
        futures = [pool.submit(download.fetch, jar) for jar in sorted(jars, key=lambda jar: -jar.size_bytes)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            download.stop()
            pool.shutdown(wait=False, cancel_futures=True)
        for future in done:
            future.result()


class _Download:
    """One run of downloads from one repository: what its threads share."""

    def __init__(self, repository_url: str, cache: Path, advance: Callable[[int], None]) -> None:
        self._repository_url, self._headers = _without_userinfo(repository_url)
        self._cache = cache
        self._advance = advance
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let every thread return at its next block."""
        self._stopped.set()

    def fetch(self, jar: LockedJar) -> None:
        """Bring one jar into the cache, whole and checked. Raises JarUnavailable or CorruptDownload."""
        target = self._cache / jar.path
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            _retrying(self._stopped)(self._receive, jar, part)
        except (OSError, http.client.HTTPException) as error:
            raise JarUnavailable(jar.name, self._repository_url, _reason(error)) from error
        if self._stopped.is_set():
            return
        actual = _sha256(part)
        if actual != jar.sha256:
            part.unlink()
            raise CorruptDownload(jar.name, jar.sha256, actual)
        part.replace(target)

    def _receive(self, jar: LockedJar, part: Path) -> None:
        """Append to `part` up to the jar's size and one byte: the hash refuses a file that is too long."""
        have = part.stat().st_size if part.exists() else 0
        if have >= jar.size_bytes:
            return
        request = urllib.request.Request(f"{self._repository_url}/{jar.path}", headers=self._headers)  # noqa: S310
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # the repository's file is shorter than the pinned one: the hash will refuse it
            raise
        with response:
            start = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            with part.open("ab" if start else "wb") as file:
                self._advance(start)
                self._copy(response, file, jar.size_bytes + 1 - start)

    def _copy(self, response: http.client.HTTPResponse, file: BinaryIO, limit_bytes: int) -> None:
        while limit_bytes and not self._stopped.is_set():
            block = response.read(min(_BLOCK_BYTES, limit_bytes))
            if not block:
                if response.length:  # promised more: the connection broke
                    raise http.client.IncompleteRead(b"", response.length)
                return
            file.write(block)
            limit_bytes -= len(block)
            self._advance(len(block))


def _retrying(stopped: threading.Event) -> tenacity.Retrying:
    """Try again what may pass, within seconds: no connection, a broken one, an overloaded repository."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_transient),
        stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_when_event_set(stopped),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=4),
        sleep=tenacity.sleep_using_event(stopped),
        reraise=True,
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 425, 429) or error.code >= 500
    return isinstance(error, (OSError, http.client.HTTPException))


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the repository answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _without_userinfo(url: str) -> tuple[str, dict[str, str]]:
    """`url` without user name and password, fit for messages, and the HTTP header that carries them."""
    parts = urllib.parse.urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    basic = base64.b64encode(urllib.parse.unquote_to_bytes(userinfo)).decode()
    headers = {"Authorization": f"Basic {basic}"} if userinfo else {}
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), headers


@contextmanager
def _progress(jars: Sequence[LockedJar], console: Console) -> Iterator[Callable[[int], None]]:
    total_bytes = sum(jar.size_bytes for jar in jars)
    title = f"Downloading {len(jars)} jars"
    if not console.is_terminal:
        console.print(f"{title}, {total_bytes / 1e6:.0f} MB", highlight=False)
        started = time.monotonic()
        yield lambda _: None
        console.print(f"Downloaded in {time.monotonic() - started:.1f} s", highlight=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total_bytes)
        yield lambda count: progress.advance(task, count)


def main() -> int:
    """Fetch every jar of the local stack; the exit code is 1 when one could not be had."""
    try:
        jars = ensure_jars(KAFKA_LOCK, FLINK_LOCK)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(jars)} jars are in {default_cache_dir()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
