"""Latency that the pipeline adds: from the endpoint's final to a consumer of the output topic.

The endpoint writes down when it sent each final (its event log); the demo notes when a consumer got that
final from Kafka. Both on one machine and one clock. The recogniser's own time, waiting for the pause that
ends a segment, lies before the first moment and is not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles over `count` finals, in seconds; a percentile is always one of the measured values."""

    count: int
    p50_seconds: float
    p99_seconds: float
    max_seconds: float


def added_latencies(emitted_at: Mapping[str, float], seen_at: Mapping[str, float]) -> dict[str, float]:
    """Seconds from emission to sight, by result id, for every final that has both (unix seconds)."""
    return {
        result_id: max(0.0, seen - emitted_at[result_id])
        for result_id, seen in seen_at.items()
        if result_id in emitted_at
    }


def summarise(latencies_seconds: Iterable[float]) -> LatencySummary | None:
    """Percentiles of the latencies, or None when there are none."""
    ordered = sorted(latencies_seconds)
    if not ordered:
        return None
    return LatencySummary(len(ordered), _percentile(ordered, 50), _percentile(ordered, 99), ordered[-1])


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank: the smallest value with at least `percent` per cent of all values at or below it."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
