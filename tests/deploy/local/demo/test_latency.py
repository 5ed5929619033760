"""Latency from the endpoint's event log to a consumer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.demo.latency import LatencySummary, added_latencies, summarise


def test_only_finals_known_to_both_sides_count() -> None:
    latencies = added_latencies({"a": 10.0, "b": 11.0}, {"a": 10.25, "c": 12.0})
    assert latencies == {"a": 0.25}


def test_percentiles_are_measured_values() -> None:
    assert summarise([0.3, 0.1, 0.2]) == LatencySummary(3, 0.2, 0.3, 0.3)
    hundred = [n / 100 for n in range(1, 101)]
    assert summarise(hundred) == LatencySummary(100, 0.5, 0.99, 1.0)
    assert summarise([]) is None


@given(st.lists(st.floats(min_value=0, max_value=60), min_size=1))
def test_percentiles_are_ordered(values: list[float]) -> None:
    summary = summarise(values)
    assert summary is not None
    assert summary.p50_seconds <= summary.p99_seconds <= summary.max_seconds == max(values)
    below = sum(value <= summary.p50_seconds for value in values)
    assert below >= len(values) / 2
    assert summary.max_seconds == pytest.approx(max(values))
