"""The metrics of this process as Prometheus has them: what is counted when it happens.

The table `metrics` says what there is; values come in Beam's units and leave in seconds. Whatever a label
does not have among its values is counted as "other", so that no text of anybody's ever becomes a label. What
stands now (gauges) is looked up when somebody asks: `scraped_metrics`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from connectors.kafka.observers import add_observer
from pipeline.observability.metrics import METRICS, OTHER, Kind, Label, Metric

SCRAPED_COUNTERS = frozenset({"audio_sent_bytes", "audio_sent_seconds"})
"""Summed up elsewhere, for they grow with every chunk; `scraped_metrics` shows them."""

_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

# A series more for each counter, which Prometheus has no use for in this format.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

Record = Callable[[float], None]


def count(name: str, value: float = 1, *labels: str) -> None:
    """Let a counter of the namespace `medstream` grow; from any thread."""
    record(name, value, labels)


def record(name: str, value: float, labels: tuple[str, ...] = ()) -> None:
    """One value of the counter or distribution `name` (`Metric.full_name`); from any thread."""
    child = _children.get((name, labels))
    (child or _child(name, labels))(value)


def exposition() -> str:
    """Everything as Prometheus reads it."""
    return generate_latest(REGISTRY).decode()


def _family(metric: Metric) -> Counter | Histogram:
    names = [label.name for label in metric.labels]
    help_text = f"{metric.meaning[0].upper()}{metric.meaning[1:]}."
    if metric.kind is Kind.COUNTER:
        return Counter(metric.series, help_text, names, registry=REGISTRY)
    return Histogram(metric.series, help_text, names, registry=REGISTRY, buckets=_BUCKETS_SECONDS)


_RECORDED = {
    metric.full_name: metric
    for metric in METRICS
    if metric.kind is not Kind.GAUGE and metric.full_name not in SCRAPED_COUNTERS
}
_families = {name: _family(metric) for name, metric in _RECORDED.items()}
_children: dict[tuple[str, tuple[str, ...]], Record] = {}


def _child(name: str, labels: tuple[str, ...]) -> Record:
    """What takes the metric's values; kept, for finding it costs more than counting."""
    metric, family = _RECORDED[name], _families[name]
    if len(labels) != len(metric.labels):
        labels = (OTHER,) * len(metric.labels)
    known = tuple(map(_known, metric.labels, labels))
    child = family.labels(*known) if known else family
    add: Record = child.inc if isinstance(child, Counter) else child.observe
    if metric.in_milliseconds:
        found: Record = lambda milliseconds: add(milliseconds / 1000)  # noqa: E731
    else:
        found = add
    if known == labels:  # else there might be any number of them
        _children[name, labels] = found
    return found


def _known(label: Label, value: str) -> str:
    return value if label.values is None or value in label.values else OTHER


def _begin() -> None:
    """Begin every series at 0, so that the first event is seen as a growth."""
    for name, metric in _RECORDED.items():
        closed = [label.values for label in metric.labels if label.values is not None]
        if len(closed) == len(metric.labels):
            for labels in itertools.product(*closed):
                _child(name, labels)


_begin()
add_observer(record)
