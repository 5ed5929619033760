"""The figures of the real-time scenarios as a picture: delay and CPU per chunk, by the number of sessions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from tests.benchmarks.pipelines.scenarios import RealTime
from tests.benchmarks.pipelines.systems import SYSTEMS

mpl.use("Agg")

from matplotlib import pyplot as plt

COLOURS = dict(zip(SYSTEMS, ("#777777", "#1f77b4", "#d95f02"), strict=True))
NAMES = {"bare": "bare loop", "embedded": "medstream, embedded Flink", "cluster": "medstream, cluster"}


def draw(rows: Sequence[RealTime], path: Path) -> None:
    """Write a PNG."""
    figure, (delays, cpu) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    counts = sorted({row.sessions for row in rows})
    for place, system in enumerate(SYSTEMS):
        groups = [[row for row in rows if (row.system, row.sessions) == (system, n)] for n in counts]
        found = [(n, group) for n, group in zip(counts, groups, strict=True) if group]
        if not found:
            continue
        xs, style = [n for n, _ in found], {"color": COLOURS[system], "marker": "o"}
        for share, line in (("p50", "-"), ("p99", ":")):
            ys = [statistics.median(getattr(row, f"delay_{share}_ms") for row in group) for _, group in found]
            delays.plot(xs, ys, line, label=f"{NAMES[system]}, {share}", **style)
        at = [counts.index(n) + (place - 1) * 0.27 for n in xs]
        python = [statistics.median(row.python_us_per_chunk for row in group) for _, group in found]
        whole = [statistics.median(row.all_us_per_chunk for row in group) for _, group in found]
        cpu.bar(at, whole, 0.25, color=COLOURS[system], alpha=0.35)
        cpu.bar(at, python, 0.25, color=COLOURS[system], label=NAMES[system])
    delays.set(xlabel="sessions", ylabel="ms from the service to the consumer", yscale="log")
    delays.legend(fontsize="x-small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    cpu.set(xlabel="sessions", ylabel="µs of CPU per chunk (pale: the JVM)")
    cpu.set_xticks(range(len(counts)), [str(n) for n in counts])
    cpu.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
