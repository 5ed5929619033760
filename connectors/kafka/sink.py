"""Write elements to Kafka topics: at least once, acknowledged before the bundle is done.

All sinks of a worker process share one idempotent producer per configuration (`publisher`). The
acknowledgements of a bundle are awaited when it finishes: a failure fails the bundle, and the runner
repeats it. Records of one key keep their order: they go to one partition, and the producer keeps it.
"""

# Beam's own functions are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from connectors.kafka.client import ClientConfig
from connectors.kafka.publisher import Delivery, shared_publisher

OutgoingRecord = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""key, value, headers"""
RoutedRecord = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]
"""topic, key, value, headers"""


class WriteToKafka(beam.PTransform):
    """Writes `(key, value, headers)` to `topic`, or `(topic, key, value, headers)` when `topic` is None.

    With `await_acks=False` (partial transcripts) a bundle does not wait; what fails is counted, not repeated.
    """

    def __init__(self, config: ClientConfig, topic: str | None = None, *, await_acks: bool = True) -> None:
        super().__init__()
        self._config = config
        self._topic = topic
        self._await_acks = await_acks

    def expand(self, records: Any) -> Any:
        return records | "Publish" >> beam.ParDo(_Publish(self._config, self._topic, self._await_acks))


class _Publish(beam.DoFn):
    def __init__(self, config: ClientConfig, topic: str | None, await_acks: bool) -> None:
        self._config = config
        self._topic = topic
        self._await_acks = await_acks
        self._deliveries: list[Delivery] = []
        self._records = Metrics.counter("kafka_sink", "records")
        self._dropped = Metrics.counter("kafka_sink", "dropped_records")

    def start_bundle(self) -> None:
        if self._await_acks:  # of a bundle that failed half-way
            self._deliveries = []

    def process(self, element: Any) -> None:
        topic, key, value, headers = element if self._topic is None else (self._topic, *element)
        self._deliveries.append(shared_publisher(self._config).send(topic, key, value, headers))
        self._records.inc()

    def finish_bundle(self) -> None:
        publisher = shared_publisher(self._config)
        if self._await_acks:
            publisher.wait(self._deliveries)
            self._deliveries = []
        else:
            failed, self._deliveries = publisher.collect(self._deliveries)
            self._dropped.inc(failed)
