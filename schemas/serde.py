"""Records to bytes and back, in Avro's single-object encoding, the wire format where no schema registry is
configured.

    C3 01 | 8 bytes: CRC-64-AVRO of the schema's canonical form, little-endian | the record in Avro binary

The fingerprint tells a reader which schema wrote the bytes, so a serde decodes records of its own schema, of
every released version of it and of every writer schema it was given, resolved to its own: fields the writer
did not know get their defaults. https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Protocol

import schemas
from schemas.codec import RecordCodec, Schema, parse_writer, schema_fingerprint
from schemas.errors import MalformedRecord, NotSingleObjectEncoded, UnknownFingerprint
from schemas.wire import MARKER, SINGLE_OBJECT_BYTES, looks_registered

__all__ = ["Schema", "Serde", "SingleObjectSerde", "schema_fingerprint", "shared_serde"]


class Serde(Protocol):
    """Records of one schema to Kafka values and back."""

    def encode(self, record: Mapping[str, Any]) -> bytes: ...

    def decode(self, data: bytes, schema_id_header: bytes | None = None) -> dict[str, Any]: ...


class SingleObjectSerde:
    """Encodes and decodes the records of one schema. Safe to share between threads.

    `schema` is a name that `schemas.load` knows or a record schema; `writer_schemas` are older or newer
    versions whose records are read as well. By a name, the released versions are among them.
    """

    def __init__(self, schema: str | Schema, writer_schemas: Iterable[Schema] = ()) -> None:
        raw = schemas.load(schema) if isinstance(schema, str) else dict(schema)
        known = [*schemas.released(schema).values()] if isinstance(schema, str) else []
        self._codec = RecordCodec(raw)
        self.name = self._codec.name
        self.fingerprint = self._codec.fingerprint
        self._header = MARKER + self.fingerprint
        self._writers: dict[bytes, Any] = {
            schema_fingerprint(writer): parse_writer(writer) for writer in (*known, *writer_schemas)
        }
        self._writers[self.fingerprint] = None  # needs no resolution

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """The record as bytes; fields with a default may be left out. Raises RecordDoesNotMatch.

        Logical timestamps are taken as `datetime` or as integers in the field's unit.
        """
        return self._codec.encode(self._header, record)

    def decode(self, data: bytes, schema_id_header: bytes | None = None) -> dict[str, Any]:
        """The record in `data`. Raises UndecodableRecord: NotSingleObjectEncoded, UnknownFingerprint,
        MalformedRecord.

        Logical timestamps come as aware `datetime` in UTC. `schema_id_header` (`__value_schema_id` of
        Confluent's serializers) says that a registry is needed, which this serde does not have.
        """
        if data[:2] != MARKER or schema_id_header is not None:
            looks = looks_registered(data, schema_id_header)
            raise NotSingleObjectEncoded(self.name, len(data), looks_registered=looks)
        if len(data) < SINGLE_OBJECT_BYTES:
            raise MalformedRecord(self.name, len(data), "it ends within the 10-byte header")
        try:
            writer = self._writers[data[2:SINGLE_OBJECT_BYTES]]
        except KeyError:
            raise UnknownFingerprint(data[2:SINGLE_OBJECT_BYTES].hex(), self._known()) from None
        return self._codec.decode(data, SINGLE_OBJECT_BYTES, writer)

    def _known(self) -> tuple[str, ...]:
        others = (
            f"{writer['name']} {key.hex()}" for key, writer in self._writers.items() if writer is not None
        )
        return (f"{self.name} {self.fingerprint.hex()}", *others)


@cache
def shared_serde(schema_name: str) -> SingleObjectSerde:
    """The process's one serde for a name that `schemas.load` knows; parsed schemas are large."""
    return SingleObjectSerde(schema_name)
