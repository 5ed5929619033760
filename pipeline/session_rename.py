"""A record of one session as the same record of another: its key, and the session id in its AudioChunk."""

from __future__ import annotations

from connectors.kafka.records import KafkaRecord
from pipeline.errors import SettingsError
from schemas.errors import SchemaError
from schemas.serde import SingleObjectSerde


class SessionRenamer:
    """Renames records; a tombstone has only its key. The value is encoded anew, by the present schema."""

    def __init__(self) -> None:
        self._serde = SingleObjectSerde("audio_chunk")

    def renamed(self, record: KafkaRecord, name: str) -> KafkaRecord:
        """Raises SettingsError for a value that is no AudioChunk in Avro single-object encoding."""
        value = record.value
        if value is not None:
            try:
                value = self._serde.encode({**self._serde.decode(value), "session_id": name})
            except SchemaError:
                place = f"{record.topic}-{record.partition} at offset {record.offset}"
                raise SettingsError(
                    "--rename-sessions",
                    f"the record of {place} is no AudioChunk in Avro single-object encoding, so the session "
                    "in it cannot be renamed; replay it under its own name ('{session}'), without --fan-out",
                ) from None
        return record._replace(key=name.encode(), value=value)
