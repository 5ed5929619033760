"""Beam's metrics are the same without the zeros that its bundles would report, and without times of steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.metrics.cells import DistributionData
from apache_beam.metrics.monitoring_infos import (
    DATA_CHANNEL_READ_INDEX,
    int64_counter,
    int64_distribution,
    int64_gauge,
)
from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.bundle_processor import BundleProcessor
from apache_beam.utils.counters import CounterFactory

import pipeline.transforms  # noqa: F401 - a worker imports it, and from then on zeros are left out
from pipeline.bundle_metrics import adds_nothing, report_no_zeros, sample_no_times


class Counting(beam.DoFn):
    """Counts what it sees, and what it never sees."""

    def process(self, element: int) -> Iterator[int]:
        Metrics.counter("test", "seen").inc()
        Metrics.counter("test", "unseen").inc(0)
        Metrics.distribution("test", "value").update(element)
        yield element


def test_metrics_of_a_job_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened = BundleProcessor.monitoring_infos
    reported: list[Any] = []

    def noting(processor: Any) -> list[Any]:
        infos: list[Any] = shortened(processor)
        reported.extend(infos)
        return infos

    monkeypatch.setattr(BundleProcessor, "monitoring_infos", noting)
    job = beam.Pipeline()
    _ = job | beam.Create([0, 3, 5]) | beam.Reshuffle() | beam.ParDo(Counting())
    result = job.run()
    result.wait_until_finish()
    found = result.metrics().query()
    counters = {entry.key.metric.name: entry.committed for entry in found["counters"]}
    assert counters["seen"] == 3
    assert counters.get("unseen", 0) == 0
    [value] = [entry.committed for entry in found["distributions"]]
    assert (value.sum, value.count, value.min, value.max) == (8, 3, 0, 5)
    assert reported
    assert not any(adds_nothing(info) for info in reported)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (int64_counter("beam:metric:element_count:v1", 0, pcollection="p"), True),
        (int64_counter("beam:metric:element_count:v1", 1, pcollection="p"), False),
        (int64_counter("beam:metric:element_count:v1", 256, pcollection="p"), False),
        (int64_distribution("urn", DistributionData(0, 0, 0, 0), pcollection="p"), True),
        (int64_distribution("urn", DistributionData(0, 1, 0, 0), pcollection="p"), False),
        (int64_gauge("urn", 0, ptransform="t"), False),
        (int64_counter(DATA_CHANNEL_READ_INDEX, 0, ptransform="t"), False),
    ],
)
def test_what_adds_nothing(info: Any, expected: bool) -> None:
    assert adds_nothing(info) is expected


def test_no_thread_samples_a_bundle() -> None:
    sampler = statesampler.StateSampler("stage", CounterFactory())
    before = threading.active_count()
    sampler.start()
    assert threading.active_count() == before
    assert statesampler.get_current_tracker() is sampler
    with sampler.scoped_state("step", "process"):
        assert sampler.get_info().state_name.step_name == "step"
    sampler.stop_if_still_running()
    sampler.stop_if_still_running()
    assert statesampler.get_current_tracker() is None
    sampler.reset()
    sampler.start()
    sampler.stop()


def test_a_beam_with_another_sampler_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sample_no_times()
    monkeypatch.setattr(statesampler, "StateSampler", object)
    assert not sample_no_times()


def test_it_is_done_once() -> None:
    method = BundleProcessor.monitoring_infos
    assert report_no_zeros()
    assert BundleProcessor.monitoring_infos is method


def test_a_beam_without_that_method_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BundleProcessor, "monitoring_infos")
    assert not report_no_zeros()
