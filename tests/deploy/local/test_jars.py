"""Jars are fetched once, whole, as pinned, or not at all; against a small real HTTP repository."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.errors import CorruptDownload, InvalidLockFile, JarUnavailable
from deploy.local.jars import FLINK_LOCK, KAFKA_LOCK, default_cache_dir, ensure_jars, read_lock

JARS = {f"org/example/part{number}/1/part{number}-1.jar": bytes([number]) * 200_000 for number in range(12)}
SOME_JAR = "org/example/part3/1/part3-1.jar"


class Repository(ThreadingHTTPServer):
    """A Maven repository of `files`, with the faults a test asks for; remembers its requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(JARS)
        self.requests: list[tuple[str, str | None]] = []
        self.ignores_ranges = False
        self.authorization: str | None = None
        self.break_after_bytes: dict[str, int] = {}  # once per path
        self.url = f"http://127.0.0.1:{self.server_port}/maven"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path = self.path.removeprefix("/maven/")
        wanted = self.headers["Range"]
        self.server.requests.append((path, wanted))
        if self.headers["Authorization"] != self.server.authorization:
            self.send_error(401)
            return
        if path not in self.server.files:
            self.send_error(404, "Not Found")
            return
        body = self.server.files[path]
        start = 0
        if wanted and not self.server.ignores_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.break_after_bytes.pop(path, len(body))
        self.wfile.write(body[start:end])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def repository() -> Iterator[Repository]:
    server = Repository()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "example.lock"
    lines = [f"{hashlib.sha256(body).hexdigest()} {len(body)} {name}" for name, body in JARS.items()]
    path.write_text("# a comment\n\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def quiet() -> Console:
    return Console(file=io.StringIO())


def fetch(lock: Path, cache: Path, repository_url: str) -> list[Path]:
    return ensure_jars(lock, cache_dir=cache, repository_url=repository_url, console=quiet())


def test_all_jars_arrive_in_the_order_of_the_lock_and_only_once(
    lock: Path, cache: Path, repository: Repository
) -> None:
    paths = fetch(lock, cache, repository.url)
    assert [path.read_bytes() for path in paths] == list(JARS.values())
    assert fetch(lock, cache, "http://127.0.0.1:9") == paths  # no repository is needed any more
    assert sorted(path for path, _ in repository.requests) == sorted(JARS)
    assert not list(cache.rglob("*.part"))


def test_a_jar_that_two_locks_name_is_fetched_once(lock: Path, cache: Path, repository: Repository) -> None:
    other = lock.with_name("other.lock")
    other.write_text(lock.read_text())
    jars = ensure_jars(
        lock, other, cache_dir=cache, repository_url=repository.url, console=Console(file=io.StringIO())
    )
    assert jars == [cache / path for path in [*JARS, *JARS]]
    assert len(repository.requests) == len(JARS)


def test_a_corrupt_download_is_refused_by_name_and_fetched_afresh_the_next_time(
    lock: Path, cache: Path, repository: Repository
) -> None:
    repository.files[SOME_JAR] = b"x" * len(JARS[SOME_JAR])
    with pytest.raises(CorruptDownload, match=r"part3-1\.jar") as refusal:
        fetch(lock, cache, repository.url)
    assert refusal.value.actual_sha256 == hashlib.sha256(repository.files[SOME_JAR]).hexdigest()
    assert not list(cache.rglob("part3*.jar*"))

    repository.files[SOME_JAR] = JARS[SOME_JAR]
    paths = fetch(lock, cache, repository.url)
    assert [path.read_bytes() for path in paths] == list(JARS.values())


@pytest.mark.parametrize("body", [b"", JARS[SOME_JAR][:-1], JARS[SOME_JAR] + b"\x03"])
def test_a_file_of_the_wrong_length_is_refused_by_name(
    lock: Path, cache: Path, repository: Repository, body: bytes
) -> None:
    repository.files[SOME_JAR] = body
    with pytest.raises(CorruptDownload, match=r"part3-1\.jar"):
        fetch(lock, cache, repository.url)


def test_a_part_of_an_earlier_run_that_is_longer_than_what_the_repository_has_is_refused(
    lock: Path, cache: Path, repository: Repository
) -> None:
    repository.files[SOME_JAR] = JARS[SOME_JAR][:1000]
    part = cache / (SOME_JAR + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(JARS[SOME_JAR][:1000])
    with pytest.raises(CorruptDownload, match=r"part3-1\.jar"):
        fetch(lock, cache, repository.url)
    assert not part.exists()


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_partial_download_is_resumed(
    lock: Path, cache: Path, repository: Repository, ignores_ranges: bool
) -> None:
    repository.ignores_ranges = ignores_ranges
    part = cache / (SOME_JAR + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(JARS[SOME_JAR][:150_000])
    fetch(lock, cache, repository.url)
    assert (cache / SOME_JAR).read_bytes() == JARS[SOME_JAR]
    assert (SOME_JAR, "bytes=150000-") in repository.requests


def test_a_connection_that_breaks_is_resumed_in_the_same_run(
    lock: Path, cache: Path, repository: Repository
) -> None:
    repository.break_after_bytes[SOME_JAR] = 70_000
    fetch(lock, cache, repository.url)
    assert (cache / SOME_JAR).read_bytes() == JARS[SOME_JAR]
    assert [wanted for path, wanted in repository.requests if path == SOME_JAR] == [None, "bytes=70000-"]


def test_a_jar_that_was_damaged_in_the_cache_is_fetched_again(
    lock: Path, cache: Path, repository: Repository
) -> None:
    fetch(lock, cache, repository.url)
    (cache / SOME_JAR).write_bytes(b"x" * len(JARS[SOME_JAR]))
    fetch(lock, cache, repository.url)
    assert (cache / SOME_JAR).read_bytes() == JARS[SOME_JAR]


def test_a_jar_that_the_repository_lacks_is_named_and_not_asked_for_again(
    lock: Path, cache: Path, repository: Repository
) -> None:
    del repository.files[SOME_JAR]
    with pytest.raises(JarUnavailable, match=r"part3-1\.jar.*404") as error:
        fetch(lock, cache, repository.url)
    assert "MEDSTREAM_MAVEN_REPOSITORY" in str(error.value)
    assert len([path for path, _ in repository.requests if path == SOME_JAR]) == 1


def test_without_a_network_one_clear_sentence_says_so_and_keeps_the_password_to_itself(
    lock: Path, cache: Path
) -> None:
    with pytest.raises(JarUnavailable) as error:
        fetch(lock, cache, "http://user:password@127.0.0.1:9/maven")
    assert "Cannot download" in str(error.value)
    assert "http://127.0.0.1:9/maven" in str(error.value)
    assert "password@" not in str(error.value)
    assert error.value.retryable


def test_user_and_password_of_the_address_open_a_guarded_repository(
    lock: Path, cache: Path, repository: Repository
) -> None:
    repository.authorization = "Basic " + base64.b64encode(b"user:p@ss").decode()
    guarded = repository.url.replace("http://", "http://user:p%40ss@")
    assert len(fetch(lock, cache, guarded)) == len(JARS)


def test_two_processes_at_once_fetch_each_jar_once(lock: Path, cache: Path, repository: Repository) -> None:
    program = (
        "import sys; from pathlib import Path; from deploy.local.jars import ensure_jars;"
        "ensure_jars(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(lock), str(cache)]
    environment = {"MEDSTREAM_MAVEN_REPOSITORY": repository.url}
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0]
    assert sorted(path for path, _ in repository.requests) == sorted(JARS)


def test_progress_is_one_line_before_and_one_after_where_there_is_no_terminal(
    lock: Path, cache: Path, repository: Repository
) -> None:
    output = io.StringIO()
    ensure_jars(lock, cache_dir=cache, repository_url=repository.url, console=Console(file=output))
    assert re.fullmatch(r"Downloading 12 jars, 2 MB\nDownloaded in \d+\.\d s\n", output.getvalue())


def test_progress_is_a_bar_on_a_terminal(lock: Path, cache: Path, repository: Repository) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    ensure_jars(lock, cache_dir=cache, repository_url=repository.url, console=console)
    assert "Downloading 12 jars" in output.getvalue()
    assert "2.4/2.4 MB" in output.getvalue()


@pytest.mark.parametrize("line", ["abc 1 a.jar", "0" * 64 + " a.jar", "0" * 64 + " -1 a.jar"])
def test_a_line_that_is_no_jar_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "bad.lock"
    lock.write_text(f"# fine\n{line}\n")
    with pytest.raises(InvalidLockFile, match="line 2"):
        read_lock(lock)


@pytest.mark.parametrize(
    ("lock", "main_jar"), [(KAFKA_LOCK, "kafka_2.13"), (FLINK_LOCK, "beam-runners-flink")]
)
def test_our_lock_files_pin_each_jar_once_and_can_log(lock: Path, main_jar: str) -> None:
    jars = read_lock(lock)
    assert len({jar.name for jar in jars}) == len(jars)
    assert [jar.path for jar in jars] == sorted(jar.path for jar in jars)
    assert any(jar.name.startswith(main_jar) for jar in jars)
    assert any(jar.name.startswith("slf4j-simple") for jar in jars)


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "medstream" / "jars"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "medstream" / "jars"
