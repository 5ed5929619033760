"""Errors of the schemas package.

    SchemaError
    +-- UnknownSchema             no schema file of that name
    +-- RecordDoesNotMatch        encode: the record does not fit the schema
    +-- UndecodableRecord         decode: what a dead letter is made of
        +-- NotSingleObjectEncoded    the bytes do not begin with C3 01
        +-- UnknownFingerprint        written with a schema this reader does not have
        +-- MalformedRecord           truncated, invalid or trailing bytes

None of them is worth a retry: the same bytes fail again. Messages name schemas, fields and lengths and
never carry a value, because values are patients' audio and words.
"""

from __future__ import annotations

from collections.abc import Sequence


class SchemaError(Exception):
    """Root of the package's errors."""

    retryable = False


class UnknownSchema(SchemaError):
    """No schema file has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no schema is called {name!r}; there are {', '.join(known)}")
        self.name = name
        self.known = tuple(known)


class RecordDoesNotMatch(SchemaError):
    """A record to be encoded lacks a field, has one too many or holds a value of the wrong type."""

    def __init__(self, schema_name: str, detail: str) -> None:
        super().__init__(f"the record does not match {schema_name}: {detail}")
        self.schema_name = schema_name
        self.detail = detail


class UndecodableRecord(SchemaError):
    """Bytes that are no record of the schema wanted."""


class NotSingleObjectEncoded(UndecodableRecord):
    """The bytes do not begin with the two marker bytes of Avro's single-object encoding."""

    def __init__(self, schema_name: str, length_bytes: int) -> None:
        super().__init__(
            f"the value ({length_bytes} bytes) is not {schema_name} in Avro single-object encoding: "
            "it must begin with the bytes C3 01 and the schema's 8-byte fingerprint. "
            "Does the producer write another format?"
        )
        self.schema_name = schema_name
        self.length_bytes = length_bytes


class UnknownFingerprint(UndecodableRecord):
    """The bytes were written with a schema that this reader does not have.

    `fingerprint` is the CRC-64-AVRO of the writer's schema in hexadecimal, in the order of the bytes on the
    wire.
    """

    def __init__(self, fingerprint: str, known: Sequence[str]) -> None:
        super().__init__(
            f"the value was written with a schema of fingerprint {fingerprint}, "
            f"which this reader does not know; it knows {', '.join(known)}. "
            "Add the producer's schema to the reader's writer schemas."
        )
        self.fingerprint = fingerprint
        self.known = tuple(known)


class MalformedRecord(UndecodableRecord):
    """Marker and fingerprint are right, and the bytes after them do not follow the schema."""

    def __init__(self, schema_name: str, length_bytes: int, detail: str) -> None:
        super().__init__(f"the value ({length_bytes} bytes) is no valid {schema_name}: {detail}")
        self.schema_name = schema_name
        self.length_bytes = length_bytes
        self.detail = detail
