"""The pipeline as a child process: `medstream run` with the options a user would give.

It counts as ready when short silent sessions, one in each partition, have gone the whole way: in at the
audio topic, through Flink, the worker and a Transcribe stream, out as SessionEnded records. What runs later
is then warm, and its latency is that of a running pipeline, not of one that starts. One in each partition,
because at its start the source waits a while on every partition that has nothing to read.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.local.demo.board import Event, RecordSeen
from deploy.local.demo.topics import DemoTopics
from deploy.local.processes import ChildProcess
from deploy.local.server import LocalServer

WARM_UP_SECONDS = 0.5
WARM_UP_RATE_HERTZ = 16_000


class PipelineProcess(LocalServer):
    """`medstream run` in `directory`; ready when the sessions `warm_up_ids` have ended."""

    name = "pipeline"
    ready_timeout_seconds = 180.0
    stop_grace_seconds = 5.0

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        warm_up_ids: Iterable[str],
        detached: bool = False,
    ) -> None:
        super().__init__(directory, detached=detached)
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._awaited = set(warm_up_ids)
        self._warm = threading.Event()

    @property
    def log_path(self) -> Path:
        return self.directory / "pipeline.log"

    def observe(self, event: Event) -> None:
        """Give it what the watcher sees, from any thread; it looks for the ends of its warm-up sessions."""
        match event:
            case RecordSeen(schema_name="session_ended"):
                self._awaited.discard(event.record["session_id"])
                if not self._awaited:
                    self._warm.set()

    def _launch(self) -> ChildProcess:
        return ChildProcess(
            self.name,
            [Path(sys.executable).with_name("medstream"), "run", *self._arguments],
            log_path=self.log_path,
            environment=self._environment,
            detached=self._detached,
        )

    def _is_ready(self) -> bool:
        return self._warm.is_set()


def run_arguments(
    bootstrap_servers: str, topics: DemoTopics, endpoint_url: str, region: str, beam_options: Sequence[str]
) -> list[str]:
    """Options of `medstream run` for these topics; the run's own consumer group is named after them."""
    options = {
        "--bootstrap-servers": bootstrap_servers,
        "--input-topic": topics.audio,
        "--output-topic": topics.finals,
        "--partials-topic": topics.partials,
        "--sessions-topic": topics.sessions,
        "--dead-letter-topic": topics.dead_letters,
        "--group-id": topics.audio,
        "--endpoint-url": endpoint_url,
        "--region": region,
    }
    return [part for option in options.items() for part in option] + list(beam_options)


def warm_up_record(session_id: str, captured_at_us: int) -> dict[str, Any]:
    """One AudioChunk of silence that begins and ends a session."""
    return {
        "session_id": session_id,
        "sequence": 0,
        "payload": bytes(round(WARM_UP_SECONDS * WARM_UP_RATE_HERTZ) * 2),
        "encoding": "PCM",
        "sample_rate_hertz": WARM_UP_RATE_HERTZ,
        "captured_at": captured_at_us,
        "media_offset_ms": 0,
        "end_of_session": True,
        "settings": {"specialty": "PRIMARYCARE", "type": "DICTATION"},
    }
