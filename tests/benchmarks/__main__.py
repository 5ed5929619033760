"""`make bench`: what one chunk and one result cost, ours and the alternative measured in turn in one run.

Each pair is timed in interleaved rounds (ours, other, ours, other, …) in CPU time, so that a change in the
machine's speed meets both; printed are the medians, their spread and the median of the ratios round by round.
Where no alternative exists only ours is shown. All data is synthetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks import cases

ROUNDS = 11
ROUND_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Measurement:
    """Microseconds of CPU time per call; `ratio` is ours / other, the median over rounds."""

    name: str
    other_name: str | None
    ours_us: float
    ours_spread_us: float
    other_us: float | None
    ratio: float | None


def measure(case: cases.Case) -> Measurement:
    """Interleaved rounds of one case."""
    calls = _calls_per_round(case.ours)
    ours, others = [], []
    for _ in range(ROUNDS):
        ours.append(_microseconds(case.ours, calls))
        if case.other is not None:
            others.append(_microseconds(case.other, calls))
    quartiles = statistics.quantiles(ours, n=4)
    ratios = [mine / other for mine, other in zip(ours, others, strict=False)]
    return Measurement(
        case.name,
        case.other_name,
        statistics.median(ours),
        quartiles[2] - quartiles[0],
        statistics.median(others) if others else None,
        statistics.median(ratios) if ratios else None,
    )


def _calls_per_round(call: Callable[[], object]) -> int:
    calls = 1
    while _microseconds(call, calls) * calls < ROUND_SECONDS * 1e6:
        calls *= 2
    return calls


def _microseconds(call: Callable[[], object], calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    as_json = parser.parse_args().json
    measurements = [measure(case) for case in cases.all_cases()]
    if as_json:
        print(json.dumps([asdict(measurement) for measurement in measurements], indent=2))
        return
    table = Table(
        "what",
        "ours µs",
        "spread µs",
        "alternative",
        "its µs",
        "ours / its",
        title="CPU time per call, medians",
    )
    for m in measurements:
        table.add_row(
            m.name,
            f"{m.ours_us:.1f}",
            f"{m.ours_spread_us:.1f}",
            m.other_name or "",
            "" if m.other_us is None else f"{m.other_us:.1f}",
            "" if m.ratio is None else f"{m.ratio:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
