"""All settings of a job as one plain value: what `medstream run` parses, and what travels to the workers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from connectors.kafka.client import ClientConfig
from pipeline.elements import SessionSettings
from pipeline.limits import SessionLimits
from pipeline.service import ServiceSettings
from pipeline.stream_slots import MAX_LIVE_STREAMS, MAX_OPENS_PER_SECOND
from schemas.serdes import SerdeSettings


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names; None: that output is not published."""

    audio: str
    finals: str
    dead_letters: str
    partials: str | None = None
    sessions: str | None = None


@dataclass(frozen=True, slots=True)
class JobSettings:
    """See the module. `job_id` tells live sessions of two jobs in one worker process apart.

    `start`: where partitions without a checkpoint begin, "earliest", "latest" or "committed" (offsets of
    `group_id`). `on_lost_offsets`: "fail" or "skip" where retention removed records before they were read.
    `max_live_streams` and `max_stream_opens_per_second` hold for each worker process (`stream_slots`).
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
    on_lost_offsets: str = "fail"
    group_id: str = "medstream"
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
