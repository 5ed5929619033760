"""Confluent's wire format: what is written, and whatever may be read."""

from __future__ import annotations

import copy
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

import schemas
from schemas.errors import (
    IncompatibleWriterSchema,
    MalformedRecord,
    RegistryUnavailable,
    SchemaNotRegistered,
    UnknownFingerprint,
    UnknownSchemaId,
    UnknownWireFormat,
)
from schemas.registry_serde import RegistrySerde
from schemas.serde import SingleObjectSerde
from schemas.wire import prefix
from tests.fakes.schema_registry import guid_of
from tests.schemas.avro_strategies import values

CHUNK = schemas.load("audio_chunk")
RECORD = {"session_id": "s", "sequence": 7, "payload": b"\x01\x02", "sample_rate_hertz": 16000}
SECRET = "SYNTHETIC-PATIENT-WORDS"


class InMemory:
    """A registry as a serde sees it."""

    def __init__(self) -> None:
        self.schemas: dict[int | UUID, Any] = {}
        self.subjects: dict[tuple[str, str], int] = {}
        self.asked = 0

    def add(self, schema: Any, subject: str = "audio-value") -> int:
        schema_id = len(self.schemas) + 1
        self.schemas[schema_id] = self.schemas[guid_of(json.dumps(schema))] = schema
        self.subjects[subject, json.dumps(schema)] = schema_id
        return schema_id

    def id_of(self, subject: str, schema: Any) -> int:
        self.asked += 1
        found = self.subjects.get((subject, json.dumps(schema)))
        if found is None:
            raise SchemaNotRegistered(subject, schema["name"])
        return found

    def register(self, subject: str, schema: Any) -> int:
        return self.subjects.get((subject, json.dumps(schema))) or self.add(schema, subject)

    def schema_of(self, key: int | UUID) -> Any:
        self.asked += 1
        if key not in self.schemas:
            raise UnknownSchemaId(str(key), "which nobody knows")
        return self.schemas[key]


@pytest.fixture
def registry() -> InMemory:
    return InMemory()


def writer(registry: InMemory, **more: Any) -> RegistrySerde:
    return RegistrySerde("audio_chunk", registry, "audio-value", **more)


def newer() -> dict[str, Any]:
    schema = copy.deepcopy(CHUNK)
    schema["fields"].append({"name": "device", "type": ["null", "string"], "default": None})
    next(f for f in schema["fields"] if f["name"] == "encoding")["type"]["symbols"].append("G729")
    return schema


def test_the_id_stands_before_the_record(registry: InMemory) -> None:
    for _ in range(299):
        registry.add({"type": "string"}, "others")
    registry.schemas = dict.fromkeys(range(299))
    registry.add(CHUNK)
    serde = writer(registry)
    value = serde.encode(RECORD)
    assert value[:5] == b"\x00\x00\x00\x01\x2c"
    assert value[5:] == SingleObjectSerde("audio_chunk").encode(RECORD)[10:]
    serde.encode(RECORD)
    assert registry.asked == 1


def test_a_schema_that_is_not_registered_is_refused_unless_registering_is_asked_for(
    registry: InMemory,
) -> None:
    with pytest.raises(SchemaNotRegistered, match="--auto-register-schemas"):
        writer(registry).encode(RECORD)
    assert writer(registry, auto_register=True).encode(RECORD)[:5] == prefix(1)


def test_a_serde_without_a_subject_does_not_write(registry: InMemory) -> None:
    with pytest.raises(ValueError, match="only reads"):
        RegistrySerde("audio_chunk", registry).encode(RECORD)


@given(values(CHUNK))
def test_round_trip(record: dict[str, Any]) -> None:
    serde = writer(InMemory(), auto_register=True)
    assert serde.decode(serde.encode(record)) == record


