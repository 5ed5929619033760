"""Rules that every schema file keeps."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.documentation import records_page
from schemas.errors import UnknownRelease
from schemas.serde import SingleObjectSerde, schema_fingerprint
from tests.schemas.avro_strategies import values

# The records that topics carry (schemas of our own state are not bound by the rules below).
RECORDS = (
    "audio_chunk",
    "dead_letter",
    "final_transcript",
    "partial_transcript",
    "recorded_record",
    "session_ended",
)

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


def test_this_version_is_released_with_every_schema_it_publishes() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == schemas.versions()[-1]
    for name in RECORDS:
        assert schemas.load(name, schemas.versions()[-1])["name"] == schemas.load(name)["name"]


@pytest.mark.parametrize("version", ["0.0.0", "../../schemas", "..", ""])
def test_a_release_that_is_not_there_is_told_with_those_that_are(version: str) -> None:
    with pytest.raises(UnknownRelease, match=schemas.versions()[0]):
        schemas.load("audio_chunk", version)


def test_the_page_of_all_records_is_current() -> None:
    page = schemas.path("audio_chunk").with_name("RECORDS.md").read_text(encoding="utf-8")
    assert page == records_page(), "run: medstream schemas document > schemas/RECORDS.md"


def test_the_page_has_the_fingerprint_of_every_release() -> None:
    for name in schemas.names():
        for version, released in schemas.released(name).items():
            assert f"{version}: `{schema_fingerprint(released).hex()}`" in records_page()


def test_the_page_shows_every_field_with_its_meaning() -> None:
    page = records_page()
    for name in schemas.names():
        for field in fields(schemas.load(name)):
            assert f"{field['name']}` |" in page
            assert field["doc"].replace("|", "\\|") in page


@pytest.mark.parametrize("name", schemas.names())
@given(data=st.data())
def test_every_record_comes_back_as_it_was_written(name: str, data: st.DataObject) -> None:
    serde = SingleObjectSerde(name)
    record = data.draw(values(schemas.load(name)))
    assert serde.decode(serde.encode(record)) == record


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
