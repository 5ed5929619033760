"""All settings of a job as one plain value: what `medstream run` parses, and what travels to the workers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from connectors.kafka.client import ClientConfig
from connectors.kafka.configuration.properties import is_secret
from connectors.kafka.reading.drain_requests import DrainTopic
from pipeline.audio.raw_chunks import AVRO
from pipeline.elements import SessionSettings
from pipeline.engine.limits import SessionLimits
from pipeline.observability.json_logs import TEXT
from pipeline.observability.metrics_settings import MetricsSettings
from pipeline.output.masking import PHI
from pipeline.worker.service import ServiceSettings
from pipeline.worker.stream_slots import MAX_LIVE_STREAMS, MAX_OPENS_PER_SECOND
from schemas.serdes import SerdeSettings

AT_LEAST_ONCE, EXACTLY_ONCE = "at-least-once", "exactly-once"
DELIVERIES = (AT_LEAST_ONCE, EXACTLY_ONCE)


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names; None: that output is not published."""

    audio: str
    finals: str
    dead_letters: str
    partials: str | None = None
    sessions: str | None = None
    progress: str = ""
    """Compacted, partitioned as `finals`; FINALS.progress when not given."""
    masked: str | None = None
    """Finals once more, without what the service identified as protected health information."""

    def __post_init__(self) -> None:
        if not self.progress:
            object.__setattr__(self, "progress", f"{self.finals}.progress")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """See the module. `job_id` tells live sessions of two jobs in one worker process apart.

    `start` and `stop_at`: where partitions without a checkpoint begin, and where reading ends
    (`connectors.kafka.reading.positions`); None: never. `discovery_interval_seconds`: how often new
    partitions are looked for; None: not. `read_interval_ms`: a busy partition's bundles are as far apart.
    `on_lost_offsets`: "fail" or "skip" where retention removed records
    before they were read. `max_live_streams` and `max_stream_opens_per_second` hold for each worker process
    (`stream_slots`).
    `sink_id` names the job's transactions; the topic of finals when not given. `finals_partitions` and
    `audio_topic_id` (Kafka's own id of the input topic) are found out before the job is submitted, and so is
    `drain`: where the job hears that it should drain.
    `chunk_format`: "avro" or "raw", what the input topic holds.
    """

    kafka: ClientConfig
    topics: Topics
    service: ServiceSettings
    serdes: SerdeSettings = field(default_factory=SerdeSettings)
    session_defaults: SessionSettings = field(default_factory=SessionSettings)
    limits: SessionLimits = field(default_factory=SessionLimits)
    catch_up_rate: float = 2.0
    max_live_streams: int = MAX_LIVE_STREAMS
    max_stream_opens_per_second: float = MAX_OPENS_PER_SECOND
    start: str = "committed"
    stop_at: str | None = None
    discovery_interval_seconds: float | None = 10.0
    read_interval_ms: int = 100
    on_lost_offsets: str = "fail"
    group_id: str = "medstream"
    delivery: str = AT_LEAST_ONCE
    sink_id: str = ""
    progress_retention_seconds: float = 86_400.0
    finals_partitions: int = 1
    audio_topic_id: str = ""
    drain: DrainTopic | None = None
    chunk_format: str = AVRO
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log_format: str = TEXT
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def required_settings(self) -> dict[str, str]:
        """What every session asks of the service, whatever its chunks or its cursor say."""
        return {} if self.topics.masked is None else {"content_identification_type": PHI}

    def __post_init__(self) -> None:
        if not self.sink_id:
            object.__setattr__(self, "sink_id", self.topics.finals)


def travelling_secrets(kafka: ClientConfig, serdes: SerdeSettings) -> list[str]:
    """The options whose secrets are within the job's graph, for whoever can see that."""
    registry = serdes.registry
    found = {
        "--kafka-property": any(is_secret(name, value) for name, value in kafka.properties),
        "--ship-command-config": kafka.shipped is not None,
        "the schema registry": registry is not None and bool(registry.secrets),
    }
    return [option for option, holds in found.items() if holds]
