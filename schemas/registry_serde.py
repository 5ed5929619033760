"""Records to bytes and back in Confluent's wire format, with schemas from a registry. Pure: it is handed the
registry.

Writes `00 | id | record`. Reads that, an id or GUID in the header `__value_schema_id`, and single-object
encoding, all by the writer's own schema, resolved to ours (`schemas.wire` has the layouts). A topic may so
change from one format to another while it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import schemas
from schemas.codec import RecordCodec, Schema, parse_writer, schema_fingerprint
from schemas.compatibility import incompatibilities
from schemas.errors import IncompatibleWriterSchema, UndecodableRecord, UnknownFingerprint
from schemas.wire import WriterKey, describe, prefix, split

_MAX_WRITERS = 1000  # a topic has a handful; broken bytes must not fill the memory


class Registry(Protocol):
    """What a serde asks a registry; `schemas.registry.SchemaRegistry` answers."""

    def id_of(self, subject: str, schema: Schema) -> int: ...

    def register(self, subject: str, schema: Schema) -> int: ...

    def schema_of(self, key: int | UUID) -> Any: ...


class RegistrySerde:
    """Encodes and decodes the records of one schema. Safe to share between threads.

    `subject` is what the schema is registered under; without it the serde only reads. `auto_register`: a
    schema that the subject lacks is registered instead of refused.
    """

    def __init__(
        self,
        schema: str | Schema,
        registry: Registry,
        subject: str | None = None,
        *,
        auto_register: bool = False,
    ) -> None:
        raw = schemas.load(schema) if isinstance(schema, str) else dict(schema)
        known = schemas.released(schema).values() if isinstance(schema, str) else ()
        self._codec = RecordCodec(raw)
        self.name = self._codec.name
        self._registry = registry
        self._subject = subject
        self._auto_register = auto_register
        self._head: bytes | None = None
        self._writers: dict[WriterKey, Any] = {
            schema_fingerprint(older): parse_writer(older) for older in known
        }
        self._writers[self._codec.fingerprint] = None  # needs no resolution

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """The record as bytes; fields with a default may be left out.

        The first call asks the registry for the schema's id. Raises RecordDoesNotMatch, SchemaNotRegistered
        and the other RegistryErrors.
        """
        if self._head is None:
            self._head = prefix(self._schema_id())
        return self._codec.encode(self._head, record)

    def decode(self, data: bytes, schema_id_header: bytes | None = None) -> dict[str, Any]:
        """The record in `data`; `schema_id_header` is the value of the header `__value_schema_id`.

        Raises UndecodableRecord for bytes that will never be a record, RegistryError where the registry
        could not be asked for the writer's schema.
        """
        key, start = split(data, schema_id_header, self.name)
        try:
            writer = self._writers[key]
        except KeyError:
            writer = self._writer(key)
        if isinstance(writer, UndecodableRecord):
            raise writer.with_traceback(None)
        return self._codec.decode(data, start, writer)

    def _schema_id(self) -> int:
        if self._subject is None:
            raise ValueError("this serde only reads: it was made without a subject")
        ask = self._registry.register if self._auto_register else self._registry.id_of
        return ask(self._subject, self._codec.schema)

    def _writer(self, key: WriterKey) -> Any:
        """The parsed schema of a writer met for the first time; None: ours; an error: why not readable."""
        if isinstance(key, bytes):
            raise UnknownFingerprint(key.hex(), (f"{self.name} {self._codec.fingerprint.hex()}",))
        judged = self._judge(key, self._registry.schema_of(key))
        if len(self._writers) < _MAX_WRITERS:
            self._writers[key] = judged
        return judged

    def _judge(self, key: WriterKey, schema: Any) -> Any:
        try:
            problems = incompatibilities(self._codec.schema, schema)
            if not problems:
                same = schema_fingerprint(schema) == self._codec.fingerprint
                return None if same else parse_writer(schema)
        except Exception as error:  # whatever fastavro says about a schema it cannot use
            problems = [f"it is no usable Avro schema ({type(error).__name__})"]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return IncompatibleWriterSchema(self.name, describe(key), problems[0] + more)
