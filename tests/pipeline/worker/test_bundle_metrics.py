"""Beam's metrics are the same without the zeros that its bundles would report, and without times of steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.metrics import monitoring_infos as infos
from apache_beam.metrics.cells import DistributionData
from apache_beam.metrics.monitoring_infos import DATA_CHANNEL_READ_INDEX, create_monitoring_info, int64_gauge
from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.bundle_processor import BundleProcessor
from apache_beam.utils.counters import CounterFactory

import pipeline.transforms  # noqa: F401 - a worker imports it, and from then on zeros are left out
from pipeline.worker.bundle_metrics import adds_nothing, report_no_zeros, sample_no_times

SUM = infos.SUM_INT64_TYPE
DISTRIBUTION = infos.DISTRIBUTION_INT64_TYPE


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
        (create_monitoring_info("urn", SUM, b"\x00", {"PTRANSFORM": "t"}), True),
        (create_monitoring_info("urn", SUM, b"\x01", {"PTRANSFORM": "t"}), False),
        (create_monitoring_info("urn", SUM, b"\x80\x02", {"PTRANSFORM": "t"}), False),
        (create_monitoring_info("urn", DISTRIBUTION, b"\x00\x00\x00\x00"), True),
        (create_monitoring_info("urn", DISTRIBUTION, b"\x01\x00\x00\x00"), False),
        (int64_gauge("urn", 0, ptransform="t"), False),
        (create_monitoring_info(DATA_CHANNEL_READ_INDEX, SUM, b"\x00"), False),
    ],
)
def test_what_adds_nothing(info: Any, expected: bool) -> None:
    assert adds_nothing(info) is expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (infos.int64_counter("urn", 0, pcollection="p"), None),
        (infos.int64_counter("urn", 300, pcollection="p"), (SUM, b"\xac\x02", {"PCOLLECTION": "p"})),
        (infos.int64_counter("urn", metric=7, ptransform="t"), (SUM, b"\x07", {"PTRANSFORM": "t"})),
        (infos.int64_counter(DATA_CHANNEL_READ_INDEX, 0, ptransform="t"), (SUM, b"\0", {"PTRANSFORM": "t"})),
        (infos.int64_user_counter("ns", "n", 0, ptransform="t"), None),
        (
            infos.int64_user_counter("ns", "n", 1, ptransform="t"),
            (SUM, b"\x01", {"NAMESPACE": "ns", "NAME": "n", "PTRANSFORM": "t"}),
        ),
        (infos.int64_distribution("urn", DistributionData(0, 0, 0, 0), pcollection="p"), None),
        (
            infos.int64_distribution("urn", DistributionData(0, 1, 0, 0), pcollection="p"),
            (DISTRIBUTION, b"\x01\x00\x00\x00", {"PCOLLECTION": "p"}),
        ),
        (infos.int64_user_distribution("ns", "n", DistributionData(0, 0, 0, 0)), None),
    ],
)
def test_what_adds_nothing_is_not_made(made: Any, expected: tuple[str, bytes, dict[str, str]] | None) -> None:
    if expected is None:
        assert adds_nothing(made)
        assert not made.labels
    else:
        assert (made.type, made.payload, dict(made.labels)) == expected


def test_figures_are_told_apart_by_their_names() -> None:
    figures = [infos.int64_counter("urn", 1, ptransform=step) for step in ("one", "other")]
    nothing = [infos.int64_counter("urn", 0, ptransform=step) for step in ("one", "other")]
    assert infos.to_key(figures[0]) == frozenset({"urn", ("PTRANSFORM", "one")})
    assert len({infos.to_key(info) for info in [*figures, *nothing]}) == 3


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
    method, maker = BundleProcessor.monitoring_infos, infos.int64_counter
    assert report_no_zeros()
    assert (BundleProcessor.monitoring_infos, infos.int64_counter) == (method, maker)


def test_a_beam_without_that_method_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BundleProcessor, "monitoring_infos")
    assert not report_no_zeros()
