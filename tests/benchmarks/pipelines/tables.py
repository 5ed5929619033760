"""The figures as tables: medians over the rounds, their spread, and ratios against the bare loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from tests.benchmarks.pipelines.scenarios import RealTime
from tests.benchmarks.pipelines.speakers import CHUNK_SECONDS


def all_tables(found: Mapping[str, Sequence[Any]]) -> Iterator[Table]:
    if found["real_time"]:
        yield _real_time(found["real_time"])
    if found["catch_up"]:
        yield _catch_up(found["catch_up"])
    if found["recovery"]:
        yield _recovery(found["recovery"])


def _real_time(rows: Sequence[RealTime]) -> Table:
    table = Table(
        *("sessions", "system", "delay p50 ms", "p95", "p99", "audio lag p99 ms"),
        *("python µs/chunk", "× bare", "with JVM", "× bare", "CPU s/session-hour"),
        *("python MiB, idle", "early", "late", "KiB/session", "JVM MiB"),
        title="in real time, 100 ms chunks",
    )
    for sessions in sorted({row.sessions for row in rows}):
        groups = _by_system([row for row in rows if row.sessions == sessions])
        for name, group in groups.items():
            table.add_row(
                str(sessions),
                name,
                *(
                    _median(group, lambda row, q=q: getattr(row, f"delay_{q}_ms"))
                    for q in ("p50", "p95", "p99")
                ),
                _median(group, lambda row: row.lag_p99_ms),
                _median(group, lambda row: row.python_us_per_chunk),
                _ratio(group, groups.get("bare"), lambda row: row.python_us_per_chunk),
                _median(group, lambda row: row.all_us_per_chunk),
                _ratio(group, groups.get("bare"), lambda row: row.all_us_per_chunk),
                _median(group, lambda row: row.all_us_per_chunk * 3600 / CHUNK_SECONDS / 1e6),
                _median(group, lambda row: row.python_idle_mib),
                _median(group, lambda row: row.python_early_mib),
                _median(group, lambda row: row.python_rss_mib),
                _median(group, lambda row: row.python_kib_per_session),
                _median(group, lambda row: row.jvm_rss_mib),
            )
    return table


def _catch_up(rows: Sequence[Any]) -> Table:
    table = Table(
        *("system", "chunks/s", "× real time", "chunks/s per core of Python", "× bare", "python MiB at most"),
        title=f"{rows[0].sessions} sessions × {rows[0].audio_seconds:g} s of audio in the topic",
    )
    groups = _by_system(rows)
    for name, group in groups.items():
        table.add_row(
            name,
            _median(group, lambda row: row.chunks_per_second),
            _median(group, lambda row: row.chunks_per_second * CHUNK_SECONDS),
            _median(group, lambda row: row.chunks_per_core_second),
            _ratio(group, groups.get("bare"), lambda row: row.chunks_per_core_second),
            _median(group, lambda row: row.python_rss_mib),
        )
    return table


def _recovery(rows: Sequence[Any]) -> Table:
    table = Table(
        "system", "next final, s", "of every session, s", title=f"kill -9, {rows[0].sessions} sessions"
    )
    for name, group in _by_system(rows).items():
        table.add_row(
            name, _median(group, lambda row: row.first_seconds), _median(group, lambda row: row.all_seconds)
        )
    return table


def _by_system(rows: Sequence[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.system, []).append(row)
    return groups


def _median(group: Sequence[Any], of: Callable[[Any], float]) -> str:
    values = [of(row) for row in group]
    median = statistics.median(values)
    text = f"{median:,.0f}" if abs(median) >= 20 else f"{median:.1f}"
    return text if len(values) < 2 else f"{text} ±{(max(values) - min(values)) / 2:,.0f}"


def _ratio(group: Sequence[Any], others: Sequence[Any] | None, of: Callable[[Any], float]) -> str:
    """The median of the ratios of the rounds in which both were measured."""
    if not others or group[0].system == "bare":
        return ""
    bare = {other.round: of(other) for other in others}
    ratios = [of(row) / bare[row.round] for row in group if bare.get(row.round)]
    return f"{statistics.median(ratios):.2f}" if ratios else ""
