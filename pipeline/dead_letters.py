"""The Beam transform that publishes dead letters, also of records that are too large for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from connectors.kafka.sink import DEAD_LETTER, UNDELIVERABLE, UndeliverableRecord, WriteToKafka
from pipeline.output.encoding import OutputEncoder, OutputRecord
from pipeline.settings import JobSettings


class ShortenDeadLetter(beam.DoFn):
    """Dead letters that Kafka does not take to dead letters without their records' values."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._encoder = OutputEncoder(self._settings.topics, self._settings.serdes)

    def process(self, letter: UndeliverableRecord) -> Iterator[OutputRecord]:
        yield letter.key or b"", self._encoder.shortened(letter.value or b""), letter.headers


class PublishDeadLetters(beam.PTransform):
    """Dead letters with their records' bytes; one that is too large for its topic without them.

    A record near the largest size that Kafka takes is smaller than its dead letter. It must not stop the job.
    """

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, letters: Any) -> Any:
        kafka, topic = self._settings.kafka, self._settings.topics.dead_letters
        written = letters | "Publish" >> WriteToKafka(kafka, topic, on_undeliverable=DEAD_LETTER)
        return (
            written[UNDELIVERABLE]
            | "Shorten" >> beam.ParDo(ShortenDeadLetter(self._settings))
            | "PublishShortened" >> WriteToKafka(kafka, topic)
        )
