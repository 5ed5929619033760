"""The tables of the comparison. All figures are invented."""

from __future__ import annotations

import io

from rich.console import Console

from tests.benchmarks.pipelines import tables
from tests.benchmarks.pipelines.scenarios import CatchUp


def _caught_up(system: str, number: int, chunks_per_core_second: float) -> CatchUp:
    return CatchUp(
        system=system,
        sessions=100,
        audio_seconds=60.0,
        seconds=10.0,
        chunks_per_second=6_000,
        chunks_per_core_second=chunks_per_core_second,
        python_cpu_seconds=10.0,
        jvm_cpu_seconds=0.0,
        python_rss_mib=100.0,
        round=number,
    )


def _shown(rows: list[CatchUp]) -> str:
    screen = Console(file=io.StringIO(), width=200)
    for table in tables.all_tables({"real_time": [], "catch_up": rows, "recovery": []}):
        screen.print(table)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    """The bare loop's first round gave nothing: its second is not the first round's of others."""
    rows = [_caught_up("embedded", 0, 1_000), _caught_up("embedded", 1, 6_000), _caught_up("bare", 1, 8_000)]
    assert "0.75" in _shown(rows)


def test_without_a_round_in_common_there_is_no_ratio() -> None:
    shown = _shown([_caught_up("embedded", 0, 1_000), _caught_up("bare", 1, 8_000)])
    [row] = [line for line in shown.splitlines() if "embedded" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][4] == ""
