"""What Beam's worker measures and reports of a bundle, without what costs more than it tells.

Figures that are zero. For each step of the graph a bundle reports times, counts and sizes, over a hundred
figures, each as a message with its whole name: a third of what a small bundle costs in the worker, and to be
read again by the runner. They are what the bundle adds, and most add nothing. Those are left out; sums and
distributions are the same without them. How far a bundle has read is a place, not a sum, and stays.

The times of steps. For each bundle a thread is started that wakes up now and then and notes which step the
bundle is in; the bundle's end waits until it has woken up once more, and its naps grow with the bundle's age:
10 ms after 45. Nothing is sampled, so steps have no times, and finals of 100 sessions come some 10 ms sooner.

Beam has no setting for either, so its methods are replaced; nothing is done where a later Beam has none.
Source: apache_beam/runners/worker of Beam 2.77, `BundleProcessor.monitoring_infos` and `reset` in
bundle_processor.py, `StateSampler` in statesampler.py and statesampler_fast.pyx.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from apache_beam.metrics.monitoring_infos import (
    DATA_CHANNEL_READ_INDEX,
    DISTRIBUTION_INT64_TYPE,
    SUM_INT64_TYPE,
)
from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.bundle_processor import BundleProcessor

_ZERO = b"\x00"
_METHOD = "monitoring_infos"


def report_no_zeros() -> bool:
    """Let bundles report only what they add something to; False if Beam cannot be told to."""
    method: Callable[[Any], list[Any]] | None = getattr(BundleProcessor, _METHOD, None)
    if method is None:
        return False
    if not hasattr(method, "__wrapped__"):
        setattr(BundleProcessor, _METHOD, _without_zeros(method))
    return True


def _without_zeros(method: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    @wraps(method)
    def monitoring_infos(processor: Any) -> list[Any]:
        return [info for info in method(processor) if not adds_nothing(info)]

    return monitoring_infos


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
