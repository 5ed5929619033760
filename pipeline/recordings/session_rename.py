"""A record of one session as the same record of another: its key, and the session id in its chunk."""

from __future__ import annotations

from connectors.kafka.records import KafkaRecord
from pipeline.audio import raw_chunks
from pipeline.audio.raw_chunks import AVRO, RAW
from pipeline.errors import SettingsError
from schemas.errors import SchemaError
from schemas.serde import SingleObjectSerde


class SessionRenamer:
    """Renames records; a tombstone has only its key. A value in Avro is encoded anew, by the present schema;
    a raw chunk is named by key and header.
    """

    def __init__(self, chunk_format: str = AVRO) -> None:
        self._serde = SingleObjectSerde("audio_chunk")
        self._raw = chunk_format == RAW

    def renamed(self, record: KafkaRecord, name: str) -> KafkaRecord:
        """Raises SettingsError for a value that is no AudioChunk in Avro single-object encoding."""
        if self._raw:
            return raw_chunks.renamed(record, name)
        value = record.value
        if value is not None:
            try:
                value = self._serde.encode({**self._serde.decode(value), "session_id": name})
            except SchemaError:
                place = f"{record.topic}-{record.partition} at offset {record.offset}"
                raise SettingsError(
                    "--rename-sessions",
                    f"the record of {place} is no AudioChunk in Avro single-object encoding, so the session "
                    "in it cannot be renamed; replay it under its own name ('{session}'), without --fan-out, "
                    "or with --chunk-format raw if that is what it is",
                ) from None
        return record._replace(key=name.encode(), value=value)
