"""From the options of `medstream run` to a job's settings, piece by piece.

Each piece raises for its own options only, so that `medstream doctor` can go on with the others. `options`
are click's parameters by name (`ctx.params`), from whichever source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connectors.kafka.client import ClientConfig
from connectors.transcribe.credentials import resolve_region
from connectors.transcribe.endpoint import TRANSPORTS
from pipeline.cli.kafka_options import properties_of
from pipeline.cli.registry_options import serde_settings
from pipeline.cli.session_options import accepts_restart, check_limits
from pipeline.cli.source_options import check_chunk_format, check_discovery, check_start, check_stop
from pipeline.elements import SessionSettings
from pipeline.engine.limits import SessionLimits
from pipeline.errors import SettingsError
from pipeline.observability.metrics_settings import MetricsSettings
from pipeline.settings import DELIVERIES, JobSettings, Topics
from pipeline.worker.service import ServiceSettings
from schemas.serdes import SerdeSettings

Options = Mapping[str, Any]


def kafka_config(options: Options) -> ClientConfig:
    """Raises SettingsError, SettingError."""
    return ClientConfig.build(
        options["bootstrap_servers"],
        options["command_config"],
        properties_of(options["kafka_property"]),
        insecure=options["insecure"],
        ship=options["ship_command_config"],
    )


def job_topics(options: Options) -> Topics:
    """Topics with their default names."""
    audio = options["input_topic"]
    return Topics(
        audio=audio,
        finals=options["output_topic"],
        dead_letters=options["dead_letter_topic"] or f"{audio}.dead-letters",
        partials=options["partials_topic"],
        sessions=options["sessions_topic"],
        progress=options["progress_topic"] or "",
        masked=options["masked_topic"],
    )


def service_settings(options: Options) -> ServiceSettings:
    """Raises SettingsError, RegionNotFoundError."""
    ca_file = options["ca_file"]
    return ServiceSettings(
        region=resolve_region(options["region"], options["profile"]),
        endpoint_url=options["endpoint_url"],
        transport=_one_of("--transport", options["transport"], TRANSPORTS),
        use_fips=options["use_fips_endpoint"],
        use_dualstack=options["use_dualstack_endpoint"],
        allow_cleartext=options["insecure"],
        ca_bundle=None if ca_file is None else str(ca_file),
        profile_name=options["profile"],
        resample_to_hertz=options["resample_to"],
    )


def registry_settings(options: Options) -> SerdeSettings:
    """Raises SettingsError, RegistrySettingError."""
    return serde_settings(
        options["schema_registry_url"],
        options["schema_registry_config"],
        options["subject_name_strategy"],
        auto_register=options["auto_register_schemas"],
        insecure=options["insecure"],
    )


def session_limits(options: Options) -> SessionLimits:
    """Raises SettingsError."""
    return check_limits(
        SessionLimits(
            idle_close_seconds=options["idle_close_seconds"],
            session_timeout_seconds=options["session_timeout_seconds"],
            ended_retention_seconds=options["ended_retention_seconds"],
            outbound_seconds=options["outbound_seconds"],
            drain_timeout_seconds=options["drain_timeout_seconds"],
            reorder_wait_seconds=options["reorder_wait_seconds"],
            max_gap_seconds=options["max_gap_seconds"],
            max_segment_seconds=options["max_segment_seconds"],
            stream_limit_seconds=options["stream_limit_seconds"],
            max_retries=options["max_retries"],
            accept_sequence_restart=accepts_restart(options["on_sequence_restart"]),
        )
    )


def source_settings(options: Options) -> dict[str, Any]:
    """Fields of JobSettings. Raises SettingsError."""
    return {
        "start": check_start(options["start_from"]),
        "stop_at": check_stop(options["stop_at"]),
        "discovery_interval_seconds": check_discovery(options["discovery_interval_seconds"]),
        "read_interval_ms": options["read_interval_ms"],
        "on_lost_offsets": _one_of("--on-lost-offsets", options["on_lost_offsets"], ("fail", "skip")),
        "group_id": options["group_id"],
        "chunk_format": check_chunk_format(options["chunk_format"]),
    }


def delivery_settings(options: Options) -> dict[str, Any]:
    """Fields of JobSettings. Raises SettingsError."""
    return {
        "delivery": _one_of("--delivery", options["delivery"], DELIVERIES),
        "sink_id": options["sink_id"] or "",
        "progress_retention_seconds": 3600 * options["progress_retention_hours"],
    }


def check_masked_topic(options: Options) -> None:
    """Raise SettingsError when masked finals would go where whoever may read them finds others, too."""
    masked, audio = options["masked_topic"], options["input_topic"]
    others = {name: options[name] for name in _TOPICS}
    others["dead_letter_topic"] = others["dead_letter_topic"] or f"{audio}.dead-letters"
    others["progress_topic"] = others["progress_topic"] or f"{options['output_topic']}.progress"
    for name, topic in others.items():
        if masked is not None and masked == topic:
            option = f"--{name.replace('_', '-')}"
            raise SettingsError("--masked-topic", f"{masked!r} is the topic of {option}; give it its own")


_TOPICS = (
    "input_topic",
    "output_topic",
    "dead_letter_topic",
    "partials_topic",
    "sessions_topic",
    "progress_topic",
)


def metrics_settings(options: Options) -> MetricsSettings:
    """Raises SettingsError."""
    port, folder = options["metrics_port"], options["metrics_targets_dir"]
    if port is None and folder is not None:
        raise SettingsError("--metrics-targets-dir", "there is nothing to announce without --metrics-port")
    return MetricsSettings(
        port=port,
        address=options["metrics_address"],
        targets_directory=None if folder is None else str(folder.absolute()),
        labels={"output_topic": options["output_topic"] or ""},
    )


PIECES: dict[str, Callable[[Options], object]] = {
    "sessions": session_limits,
    "source": source_settings,
    "delivery": delivery_settings,
    "masking": check_masked_topic,
    "metrics": metrics_settings,
}
"""What needs nothing but the options themselves."""


def job_settings(options: Options) -> JobSettings:
    """All of it. Raises the pieces' errors."""
    check_masked_topic(options)
    return JobSettings(
        kafka=kafka_config(options),
        topics=job_topics(options),
        service=service_settings(options),
        serdes=registry_settings(options),
        session_defaults=SessionSettings(specialty=options["specialty"], type=options["type_"]),
        limits=session_limits(options),
        catch_up_rate=options["catch_up_rate"],
        max_live_streams=options["max_live_streams"],
        max_stream_opens_per_second=options["max_stream_opens_per_second"],
        metrics=metrics_settings(options),
        log_format=options["log_format"],
        **source_settings(options),
        **delivery_settings(options),
    )


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(option, f"{value!r} is not one of {', '.join(allowed)}")
    return value
