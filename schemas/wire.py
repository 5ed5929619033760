"""How a Kafka value says which schema wrote it. Pure.

    single object   C3 01 | 8 bytes: CRC-64-AVRO fingerprint, little-endian | record in Avro binary
    prefix          00 | 4 bytes: schema id of the registry, big-endian     | record in Avro binary
    prefix          01 | 16 bytes: schema GUID of the registry              | record in Avro binary
    header          __value_schema_id: 00 and id, or 01 and GUID; the value is the record alone

The first is Avro's own (https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding), the
others are the wire format of Confluent's serializers
(https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
A header wins over whatever the value begins with, as in their deserializers.
"""

from __future__ import annotations

from uuid import UUID

from schemas.errors import MalformedRecord, UnknownWireFormat

MARKER = b"\xc3\x01"
SINGLE_OBJECT_BYTES = 10
PREFIX_BYTES = 5
GUID_BYTES = 17
ID_MAGIC = 0x00
GUID_MAGIC = 0x01
VALUE_SCHEMA_ID_HEADER = "__value_schema_id"

WriterKey = bytes | int | UUID
"""Names the writer's schema: its fingerprint as on the wire, its id or its GUID in the registry."""


def prefix(schema_id: int) -> bytes:
    """The five bytes before a record of the registered schema; `schema_id` has 32 bits, unsigned."""
    return bytes([ID_MAGIC]) + schema_id.to_bytes(4, "big")


def split(value: bytes, schema_id_header: bytes | None, schema_name: str) -> tuple[WriterKey, int]:
    """Who wrote `value`, and where its record begins.

    `schema_id_header` is the value of the header `__value_schema_id`. Raises UnknownWireFormat,
    MalformedRecord.
    """
    if schema_id_header is not None:
        key, length = _read_id(schema_id_header, schema_name, len(value))
        if length != len(schema_id_header):
            raise MalformedRecord(schema_name, len(value), "bytes follow the id in __value_schema_id")
        return key, 0
    if value[:2] == MARKER:
        if len(value) < SINGLE_OBJECT_BYTES:
            raise MalformedRecord(schema_name, len(value), "it ends within the 10-byte header")
        return value[2:SINGLE_OBJECT_BYTES], SINGLE_OBJECT_BYTES
    return _read_id(value, schema_name, len(value))


def _read_id(data: bytes, schema_name: str, length_bytes: int) -> tuple[int | UUID, int]:
    """Id or GUID at the beginning of `data`, and its length with the magic byte."""
    magic = data[0] if data else None
    if magic == ID_MAGIC and len(data) >= PREFIX_BYTES:
        return int.from_bytes(data[1:PREFIX_BYTES], "big"), PREFIX_BYTES
    if magic == GUID_MAGIC and len(data) >= GUID_BYTES:
        return UUID(bytes=data[1:GUID_BYTES]), GUID_BYTES
    if magic in (ID_MAGIC, GUID_MAGIC):
        raise MalformedRecord(schema_name, length_bytes, "it ends within its schema id")
    raise UnknownWireFormat(schema_name, length_bytes)


def looks_registered(value: bytes, schema_id_header: bytes | None) -> bool:
    """Whether a reader without a registry should be told that one may be missing."""
    return schema_id_header is not None or (len(value) > PREFIX_BYTES and value[0] == ID_MAGIC)


def describe(key: WriterKey) -> str:
    """The key in words, for messages: `id 7`, `GUID …`, `fingerprint …`."""
    if isinstance(key, bytes):
        return f"fingerprint {key.hex()}"
    return f"GUID {key}" if isinstance(key, UUID) else f"id {key}"
