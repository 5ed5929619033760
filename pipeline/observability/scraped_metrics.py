"""What stands now in this process, looked up when Prometheus asks: sessions, slots, lags, last checkpoint.

Nothing is recorded for it while audio flows. Fields of sessions are read without their locks: a value may be
a moment old, which a gauge is anyway.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from connectors.kafka.reading.offsets import checkpoint_age_seconds
from connectors.kafka.reading.shared_consumer import partition_lags
from pipeline.observability.metrics import METRICS, NAMESPACE, STATE, Kind
from pipeline.worker.live_stream import SENT
from pipeline.worker.live_streams import Runtime, runtime

BUILD_INFO = f"{NAMESPACE}_build_info"

_TABLE = {metric.full_name: metric for metric in METRICS}
Samples = Iterable[tuple[tuple[str, ...], float]]


class WorkerCollector(Collector):
    """Reads the sessions of this process's runtime, and whatever else it has. `now_ms`: Unix time."""

    def __init__(
        self,
        find_runtime: Callable[[], Runtime] = runtime,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._runtime = find_runtime
        self._now_ms = now_ms

    def collect(self) -> Iterator[Family]:
        yield _build_info()
        yield from self._sessions()
        yield from self._slots()
        yield from _kafka()
        yield _family("audio_sent_bytes", [((), SENT.bytes)])
        yield _family("audio_sent_seconds", [((), SENT.seconds)])

    def _sessions(self) -> Iterator[Family]:
        lives, now_ms = self._runtime().sessions(), self._now_ms()
        states = Counter(live.session.state.value for live in lives)
        yield _family("sessions", [((state,), states[state]) for state in STATE.values or ()])
        lag_seconds = max((live.lag_seconds(now_ms) for live in lives), default=0.0)
        unfinal_seconds = max((live.session.unfinal_seconds for live in lives), default=0.0)
        yield _family("audio_lag_seconds", [((), lag_seconds)])
        yield _family("unfinal_audio_seconds", [((), unfinal_seconds)])

    def _slots(self) -> Iterator[Family]:
        levels = self._runtime().slot_levels()
        yield _family("live_streams", [((), sum(level.live for level in levels))])
        yield _family("sessions_waiting", [((), sum(level.waiting for level in levels))])
        yield _family("stream_ceiling", [((), sum(level.ceiling for level in levels))])
        yield _family("stream_slots", [((), sum(level.slots for level in levels))])
        longest = max((level.longest_wait_seconds for level in levels), default=0.0)
        yield _family("slot_queue_seconds", [((), longest)])


def _kafka() -> Iterator[Family]:
    lags = sorted(partition_lags().items())
    yield _family("kafka_source.lag_records", [((topic, str(number)), lag) for (topic, number), lag in lags])
    age = checkpoint_age_seconds()
    yield _family("checkpoint_age_seconds", [] if age is None else [((), age)])


def _family(name: str, samples: Samples) -> Family:
    metric = _TABLE[name]
    labels = [label.name for label in metric.labels]
    help_text = f"{metric.meaning[0].upper()}{metric.meaning[1:]}."
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(metric.series, help_text, labels=labels)
    else:
        family = GaugeMetricFamily(metric.series, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(list(values), value)
    return family


def _build_info() -> Family:
    family = GaugeMetricFamily(BUILD_INFO, "Version of medstream, in the label.", labels=["version"])
    family.add_metric([version("medstream")], 1)
    return family
