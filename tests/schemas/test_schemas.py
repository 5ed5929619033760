"""Rules that every schema file keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastavro import parse_schema

import schemas

# The records that topics carry (schemas of our own state are not bound by the rules below).
RECORDS = ("audio_chunk", "dead_letter", "final_transcript", "partial_transcript", "session_ended")

# Field names whose values are audio, words or bytes of unknown content wherever they occur.
PHI_FIELDS = {
    "payload",
    "transcript",
    "content",
    "alternatives",
    "items",
    "entities",
    "attributes",
    "headers",
    "value",
}


def fields(schema: Any) -> Iterator[dict[str, Any]]:
    """Every field of the schema, at every depth."""
    if isinstance(schema, list):
        for member in schema:
            yield from fields(member)
    elif isinstance(schema, dict):
        for field in schema.get("fields", []):
            yield field
            yield from fields(field["type"])
        for nested in ("items", "values", "type"):
            if isinstance(schema.get(nested), (dict, list)):
                yield from fields(schema[nested])


def named_types(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for member in schema:
            yield from named_types(member)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum"):
            yield schema
        for field in schema.get("fields", []):
            yield from named_types(field["type"])
        for nested in ("items", "values"):
            if nested in schema:
                yield from named_types(schema[nested])


def test_the_records_are_there() -> None:
    assert set(RECORDS) <= set(schemas.names())


@pytest.mark.parametrize("name", RECORDS)
class TestEverySchema:
    def test_parses_in_our_namespace(self, name: str) -> None:
        assert parse_schema(schemas.load(name))["name"].startswith("medstream.")  # type: ignore[call-overload, index]

    def test_every_field_and_type_is_documented(self, name: str) -> None:
        for part in [*fields(schemas.load(name)), *named_types(schemas.load(name))]:
            assert len(part.get("doc", "")) > 10, part["name"]
            assert part["doc"].rstrip().endswith("."), part["name"]

    def test_optional_fields_default_to_null(self, name: str) -> None:
        for field in fields(schemas.load(name)):
            if isinstance(field["type"], list):
                assert field["type"][0] == "null", field["name"]
                assert field["default"] is None, field["name"]

    def test_patient_data_is_tagged(self, name: str) -> None:
        for field in fields(schemas.load(name)):
            original_key = field["name"] == "key" and isinstance(field["type"], list)
            assert field.get("phi", False) == (field["name"] in PHI_FIELDS or original_key), field["name"]

    def test_times_and_counts_name_their_unit(self, name: str) -> None:
        for field in fields(schemas.load(name)):
            text = f"{field['name']} {field['doc']}"
            if field["name"].endswith(("_time", "_seconds", "_ms", "_at", "_hertz")):
                assert any(unit in text for unit in ("second", "hertz")), field["name"]

    def test_enums_can_grow(self, name: str) -> None:
        for enum in named_types(schemas.load(name)):
            if enum["type"] == "enum":
                assert enum["default"] == "UNKNOWN", enum["name"]
