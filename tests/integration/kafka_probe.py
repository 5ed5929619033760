"""A pipeline of our Kafka source and sink and nothing else: what is read from one topic is written to
another.

Each output record carries the input's key, value and headers, and as further headers its position and the
worker's process id, so that a test can tell what was read, by whom and how often. A module of its own,
because workers import it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

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


def run(
    options: list[str], config: ClientConfig, input_topic: str, output_topic: str, **source: Any
) -> PipelineResult:
    """Submit the probe; it copies until it is cancelled, or to the end with `stop_at='end'`."""
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    _ = (
        pipeline
        | ReadFromKafka(config, [input_topic], **source)
        | beam.FlatMap(to_output)
        | WriteToKafka(config, output_topic)
    )
    return pipeline.run()
