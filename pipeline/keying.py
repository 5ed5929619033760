"""The Beam DoFn between source and session engine: records by Kafka key become records by session id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam

from connectors.kafka.records import KafkaRecord
from pipeline.audio.decoding import session_id_of
from pipeline.elements import MISSING_KEY
from pipeline.errors import ChunkRejected
from pipeline.observability.job_metrics import count
from pipeline.output.encoding import OutputEncoder
from pipeline.output.outputs import stage_of
from pipeline.settings import JobSettings
from pipeline.worker.worker_setup import set_up_worker

DEAD_LETTERS = "dead_letters"


class KeyBySession(beam.DoFn):
    """`(key bytes, records)` of one poll to `(session_id, records)`; records without a usable key are
    rejected.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        set_up_worker(self._settings)
        self._encoder = OutputEncoder(self._settings.topics, self._settings.serdes)

    def process(self, element: tuple[bytes | None, Sequence[Any]]) -> Iterator[Any]:
        _, records = element
        try:
            session_id = session_id_of(KafkaRecord.from_tuple(records[0]))
        except ChunkRejected as rejection:
            for fields in records:
                record = KafkaRecord.from_tuple(fields)
                count("dead_letters", label=rejection.error_class)
                letter = self._encoder.dead_letter(record, stage_of(MISSING_KEY), rejection, None)
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        else:
            yield session_id, records
