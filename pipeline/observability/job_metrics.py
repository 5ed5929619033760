"""The job's metrics as Beam has them, and Prometheus with them; `metrics` says what each of them means."""

from __future__ import annotations

from functools import cache
from typing import Any

from apache_beam.metrics.metric import Metrics

from pipeline.observability import process_metrics
from pipeline.observability.metrics import NAMESPACE
from pipeline.worker.shared_slots import SlotLevels

_counter = cache(Metrics.counter)
_distribution = cache(Metrics.distribution)
_gauge = cache(Metrics.gauge)


def count(name: str, value: int = 1, label: str = "") -> None:
    """Increase a counter; to be called by Beam's thread, like the others. `label` is for Prometheus alone."""
    _counter(NAMESPACE, name).inc(value)
    process_metrics.count(name, value, *([label] if label else []))


def measure(name: str, value: int) -> None:
    """Add a value to a distribution."""
    _distribution(NAMESPACE, name).update(value)
    process_metrics.record(name, value)


def show_levels(levels: SlotLevels) -> None:
    """Set the gauges of this worker process."""
    _set("live_streams", levels.live)
    _set("sessions_waiting", levels.waiting)
    _set("stream_ceiling", levels.ceiling)


def _set(name: str, value: int) -> None:
    gauge: Any = _gauge(NAMESPACE, name)
    gauge.set(value)
