"""What Beam's worker measures and reports of a bundle, without what costs more than it tells.

Figures that are zero. For each step of the graph a bundle reports times, counts and sizes, over a hundred
figures, each as a message with its whole name: a third of what a small bundle costs in the worker, and to be
read again by the runner. They are what the bundle adds, and most add nothing. Those are neither made nor
reported; sums and distributions are the same without them. How far a bundle has read is a place, not a sum,
and stays.

The times of steps. For each bundle a thread is started that wakes up now and then and notes which step the
bundle is in; the bundle's end waits until it has woken up once more, and its naps grow with the bundle's age:
10 ms after 45. Nothing is sampled, so steps have no times, and finals of 100 sessions come some 10 ms sooner.

Beam has no setting for either, so its methods are replaced; nothing is done where a later Beam has none.
Source: Beam 2.77, apache_beam/metrics/monitoring_infos.py, and of apache_beam/runners/worker
`BundleProcessor.monitoring_infos` and `reset` in bundle_processor.py, `StateSampler` in statesampler.py and
statesampler_fast.pyx.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from apache_beam.metrics import monitoring_infos as infos
from apache_beam.metrics.monitoring_infos import (
    DATA_CHANNEL_READ_INDEX,
    DISTRIBUTION_INT64_TYPE,
    SUM_INT64_TYPE,
)
from apache_beam.portability.api import metrics_pb2
from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.bundle_processor import BundleProcessor

_ZERO = b"\x00"
_METHOD = "monitoring_infos"
# What takes the place of every figure that adds nothing; it is left out of the report like any other.
_NOTHING = metrics_pb2.MonitoringInfo(type=SUM_INT64_TYPE, payload=_ZERO)
# Beam's makers of figures, and which of their arguments is the value.
_MAKERS = {
    "int64_counter": 1,
    "int64_distribution": 1,
    "int64_user_counter": 2,
    "int64_user_distribution": 2,
}


def report_no_zeros() -> bool:
    """Let bundles report only what they add something to; False if Beam cannot be told to."""
    method: Callable[[Any], list[Any]] | None = getattr(BundleProcessor, _METHOD, None)
    if method is None:
        return False
    if not hasattr(method, "__wrapped__"):
        setattr(BundleProcessor, _METHOD, _without_zeros(method))
        for name, place in _MAKERS.items():
            if hasattr(infos, name):
                setattr(infos, name, _maker_without_zeros(getattr(infos, name), place))
        if hasattr(infos, "to_key"):
            setattr(infos, "to_key", _key_with_nothing(infos.to_key))  # noqa: B010 - typed, and not writable
    return True


def _without_zeros(method: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    @wraps(method)
    def monitoring_infos(processor: Any) -> list[Any]:
        return [info for info in method(processor) if not adds_nothing(info)]

    return monitoring_infos


def _maker_without_zeros(make: Callable[..., Any], place: int) -> Callable[..., Any]:
    """`make`, which makes nothing of a count of 0 or a distribution of no values."""

    @wraps(make)
    def make_unless_zero(*values: Any, **labels: Any) -> Any:
        value = values[place] if place < len(values) else None
        if getattr(value, "count", value) == 0 and values[0] != DATA_CHANNEL_READ_INDEX:
            return _NOTHING
        return make(*values, **labels)

    return make_unless_zero


def _key_with_nothing(to_key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`to_key`, which does not read what has no name."""
    key_of_nothing = to_key(_NOTHING)

    @wraps(to_key)
    def to_key_of(info: Any) -> Any:
        return key_of_nothing if info is _NOTHING else to_key(info)

    return to_key_of


def adds_nothing(info: Any) -> bool:
    """Whether this `MonitoringInfo` is a sum of 0, or a distribution of no values (its count comes first)."""
    if info.type == SUM_INT64_TYPE:
        return bool(info.payload == _ZERO) and info.urn != DATA_CHANNEL_READ_INDEX
    return bool(info.type == DISTRIBUTION_INT64_TYPE and info.payload[:1] == _ZERO)


def sample_no_times() -> bool:
    """Let bundles begin and end without a thread that samples them; False if Beam cannot be told to."""
    sampler = getattr(statesampler, "StateSampler", None)
    if sampler is None or not {"start", "stop", "stop_if_still_running"} <= vars(sampler).keys():
        return False
    sampler.start, sampler.stop = _begin, _end
    return True


def _begin(sampler: Any) -> None:
    """`StateSampler.start` but for the thread: metrics are counted for the step that the tracker is in."""
    sampler.tracked_thread = threading.current_thread()
    statesampler.set_current_tracker(sampler)
    sampler.started = True


def _end(sampler: Any) -> None:
    statesampler.set_current_tracker(None)
    sampler.finished = True
