"""What a test run does, decided before anything is started: topics, the job's settings, which servers.

The job is the one that `medstream run` would start with the same options, but for what a run has for itself:
topics and group, start and end, no partials, and the servers that it brings.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from connectors.kafka.reading.positions import EARLIEST, END
from deploy.local.transcribe.process import REGION
from pipeline.audio.playback import UNPACED, parse_speed
from pipeline.cli.beam_flags import beam_flag
from pipeline.cli.job_options import job_settings
from pipeline.errors import SettingsError
from pipeline.settings import JobSettings
from schemas.loopback import is_loopback

if TYPE_CHECKING:
    from deploy.local.testing.recorded import Recorded

TAKEN: tuple[str, ...] = (
    *("input_topic", "output_topic", "sessions_topic", "dead_letter_topic", "partials_topic"),
    *("progress_topic", "sink_id", "group_id", "start_from", "stop_at", "catch_up_rate", "log_level"),
)
"""Options of `medstream run` that a test run decides by itself."""
MAX_LOCAL_STREAMS = 8
"""Streams at once of an endpoint that the run brings: recognisers want processor time, and all share it."""
_QUIET_SECONDS = 10.0
"""All audio is there from the start, so a session without an end mark is over when nothing is left of it."""
_BASE_SECONDS = 180.0
_MARGIN = 3.0


@dataclass(frozen=True, slots=True)
class RunTopics:
    """Topics that only this run uses, and the group that reads them."""

    prefix: str

    @classmethod
    def new(cls) -> RunTopics:
        return cls(f"medstream-test-{secrets.token_hex(4)}")

    @property
    def audio(self) -> str:
        return f"{self.prefix}.audio"

    @property
    def finals(self) -> str:
        return f"{self.prefix}.finals"

    @property
    def sessions(self) -> str:
        return f"{self.prefix}.sessions"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    @property
    def progress(self) -> str:
        """The job creates it itself, compacted."""
        return f"{self.prefix}.progress"

    def to_create(self, audio_partitions: int) -> dict[str, int]:
        """Number of partitions by topic."""
        return {self.audio: audio_partitions, self.finals: 1, self.sessions: 1, self.dead_letters: 1}

    @property
    def every(self) -> tuple[str, ...]:
        return self.audio, self.finals, self.sessions, self.dead_letters, self.progress


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What somebody said of a run. `job`: the options of `medstream run`, by click's names; `overridden`: the
    ones that were set. `aws`: Amazon Transcribe itself. The others are the options of their names.
    """

    job: Mapping[str, Any]
    overridden: frozenset[str]
    beam_flags: Sequence[str]
    recogniser: str
    endpoint_options: Sequence[str]
    aws: bool
    speed: str | None
    force: bool
    timeout_seconds: float | None
    keep_topics: bool


@dataclass(frozen=True, slots=True)
class Servers:
    """Which servers the run brings; the others are given."""

    kafka: bool
    flink: bool
    endpoint: bool


def servers_to_bring(options: RunOptions) -> Servers:
    """Those that no option names. Raises SettingsError."""
    endpoint_url = options.job["endpoint_url"]
    if options.aws and endpoint_url is not None:
        raise SettingsError("--aws", "and --endpoint-url exclude each other")
    own_endpoint = not options.aws and endpoint_url is None
    if options.endpoint_options and not own_endpoint:
        raise SettingsError("--endpoint-option", "is for an endpoint that the run brings, and one is given")
    flags = options.beam_flags
    return Servers(
        kafka=options.job["bootstrap_servers"] is None,
        flink=beam_flag(flags, "runner") is None and beam_flag(flags, "job_endpoint") is None,
        endpoint=own_endpoint,
    )


def run_settings(
    options: RunOptions,
    topics: RunTopics,
    wanted: Servers,
    *,
    bootstrap_servers: str,
    endpoint_url: str | None,
) -> JobSettings:
    """The job's settings. Raises what `job_settings` raises, and SettingsError for a forbidden speed."""
    chosen: dict[str, Any] = {
        **options.job,
        "bootstrap_servers": bootstrap_servers,
        "input_topic": topics.audio,
        "output_topic": topics.finals,
        "sessions_topic": topics.sessions,
        "dead_letter_topic": topics.dead_letters,
        "progress_topic": topics.progress,
        "partials_topic": None,
        "sink_id": topics.prefix,
        "group_id": topics.prefix,
        "start_from": EARLIEST,
        "stop_at": END,
    }
    if wanted.kafka:
        chosen |= {"command_config": None, "kafka_property": None, "ship_command_config": False}
    if wanted.endpoint:
        chosen |= {"endpoint_url": endpoint_url, "region": REGION, "profile": None, "ca_file": None}
        chosen |= {"use_fips_endpoint": False, "use_dualstack_endpoint": False}
        if "max_live_streams" not in options.overridden:
            chosen["max_live_streams"] = MAX_LOCAL_STREAMS
    if "session_timeout_seconds" not in options.overridden:
        chosen["session_timeout_seconds"] = _QUIET_SECONDS
    settings = job_settings(chosen)
    local = is_loopback(settings.service.endpoint().host)
    speed = speed_of(options.speed, local_endpoint=local, force=options.force)
    return replace(settings, catch_up_rate=speed)


def speed_of(text: str | None, *, local_endpoint: bool, force: bool) -> float:
    """How fast audio goes to the endpoint, times real time. Raises SettingsError.

    Without `text`: as fast as it takes it, where it is on this machine; in real time elsewhere.
    """
    if text is None:
        return UNPACED if local_endpoint else 1.0
    try:
        speed = parse_speed(text)
    except ValueError:
        raise SettingsError("--speed", f"{text!r} is neither a number from 0 on nor max") from None
    if not (local_endpoint or force or 0 < speed <= 1):
        raise SettingsError(
            "--speed",
            f"{text} is faster than real time, and the endpoint is not on this machine: Amazon Transcribe "
            "takes audio in about real time only. Leave the option out, or add --force where no real service "
            "listens",
        )
    return speed


def timeout_seconds(recorded: Recorded, settings: JobSettings) -> float:
    """How long a run may take: three minutes, and three times the audio that goes out one after the other."""
    rounds = ceil(len(recorded.sessions) / settings.max_live_streams)
    speed = settings.catch_up_rate or 1.0
    return _BASE_SECONDS + _MARGIN * rounds * recorded.longest_seconds / speed
