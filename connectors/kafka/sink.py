"""Write elements to Kafka topics: at least once, acknowledged before the bundle is done.

All sinks of a worker process share one idempotent producer per configuration (`publisher`). The
acknowledgements of a bundle are awaited when it finishes: a failure fails the bundle, and the runner
repeats it. Records of one key keep their order: they go to one partition, and the producer keeps it.

A record that no repetition can deliver (too large, a topic that does not exist) would fail its bundle for
ever. With `on_undeliverable="dead-letter"` it becomes an element of the output UNDELIVERABLE instead:

    written = records | WriteToKafka(config, on_undeliverable="dead-letter")
    written[UNDELIVERABLE] | ...  # UndeliverableRecord
"""

# Beam's own functions are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from connectors.kafka import publisher
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.metering import Counter
from connectors.kafka.publisher import Delivery, shared_publisher

UNDELIVERABLE = "undeliverable"
FAIL, DEAD_LETTER = "fail", "dead-letter"

OutgoingRecord = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""key, value, headers"""
RoutedRecord = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]
"""topic, key, value, headers"""


class UndeliverableRecord(NamedTuple):
    """A record as it was to be written, and why it cannot be: `error_class` and `reason` hold none of it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    error_class: str
    reason: str

    def __repr__(self) -> str:
        return f"UndeliverableRecord(topic={self.topic!r}, error_class={self.error_class!r})"


class WriteToKafka(beam.PTransform):
    """Writes `(key, value, headers)` to `topic`, or `(topic, key, value, headers)` when `topic` is None.

    With `await_acks=False` (partial transcripts) a bundle does not wait; what fails is counted, not repeated.
    `on_undeliverable`: "fail", or "dead-letter" for an output UNDELIVERABLE (see the module); elements have
    to be in the global window then.
    """

    def __init__(
        self,
        config: ClientConfig,
        topic: str | None = None,
        *,
        await_acks: bool = True,
        on_undeliverable: str = FAIL,
    ) -> None:
        super().__init__()
        if on_undeliverable not in (FAIL, DEAD_LETTER):
            raise ValueError(
                f"on_undeliverable must be {FAIL!r} or {DEAD_LETTER!r}, not {on_undeliverable!r}"
            )
        if on_undeliverable == DEAD_LETTER and not await_acks:
            raise ValueError("what is undeliverable is known from acknowledgements: await_acks=True")
        self._config = config
        self._topic = topic
        self._await_acks = await_acks
        self._on_undeliverable = on_undeliverable

    def expand(self, records: Any) -> Any:
        if self._on_undeliverable == FAIL:
            return records | "Publish" >> beam.ParDo(_Publish(self._config, self._topic, self._await_acks))
        publish = beam.ParDo(_PublishOrReturn(self._config, self._topic))
        return records | "Publish" >> publish.with_outputs(UNDELIVERABLE, main="written")


class _Publish(beam.DoFn):
    def __init__(self, config: ClientConfig, topic: str | None, await_acks: bool) -> None:
        self._config = config
        self._topic = topic
        self._await_acks = await_acks
        self._deliveries: list[Delivery] = []
        self._records = Counter("kafka_sink", "records")
        self._dropped = Counter("kafka_sink", "dropped_records")

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


class _PublishOrReturn(beam.DoFn):
    """As `_Publish`, and hands back the records that can never be delivered."""

    def __init__(self, config: ClientConfig, topic: str | None) -> None:
        self._config = config
        self._topic = topic
        self._sent: list[Delivery] = []
        self._records = Counter("kafka_sink", "records")
        self._returned = Counter("kafka_sink", "undeliverable_records")

    def start_bundle(self) -> None:
        self._sent = []

    def process(self, element: Any) -> Iterator[TaggedOutput]:
        record = element if self._topic is None else (self._topic, *element)
        try:
            self._sent.append(shared_publisher(self._config).send(*record))
        except publisher.UNDELIVERABLE as error:
            yield TaggedOutput(UNDELIVERABLE, self._return(record, error))

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        lost = shared_publisher(self._config).undelivered(self._sent)
        self._records.inc(len(self._sent) - len(lost))
        self._sent = []
        for record, error in lost:
            returned = GlobalWindows.windowed_value(self._return(record, error))
            yield TaggedOutput(UNDELIVERABLE, returned)

    def _return(self, record: publisher.Record, error: KafkaConnectorError) -> UndeliverableRecord:
        self._returned.inc()
        topic, key, value, headers = record
        return UndeliverableRecord(topic, key, value, list(headers), type(error).__name__, str(error))
