"""Confluent's own Python client and ours read what the other wrote, by id and by GUID in a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from schemas.registry import SchemaRegistry
from schemas.registry_serde import RegistrySerde
from schemas.registry_settings import RegistrySettings
from schemas.wire import VALUE_SCHEMA_ID_HEADER
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry
from tests.schemas.avro_strategies import values

NAMES = ("audio_chunk", "dead_letter", "final_transcript", "partial_transcript", "session_ended")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalHttp(FakeRegistry()) as server:
        yield server.url


def context(name: str, headers: list[tuple[str, bytes]] | None = None) -> Any:
    return SerializationContext(name, MessageField.VALUE, headers)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_confluent_s_deserialiser_reads_what_we_write(url: str, name: str, data: st.DataObject) -> None:
    registry = SchemaRegistry(RegistrySettings((url,)))
    ours = RegistrySerde(name, registry, f"{name}-value", auto_register=True)
    theirs = AvroDeserializer(SchemaRegistryClient({"url": url}))
    record = data.draw(values(schemas.load(name)))
    assert theirs(ours.encode(record), context(name)) == record


@pytest.mark.parametrize("in_header", [False, True])
def test_we_read_what_confluent_s_serialiser_writes(url: str, in_header: bool) -> None:
    configuration = {"schema.id.serializer": header_schema_id_serializer} if in_header else {}
    client = SchemaRegistryClient({"url": url})
    theirs = AvroSerializer(client, json.dumps(schemas.load("audio_chunk")), conf=configuration)
    record = {"session_id": "s", "sequence": 1, "payload": b"\x01", "sample_rate_hertz": 8000}
    headers: list[tuple[str, bytes]] = []
    value = theirs(record, context("chunks", headers))
    header = dict(headers).get(VALUE_SCHEMA_ID_HEADER)
    assert (header is not None) == in_header
    decoded = RegistrySerde("audio_chunk", SchemaRegistry(RegistrySettings((url,)))).decode(value, header)
    assert {name: decoded[name] for name in record} == record
