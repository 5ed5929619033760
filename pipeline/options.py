"""Beam's own options for a medstream job: sane defaults, checked flags, the rest passed through.

Defaults rest on measurements: without a state cache each read of the cursor is a round trip to the runner;
Flink shuts a source down and never completes a checkpoint unless `--checkpointing_interval` is given as a
pipeline option. With it Beam keeps Flink's sources alive for ever, so a job that is to end must say so. Each
stage waits for its bundle's time before it hands anything on, so that is short; under load bundles hold more.
"""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.checks.exposure import KEPT_OFF, refuse_exposure
from pipeline.checks.near_misses import refuse_near_misses

_DEFAULTS = {
    "--max_cache_memory_usage_mb": "100",
    "--job_name": "medstream",
}
# Beam runs `pip freeze` at each submission and warns where there is no pip, as in an environment made by uv.
_QUIET_SUBMISSION = "--experiments=disable_logging_submission_environment"
_FLINK_DEFAULTS = {
    "--checkpointing_interval": "10000",
    "--max_bundle_time_mills": "20",
    "--max_bundle_size": "1000",
}
_FLINK_ENDING = {"--shutdown_sources_after_idle_ms": "1000"}
_FLINK_FLAGS = ("--finish_bundle_before_checkpointing",)


def beam_options(
    flags: Sequence[str], own_options: Sequence[str] = (), *, ends: bool = False
) -> PipelineOptions:
    """The job's PipelineOptions from the flags that are not medstream's own; raises SettingsError.

    `own_options`: medstream's option names; a flag that looks like one of them is a typing error and not
    passed on. So is a word that is no flag: values are written `--name=value`. Flags that show elements to
    others are refused. `ends`: the job's source ends, and the job with it.
    """
    refuse_near_misses(flags, own_options)
    refuse_exposure(flags)
    given = {flag.split("=", 1)[0] for flag in flags}
    defaults = dict(_DEFAULTS)
    extra: list[str] = ["--streaming", _QUIET_SUBMISSION, KEPT_OFF]
    if _runs_on_flink(flags):
        defaults |= _FLINK_DEFAULTS | (_FLINK_ENDING if ends else {})
        extra += [flag for flag in _FLINK_FLAGS if flag not in given]
    added = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    return PipelineOptions([*flags, *added, *extra], save_main_session=False)


def _runs_on_flink(flags: Sequence[str]) -> bool:
    return any(flag in ("--runner=PortableRunner", "--runner=FlinkRunner") for flag in flags)
