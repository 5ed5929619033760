"""Records to bytes and back, in Avro's single-object encoding, the wire format where no schema registry is
configured.

    C3 01 | 8 bytes: CRC-64-AVRO of the schema's canonical form, little-endian | the record in Avro binary

The fingerprint tells a reader which schema wrote the bytes, so a serde decodes records of its own schema
and of every writer schema it was given, resolved to its own: fields the writer did not know get their
defaults. fastavro does the binary; its error messages quote the value at fault, so they are never passed
on. https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import UnknownType, fingerprint, to_parsing_canonical_form

import schemas
from schemas.errors import MalformedRecord, NotSingleObjectEncoded, RecordDoesNotMatch, UnknownFingerprint

MARKER = b"\xc3\x01"
HEADER_BYTES = 10

Schema = Mapping[str, Any]


def schema_fingerprint(schema: Schema) -> bytes:
    """The 8 bytes of the schema's CRC-64-AVRO fingerprint as they stand on the wire (little-endian)."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(dict(schema)), "CRC-64-AVRO"))


class SingleObjectSerde:
    """Encodes and decodes the records of one schema. Safe to share between threads.

    `schema` is a name that `schemas.load` knows or a record schema; `writer_schemas` are older or newer
    versions whose records are read as well.
    """

    def __init__(self, schema: str | Schema, writer_schemas: Iterable[Schema] = ()) -> None:
        raw = schemas.load(schema) if isinstance(schema, str) else dict(schema)
        self._schema: dict[str, Any] = parse_schema(raw)  # type: ignore[assignment]  # a record, not a union
        self.name: str = self._schema["name"]
        self.fingerprint = schema_fingerprint(raw)
        self._header = MARKER + self.fingerprint
        self._writers: dict[bytes, Any] = {
            schema_fingerprint(writer): parse_schema(dict(writer)) for writer in writer_schemas
        }
        self._writers.pop(self.fingerprint, None)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """The record as bytes; fields with a default may be left out. Raises RecordDoesNotMatch.

        Logical timestamps are taken as `datetime` or as integers in the field's unit.
        """
        out = BytesIO()
        out.write(self._header)
        try:
            schemaless_writer(
                out, self._schema, record, strict_allow_default=True, disable_tuple_notation=True
            )
        except Exception:  # fastavro raises many types, and their messages quote values
            raise RecordDoesNotMatch(self.name, _describe_mismatch(self._schema, record)) from None
        return out.getvalue()

    def decode(self, data: bytes) -> dict[str, Any]:
        """The record in `data`. Raises UndecodableRecord: NotSingleObjectEncoded, UnknownFingerprint,
        MalformedRecord.

        Logical timestamps come as aware `datetime` in UTC.
        """
        if data[:2] != MARKER:
            raise NotSingleObjectEncoded(self.name, len(data))
        if len(data) < HEADER_BYTES:
            raise MalformedRecord(self.name, len(data), "it ends within the 10-byte header")
        body = BytesIO(data)
        body.seek(HEADER_BYTES)
        record = self._read(body, data[2:HEADER_BYTES], len(data))
        trailing = len(data) - body.tell()
        if trailing:
            raise MalformedRecord(self.name, len(data), f"{trailing} bytes follow the record")
        return record

    def _read(self, body: BytesIO, writer: bytes, length_bytes: int) -> dict[str, Any]:
        own = writer == self.fingerprint
        if not own and writer not in self._writers:
            raise UnknownFingerprint(writer.hex(), self._known())
        try:
            # Without a reader schema fastavro skips resolution, which is several times faster.
            record = schemaless_reader(
                body, self._schema if own else self._writers[writer], None if own else self._schema
            )
        except EOFError:
            raise MalformedRecord(self.name, length_bytes, "it ends in the middle of the record") from None
        except (
            Exception
        ) as error:  # whatever broken bytes provoke; the type tells what, the message would quote
            detail = f"its bytes do not follow the schema ({type(error).__name__})"
            raise MalformedRecord(self.name, length_bytes, detail) from None
        return record  # type: ignore[return-value]  # a record schema yields a dict

    def _known(self) -> tuple[str, ...]:
        older = (f"{writer['name']} {key.hex()}" for key, writer in self._writers.items())
        return (f"{self.name} {self.fingerprint.hex()}", *older)


def _describe_mismatch(schema: Mapping[str, Any], record: Any) -> str:
    """Which field is at fault, without its value."""
    if not isinstance(record, Mapping):
        return f"a {type(record).__name__} is no record"
    fields = {field["name"]: field for field in schema["fields"]}
    for name in record:
        if name not in fields:
            return f"it has no field {name!r}"
    for name, field in fields.items():
        if name not in record:
            if "default" not in field:
                return f"field {name!r} is missing"
        elif not _fits(record, field):
            return (
                f"field {name!r} or a part of it does not fit its type (given: {type(record[name]).__name__})"
            )
    return "its fields do not fit together"


def _fits(record: Mapping[str, Any], field: Mapping[str, Any]) -> bool:
    """Whether the one field can be encoded by itself."""
    name = field["name"]
    try:
        alone = parse_schema({"type": "record", "name": "Alone", "fields": [dict(field)]})
        schemaless_writer(BytesIO(), alone, {name: record[name]}, strict_allow_default=True)
    except UnknownType:  # refers to a type that another field defines: cannot be judged alone
        return True
    except Exception:
        return False
    return True
