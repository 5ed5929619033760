"""What a worker process has to do before its first element; as often as Beam sets a DoFn up."""

from __future__ import annotations

from pipeline.observability import json_logs
from pipeline.observability.metrics_endpoint import show_metrics
from pipeline.settings import JobSettings
from pipeline.worker.heap_policy import calm_collector, keep_tidying


def set_up_worker(settings: JobSettings) -> None:
    """Logs in the format that is wanted, metrics where they are to be, memory as `heap_policy` has it."""
    if json_logs.wanted(settings.log_format):
        json_logs.apply()
    show_metrics(settings.metrics)
    calm_collector()
    keep_tidying()
