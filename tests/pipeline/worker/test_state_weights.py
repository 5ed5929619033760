"""Beam's state cache weighs our cells as before and in less time, and everything else by itself."""

from __future__ import annotations

import pytest
from apache_beam.runners.worker import statecache

import pipeline.transforms  # noqa: F401 - a worker imports it, and from then on the weights are plain
from pipeline.worker.state_weights import _Weigher, weigh_plain_values_plainly


@pytest.mark.parametrize("value", [[], [b""], [bytes(500)], [3], ["text", 1.5, b"x"]])
def test_plain_cells_weigh_what_beam_measures(value: list[object]) -> None:
    weigher = statecache.get_deep_size
    assert isinstance(weigher, _Weigher)
    assert abs(weigher(value) - weigher._measure(value)) <= 64, "shared small values count nothing there"


def test_other_values_are_measured_by_beam() -> None:
    nested = [[bytes(10_000)]]
    assert statecache.get_deep_size(nested) > 10_000
    assert statecache.get_deep_size({"a": bytes(10_000)}) > 10_000


def test_beam_s_cache_uses_it() -> None:
    cache = statecache.StateCache(10_000)
    for number in range(50):
        cache.put(number, [bytes(1_000)])
    assert 5 <= cache.size() <= 9, "the oldest made room"


def test_it_is_done_once() -> None:
    weigher = statecache.get_deep_size
    assert weigh_plain_values_plainly()
    assert statecache.get_deep_size is weigher


def test_a_beam_without_that_function_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(statecache, "get_deep_size")
    assert not weigh_plain_values_plainly()
