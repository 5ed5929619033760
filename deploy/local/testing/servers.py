"""The servers that a test run brings: of Kafka, Flink and the endpoint those that are not given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from deploy.local.errors import ServerFailed
from deploy.local.flink import FlinkJobServer
from deploy.local.jars import FLINK_LOCK, KAFKA_LOCK, ensure_jars
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import tail_of
from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL
from deploy.local.server import LocalServer
from deploy.local.stack import Report, end_at_once, start_all
from deploy.local.testing.plan import MAX_LOCAL_STREAMS, Servers
from deploy.local.transcribe.process import EndpointProcess
from pipeline.settings import JobSettings

POCKETSPHINX = "pocketsphinx"
_SPARE_STREAMS = 4
"""One that is just being closed still counts."""


class RunServers:
    """Below `directory`; they end with this process, and with `stop`."""

    def __init__(
        self,
        directory: Path,
        wanted: Servers,
        *,
        recogniser: str,
        endpoint_options: Sequence[str],
        console: Console,
    ) -> None:
        """`endpoint_options` are further ones of `medstream endpoint`; downloads are told on `console`."""
        self._console = console
        self.kafka = KafkaBroker(directory / "kafka") if wanted.kafka else None
        self.flink = FlinkJobServer(directory / "flink") if wanted.flink else None
        self.endpoint = (
            EndpointProcess(
                directory / "endpoint",
                recogniser=recogniser,
                options=[*_default_options(recogniser), *endpoint_options],
            )
            if wanted.endpoint
            else None
        )

    @property
    def all(self) -> list[LocalServer]:
        return [server for server in (self.kafka, self.flink, self.endpoint) if server is not None]

    def start(self, report: Report) -> None:
        """All, side by side. Raises LocalStackError."""
        locks = [
            lock
            for lock, server in ((KAFKA_LOCK, self.kafka), (FLINK_LOCK, self.flink))
            if server is not None
        ]
        if locks:
            ensure_jars(*locks, console=self._console)
        if self.all:
            start_all(self.all, report)

    def stop(self) -> None:
        """At once: nobody will want their data."""
        end_at_once(self.all)

    def check(self) -> None:
        """Raises ServerFailed if one has ended by itself."""
        for server in self.all:
            if not server.is_running():
                log_path = server.log_path
                raise ServerFailed(server.name, "ended while the test ran", log_path, tail_of(log_path))

    def environment(self) -> dict[str, str]:
        """Variables with which the job is let in at the endpoint."""
        return {} if self.endpoint is None else self.endpoint.environment()

    def beam_flags(self) -> list[str]:
        """Where the job runs, if that is not given."""
        if self.flink is None:
            return []
        return self.flink.pipeline_options(worker_environment=self.environment())

    def settled(self, settings: JobSettings) -> JobSettings:
        """The settings with what is known of the endpoint now that it serves."""
        if self.endpoint is None:
            return settings
        ca_file = self.endpoint.ca_file
        service = replace(
            settings.service,
            endpoint_url=self.endpoint.url,
            region=self.endpoint.region,
            ca_bundle=None if ca_file is None else str(ca_file),
        )
        return replace(settings, service=service)


def _default_options(recogniser: str) -> list[str]:
    """As the demo has it: the dictations' language model for pocketsphinx, a recognition for each stream."""
    if recogniser != POCKETSPHINX:
        return []
    streams = str(MAX_LOCAL_STREAMS + _SPARE_STREAMS)
    model = ["--lm", str(LANGUAGE_MODEL), "--dict", str(DICTIONARY)]
    return [*model, "--workers", streams, "--max-streams", streams]
