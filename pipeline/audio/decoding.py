"""Kafka records to chunks: bytes and headers in, `AudioChunk` of PCM or the reason for a dead letter out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from pipeline.audio.audio_decoding import to_pcm
from pipeline.audio.raw_chunks import AVRO, chunk_record
from pipeline.elements import (
    KEY_MISMATCH,
    MALFORMED_RECORD,
    MISSING_KEY,
    MISSING_VALUE,
    NOT_AVRO,
    UNKNOWN_SCHEMA,
    AudioChunk,
    LogEntry,
)
from pipeline.errors import ChunkRejected
from schemas.errors import (
    IncompatibleWriterSchema,
    MalformedRecord,
    NotSingleObjectEncoded,
    UnknownFingerprint,
    UnknownSchemaId,
    UnknownWireFormat,
)
from schemas.serde import Serde, shared_serde
from schemas.wire import VALUE_SCHEMA_ID_HEADER


class ChunkDecoder:
    """Decodes records of the input topic, `audio_chunk`s keyed by session id, in Avro or raw (`raw_chunks`).

    Their audio becomes PCM here, whatever its encoding: the same record always gives the same chunk. With a
    serde that asks a registry, `RegistryError` means that the registry cannot be asked now: no record is at
    fault, so it is raised and not made a rejection.
    """

    def __init__(self, serde: Serde | None = None, chunk_format: str = AVRO) -> None:
        self._serde = serde or shared_serde("audio_chunk")
        self._decode = self._avro if chunk_format == AVRO else _raw

    def entries(self, records: Iterable[KafkaRecord]) -> Iterator[LogEntry]:
        """One entry per record, in their order; an undecodable one carries its rejection."""
        for record in records:
            try:
                yield LogEntry(record.offset, self.decode(record))
            except ChunkRejected as rejection:
                yield LogEntry(record.offset, None, rejection)

    def decode(self, record: KafkaRecord) -> AudioChunk:
        """The chunk in `record`; raises ChunkRejected."""
        if record.value is None:
            raise ChunkRejected(MISSING_VALUE, "the record has no value; a tombstone is no audio")
        written_at_ms = None if record.timestamp_ms == NO_TIMESTAMP else record.timestamp_ms
        chunk = AudioChunk.from_record(self._decode(record), to_pcm, written_at_ms)
        if session_id_of(record) != chunk.session_id:
            raise ChunkRejected(
                KEY_MISMATCH, "the record's key is not its session_id; key audio by session_id, in UTF-8"
            )
        return chunk

    def _avro(self, record: KafkaRecord) -> dict[str, object]:
        try:
            return self._serde.decode(record.value or b"", record.header(VALUE_SCHEMA_ID_HEADER))
        except (NotSingleObjectEncoded, UnknownWireFormat) as error:
            raise ChunkRejected(NOT_AVRO, str(error)) from None
        except (UnknownFingerprint, UnknownSchemaId, IncompatibleWriterSchema) as error:
            raise ChunkRejected(UNKNOWN_SCHEMA, str(error)) from None
        except MalformedRecord as error:
            raise ChunkRejected(MALFORMED_RECORD, str(error)) from None


def _raw(record: KafkaRecord) -> dict[str, object]:
    return {"session_id": session_id_of(record), **chunk_record(record)}


def session_id_of(record: KafkaRecord) -> str:
    """The session a record belongs to, by its key; raises ChunkRejected when the key cannot be one."""
    if not record.key:
        raise ChunkRejected(MISSING_KEY, "the record has no key; key audio by session_id, in UTF-8")
    try:
        return record.key.decode("utf-8")
    except UnicodeDecodeError:
        raise ChunkRejected(MISSING_KEY, "the record's key is not UTF-8; key audio by session_id") from None
