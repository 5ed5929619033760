"""A pipeline of our Kafka source and sink and nothing else: what is read from one topic is written to
another.

Each output record carries the input's key, value and headers, and as further headers its position and the
worker's process id, so that a test can tell what was read, by whom and how often. On request the records are
counted in windows of a second by event time too, which close as the watermark passes them. A module of its
own, because workers import it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.window import FixedWindows

from connectors.kafka.client import ClientConfig
from connectors.kafka.records import KafkaRecord
from connectors.kafka.sink import WriteToKafka
from connectors.kafka.source import ReadFromKafka


def to_output(element: tuple[bytes, list[Any]]) -> Iterator[Any]:
    """(key, records) -> (key, value, headers) for each record."""
    key, records = element
    for record in map(KafkaRecord.from_tuple, records):
        headers = [(name, value or b"") for name, value in record.headers]
        headers += [("position", b"%d/%d" % (record.partition, record.offset)), ("pid", b"%d" % os.getpid())]
        yield key, record.value, headers


class Slowly(beam.DoFn):
    """Passes elements on, each after a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def process(self, element: Any) -> Iterator[Any]:
        time.sleep(self._seconds)
        yield element


def count_records(element: tuple[bytes, list[Any]]) -> tuple[str, int]:
    return "all", len(element[1])


class CloseWindow(beam.DoFn):
    """(anything, counts) of a window -> a record with the window's end in Unix seconds and the sum."""

    def process(self, element: tuple[str, Any], window: Any = beam.DoFn.WindowParam) -> Iterator[Any]:
        yield b"window", b"%d" % window.end.seconds(), [("count", b"%d" % sum(element[1]))]


def run(
    options: list[str],
    config: ClientConfig,
    input_topic: str | None,
    output_topic: str,
    windows_topic: str | None = None,
    delay_seconds: float = 0.0,
    **source: Any,
) -> PipelineResult:
    """Submit the probe; it copies until it is cancelled, or to the end with `stop_at='end'`.

    `delay_seconds`: what a stage of its own before the sink takes for each element of the source, so that
    much is on its way.
    """
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    records = pipeline | ReadFromKafka(config, [input_topic] if input_topic else [], **source)
    arrived = records
    if delay_seconds:
        arrived = records | beam.Reshuffle() | beam.ParDo(Slowly(delay_seconds))
    _ = arrived | beam.FlatMap(to_output) | WriteToKafka(config, output_topic)
    if windows_topic is not None:
        _ = (
            records
            | beam.Map(count_records)
            | beam.WindowInto(FixedWindows(1))
            | beam.GroupByKey()
            | beam.ParDo(CloseWindow())
            | "WriteWindows" >> WriteToKafka(config, windows_topic)
        )
    return pipeline.run()
