"""One record schema and the Avro binary of its records, without any header. Pure.

fastavro does the binary; its error messages quote the value at fault, so they are never passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import UnknownType, fingerprint, to_parsing_canonical_form

from schemas.errors import MalformedRecord, RecordDoesNotMatch

Schema = Mapping[str, Any]


def schema_fingerprint(schema: Schema) -> bytes:
    """The 8 bytes of the schema's CRC-64-AVRO fingerprint as they stand on the wire (little-endian)."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(dict(schema)), "CRC-64-AVRO"))


class RecordCodec:
    """Writes records of one schema, and reads them as any compatible schema wrote them. Thread-safe."""

    def __init__(self, schema: Schema) -> None:
        self.schema: dict[str, Any] = dict(schema)
        self._parsed: dict[str, Any] = parse_schema(dict(schema))  # type: ignore[assignment]  # a record
        self.name: str = self._parsed["name"]
        self.fingerprint = schema_fingerprint(schema)

    def encode(self, head: bytes, record: Mapping[str, Any]) -> bytes:
        """`head` and the record; fields with a default may be left out. Raises RecordDoesNotMatch.

        Logical timestamps are taken as `datetime` or as integers in the field's unit.
        """
        out = BytesIO()
        out.write(head)
        try:
            schemaless_writer(
                out, self._parsed, record, strict_allow_default=True, disable_tuple_notation=True
            )
        except Exception:  # fastavro raises many types, and their messages quote values
            raise RecordDoesNotMatch(self.name, _describe_mismatch(self._parsed, record)) from None
        return out.getvalue()

    def decode(self, data: bytes, start: int, writer: Any = None) -> dict[str, Any]:
        """The record that fills `data` from `start` to its end. Raises MalformedRecord.

        `writer`: the parsed schema that wrote it, None if it was this one. Logical timestamps come as aware
        `datetime` in UTC.
        """
        body = BytesIO(data)
        body.seek(start)
        try:
            # Without a reader schema fastavro skips resolution, which is several times faster.
            if writer is None:
                record = schemaless_reader(body, self._parsed, None)
            else:
                record = schemaless_reader(body, writer, self._parsed)
        except EOFError:
            raise MalformedRecord(self.name, len(data), "it ends in the middle of the record") from None
        except Exception as error:  # whatever broken bytes provoke: the type tells, the message would quote
            detail = f"its bytes do not follow the schema ({type(error).__name__})"
            raise MalformedRecord(self.name, len(data), detail) from None
        trailing = len(data) - body.tell()
        if trailing:
            raise MalformedRecord(self.name, len(data), f"{trailing} bytes follow the record")
        return record  # type: ignore[return-value]  # a record schema yields a dict


def parse_writer(schema: Schema) -> Any:
    """A writer's schema in the form `decode` takes. Raises what fastavro raises for an invalid schema."""
    return parse_schema(dict(schema))


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