def forms(schema_id: int, schema: Any, body: bytes) -> list[tuple[bytes, bytes | None]]:
    """The record in every form that a registry makes possible: value, and the header's value."""
    guid = b"\x01" + guid_of(json.dumps(schema)).bytes
    return [
        (prefix(schema_id) + body, None),
        (guid + body, None),
        (body, guid),
        (body, prefix(schema_id)),
    ]


@pytest.mark.parametrize("form", range(4))
def test_every_form_of_every_compatible_writer_is_read(registry: InMemory, form: int) -> None:
    body = SingleObjectSerde(newer()).encode({**RECORD, "encoding": "G729", "device": "m1"})[10:]
    value, header = forms(registry.add(newer()), newer(), body)[form]
    reader = RegistrySerde("audio_chunk", registry)
    for _ in range(3):
        decoded = reader.decode(value, header)
    assert (decoded["sequence"], decoded["encoding"]) == (7, "UNKNOWN")
    assert "device" not in decoded
    assert registry.asked == 1


def test_a_producer_without_registry_is_read_as_well(registry: InMemory) -> None:
    assert RegistrySerde("audio_chunk", registry).decode(SingleObjectSerde("audio_chunk").encode(RECORD))
    assert registry.asked == 0
    with pytest.raises(UnknownFingerprint):
        RegistrySerde("audio_chunk", registry).decode(SingleObjectSerde(newer()).encode(RECORD))


def test_what_any_release_wrote_without_registry_is_read(
    registry: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "released", lambda _name: {"0.9.0": newer()})
    value = SingleObjectSerde(newer()).encode({**RECORD, "device": "m1"})
    assert RegistrySerde("audio_chunk", registry).decode(value)["sequence"] == 7


def test_our_own_schema_needs_no_resolution_whatever_its_texts(registry: InMemory) -> None:
    schema_id = registry.add({**CHUNK, "doc": "Other words."})
    reader = RegistrySerde("audio_chunk", registry)
    body = SingleObjectSerde("audio_chunk").encode(RECORD)[10:]
    assert reader.decode(prefix(schema_id) + body)["sequence"] == 7
    assert reader._writers[schema_id] is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (schemas.load("final_transcript"), "record medstream.FinalTranscript is not"),
        ("string", "string cannot be read as record"),
        (["null", {"type": "record"}], "no usable Avro schema"),
        ({"type": "nonsense"}, "no usable Avro schema"),
    ],
)
def test_a_writer_that_cannot_be_read_is_named_once_and_for_all(
    registry: InMemory, schema: Any, told: str
) -> None:
    schema_id = registry.add(schema)
    reader = RegistrySerde("audio_chunk", registry)
    for _ in range(2):
        with pytest.raises(IncompatibleWriterSchema, match=f"id {schema_id}") as caught:
            reader.decode(prefix(schema_id) + SECRET.encode())
        assert told in str(caught.value)
        assert SECRET not in str(caught.value)
    assert registry.asked == 1


def test_an_id_that_nobody_knows_is_told(registry: InMemory) -> None:
    with pytest.raises(UnknownSchemaId):
        RegistrySerde("audio_chunk", registry).decode(prefix(4) + b"x")


def test_a_registry_that_is_away_is_no_fault_of_the_record(registry: InMemory) -> None:
    class Away(InMemory):
        def schema_of(self, key: int | UUID) -> Any:  # noqa: ARG002
            raise RegistryUnavailable("http://x", "away")

    with pytest.raises(RegistryUnavailable):
        RegistrySerde("audio_chunk", Away()).decode(prefix(4) + b"x")


def test_other_bytes_are_told_apart(registry: InMemory) -> None:
    reader = RegistrySerde("audio_chunk", registry)
    schema_id = registry.add(CHUNK)
    with pytest.raises(UnknownWireFormat):
        reader.decode(SECRET.encode())
    with pytest.raises(MalformedRecord, match="in the middle"):
        reader.decode(prefix(schema_id) + b"\x06")
