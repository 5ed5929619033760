"""What the demo runs on: a local stack (Kafka, Flink, endpoint) and the pipeline submitted to it.

Without `keep` the stack lies in the demo's own folder and ends with it. With `keep` it is the stack that
`medstream local` knows: taken over if it runs, started detached if not, and left running in the end; the job
stays in Flink, which only stops when the job server does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from deploy.local.demo.board import Event
from deploy.local.demo.pipeline_process import PipelineProcess, run_arguments
from deploy.local.demo.topics import AUDIO_PARTITIONS, DemoTopics
from deploy.local.errors import ServerFailed
from deploy.local.processes import tail_of
from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL
from deploy.local.server import LocalServer
from deploy.local.stack import LocalStack, Report, end_at_once
from deploy.local.transcribe.process import REGION


class DemoServers:
    """The servers of one run, in `directory`. `stop` is due whatever happens."""

    def __init__(
        self,
        directory: Path,
        topics: DemoTopics,
        sessions: int,
        *,
        keep: bool,
        cluster: bool = False,
        console: Console,
    ) -> None:
        self.directory = directory
        self.topics = topics
        self._keep = keep
        directory.mkdir(parents=True, exist_ok=True)
        self.stack = LocalStack(
            directory,
            recogniser="pocketsphinx",
            endpoint_options=[
                *("--lm", str(LANGUAGE_MODEL)),
                *("--dict", str(DICTIONARY)),
                *("--workers", str(sessions + AUDIO_PARTITIONS)),  # a warm-up session may still be closing
                *("--max-streams", str(sessions + AUDIO_PARTITIONS)),
            ],
            cluster=cluster,
            detached=keep,
            console=console,
        )
        self._found_running = any(server.running for server in self.stack.status())
        self._pipeline: PipelineProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        return self.stack.kafka.bootstrap_servers

    def start(self, report: Report) -> None:
        """Kafka with the run's topics, Flink and the endpoint, all ready. Raises LocalStackError."""
        self.stack.start(report)
        self.stack.kafka.create_topics(self.topics.partitions)

    def start_pipeline(self, warm_up_ids: Iterable[str]) -> float:
        """The pipeline, ready once these sessions have gone through it; returns the seconds it took.

        Raises ServerFailed.
        """
        begun = time.monotonic()
        credentials = self.stack.environment()
        arguments = run_arguments(
            self.bootstrap_servers,
            self.topics,
            self.stack.endpoint.url,
            REGION,
            self.stack.flink.pipeline_options(worker_environment=credentials),
        )
        folder = self.directory / f"pipeline-{self.topics.run_id}"
        self._pipeline = PipelineProcess(folder, arguments, credentials, warm_up_ids=warm_up_ids)
        self._pipeline.start()
        return time.monotonic() - begun

    def observe(self, event: Event) -> None:
        """Passes on what the watcher sees to the pipeline, which tells its readiness from it."""
        if self._pipeline is not None:
            self._pipeline.observe(event)

    def check(self) -> None:
        """Raises ServerFailed if one of the servers has ended by itself."""
        for server in self._servers():
            if not server.is_running():
                log_path = server.log_path
                raise ServerFailed(server.name, "ended while the demo ran", log_path, tail_of(log_path))

    def stop(self, *, succeeded: bool) -> None:
        """Ends what this run started; after success with `keep`, stack and job stay."""
        if self._pipeline is not None and self._pipeline.is_running():
            self._pipeline.kill()  # the client only: asked politely it would cancel the job first
        if not self._keep:
            end_at_once(self.stack.servers)
        elif not (succeeded or self._found_running):
            self.stack.stop()

    def _servers(self) -> tuple[LocalServer, ...]:
        return (*self.stack.servers, *([self._pipeline] if self._pipeline else []))
