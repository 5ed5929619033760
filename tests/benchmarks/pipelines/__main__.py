"""`make bench-pipelines`: medstream against what people would use instead, whole, in one run.

The same broker, the same service and the same sessions for each system, one after the other, the rounds
interleaved: a bare loop (`bare_loop.py`), medstream on the embedded Flink, medstream on a standalone cluster.

    python -m tests.benchmarks.pipelines --sessions 25 100 250 500 --seconds 45 --rounds 3 --json F --png F

Wants a machine with nothing else to do. All audio and text is synthetic.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local.flink_jvm import FULL_JIT
from deploy.local.kafka import KafkaBroker
from tests.benchmarks.pipelines import tables
from tests.benchmarks.pipelines.scenarios import (
    CatchUp,
    RealTime,
    Recovery,
    TooShort,
    catch_up,
    real_time,
    recovery,
    service,
)
from tests.benchmarks.pipelines.systems import SYSTEMS, Stage

SCREEN = Console(stderr=True, width=160)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    found: dict[str, list[Any]] = {"real_time": [], "catch_up": [], "recovery": []}
    os.environ[FULL_JIT] = "1"
    with ExitStack() as stack:
        if options.directory is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medstream-bench-")))
        else:
            folder = options.directory
            folder.mkdir(parents=True)
        broker = stack.enter_context(KafkaBroker(folder / "kafka"))
        process, url = service(folder)
        stack.callback(process.stop)
        stage = Stage(broker, url, folder, tuple(options.option), options.flink_heap_mib)
        for number in range(options.rounds):
            for kind, title, measure in measurements(options, stage):
                run(found[kind], number, title, measure)
                if options.json is not None:  # each time, so that a run that is stopped leaves its figures
                    write(options.json, found)
    for table in tables.all_tables(found):
        Console(width=190).print(table)
    if options.png is not None:
        from tests.benchmarks.pipelines.chart import draw

        draw(found["real_time"], options.png)


Measure = Callable[[], RealTime | CatchUp | Recovery]


def measurements(options: argparse.Namespace, stage: Stage) -> Iterator[tuple[str, str, Measure]]:
    """Those of one round: kind, title, and what measures."""
    for sessions in options.sessions:
        for name in options.systems:
            title = f"{name}, {sessions} sessions in real time"
            yield "real_time", title, partial(real_time, name, stage, sessions, options.seconds)
    sessions, seconds = options.catch_up_sessions, options.catch_up_seconds
    for name in options.systems if seconds else ():
        yield "catch_up", f"{name} catches up", partial(catch_up, name, stage, sessions, seconds)
    for name in options.systems if options.recovery_sessions else ():
        if name != "bare":
            yield "recovery", f"{name} recovers", partial(recovery, name, stage, options.recovery_sessions)


def run(rows: list[Any], number: int, title: str, measure: Measure) -> None:
    """One measurement of a round; a system that cannot do it is told, and the run goes on."""
    SCREEN.print(title)
    try:
        rows.append(replace(measure(), round=number))
        SCREEN.print(f"  {rows[-1]}", highlight=False)
    except (TimeoutError, TooShort) as error:
        SCREEN.print(f"  not reached: {error}")


def write(path: Path, found: Mapping[str, Sequence[Any]]) -> None:
    document = {kind: [asdict(figures) for figures in rows] for kind, rows in found.items()}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pipelines", description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sessions", nargs="*", type=int, default=[25, 100, 250, 500])
    parser.add_argument("--seconds", type=float, default=45.0, help="of the measurement in real time")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--catch-up-sessions", type=int, default=100)
    parser.add_argument("--catch-up-seconds", type=float, default=60.0, help="of audio each; 0: leave it out")
    parser.add_argument("--recovery-sessions", type=int, default=25, help="0: leave it out")
    parser.add_argument(
        "--option", action="append", default=[], help="further ones of `medstream run`, --option=--name=value"
    )
    parser.add_argument(
        "--flink-heap-mib", type=int, default=512, help="a run of ten minutes wants 4096: see the leak"
    )
    parser.add_argument("--directory", type=Path, help="keep logs here")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
