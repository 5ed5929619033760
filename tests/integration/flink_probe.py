"""A small pipeline that shows whether the local Flink restores a job: a counting source and a counting state.

For each key the source emits 0, 1, 2 … about a hundred times a second and checkpoints itself; a stateful
DoFn counts what it saw and appends `key number count pid` to a file. After a restore from a checkpoint,
numbers may repeat, but none may be missing, and the count is always the number plus one: source position
and state belong to the same checkpoint. A module of its own, because workers import it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

INTERVAL_SECONDS = 0.01
BUNDLE_SECONDS = 0.1


class _Numbers(RestrictionProvider):
    def __init__(self, last: int) -> None:
        self._last = last

    def initial_restriction(self, element: str) -> OffsetRange:  # noqa: ARG002  Beam's signature
        return OffsetRange(0, self._last)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: str, restriction: OffsetRange) -> int:  # noqa: ARG002
        return restriction.size()


class EmitNumbers(beam.DoFn):
    """Key -> (key, number) for all numbers of its restriction."""

    NUMBERS = beam.DoFn.RestrictionParam(_Numbers(1_000_000))

    @beam.DoFn.unbounded_per_element()
    def process(self, key: str, tracker: Any = NUMBERS) -> Iterator[tuple[str, int]]:
        number = tracker.current_restriction().start
        bundle_end = time.monotonic() + BUNDLE_SECONDS
        while tracker.try_claim(number):
            yield key, number
            number += 1
            time.sleep(INTERVAL_SECONDS)
            if time.monotonic() > bundle_end:
                tracker.defer_remainder()
                return


class CountInState(beam.DoFn):
    """(key, number) -> appends `key number count pid` to a file."""

    COUNT = beam.DoFn.StateParam(ReadModifyWriteStateSpec("count", VarIntCoder()))

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: tuple[str, int], count: Any = COUNT) -> None:
        key, number = element
        seen = (count.read() or 0) + 1
        count.write(seen)
        with Path(self._path).open("a") as file:
            file.write(f"{key} {number} {seen} {os.getpid()}\n")


def run(options: list[str], keys: list[str], path: str) -> PipelineResult:
    """Submit the probe; it writes to `path` until it is cancelled."""
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    _ = (
        pipeline
        | beam.Create(keys)
        | beam.Reshuffle()
        | beam.ParDo(EmitNumbers()).with_output_types(tuple[str, int])
        | beam.ParDo(CountInState(path))
    )
    return pipeline.run()
