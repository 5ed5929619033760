"""A real schema registry for tests and for trying things: Apicurio 3.3 with Confluent's API, on loopback.

The archive comes as the jars do (`jars.py`), pinned by SHA-256, and is unpacked once beside them. The
directory holds the rest: port, database, log. A registry that was stopped or killed is started again with
its schemas, on its port. New subjects are checked by BACKWARD_TRANSITIVE.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local.jars import ensure_jars
from deploy.local.java import java_executable
from deploy.local.processes import ChildProcess, accepts_connections
from deploy.local.server import LocalServer

REGISTRY_LOCK = Path(__file__).with_name("apicurio-registry-3.3.3.lock")

_JVM_OPTIONS = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_READY_SECONDS = 2.0
_SAFELY: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.11.4 has none


class SchemaRegistryServer(LocalServer):
    """One registry in `directory`."""

    name = "Registry"

    def __init__(
        self,
        directory: Path,
        *,
        java: Path | None = None,
        console: Console | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory, detached=detached)
        self._java = java
        self._console = console
        self._ports = self._ports_for(["HTTP", "MANAGEMENT"])

    @property
    def log_path(self) -> Path:
        return self.directory / "registry.log"

    @property
    def url(self) -> str:
        """Base address of the Confluent-compatible API; the same after every restart."""
        return f"http://127.0.0.1:{self._ports['HTTP']}/apis/ccompat/v7"

    def _launch(self) -> ChildProcess:
        application = _unpacked(*ensure_jars(REGISTRY_LOCK, console=self._console))
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        database = self.directory / "data" / "registry"
        properties = {
            "java.io.tmpdir": temporary,
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self._ports["HTTP"],
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self._ports["MANAGEMENT"],
            "quarkus.log.console.color": "false",
            "apicurio.datasource.url": f"jdbc:h2:file:{database};WRITE_DELAY=0",  # a kill loses nothing
            "apicurio.rules.global.compatibility": "BACKWARD_TRANSITIVE",
        }
        options = [f"-D{name}={value}" for name, value in properties.items()]
        return ChildProcess(
            self.name,
            [
                str(java_executable(self._java)),
                *_JVM_OPTIONS,
                *options,
                "-jar",
                str(application / "quarkus-run.jar"),
            ],
            log_path=self.log_path,
            directory=self.directory,
            detached=self._detached,
        )

    def _is_ready(self) -> bool:
        if not accepts_connections(self._ports["HTTP"]):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=_READY_SECONDS) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:  # URLError is one
            return False


def _unpacked(archive: Path) -> Path:
    """The folder with what is in `archive`, beside it; made once, whole or not at all."""
    target = archive.with_name(archive.name.removesuffix(".tar.gz"))
    if not target.exists():
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=archive.parent))
        with tarfile.open(archive) as files:
            files.extractall(part, **_SAFELY)  # its hash was checked
        try:
            part.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(part)
    return target
