"""Schemas in pieces, put together."""

from __future__ import annotations

from typing import Any

from fastavro import parse_schema

from schemas.codec import schema_fingerprint
from schemas.references import with_references

SETTINGS = {
    "type": "record",
    "name": "Settings",
    "namespace": "a.b",
    "fields": [{"name": "mode", "type": "Mode"}],
}
MODE = {"type": "enum", "name": "Mode", "symbols": ["ON", "OFF"]}
DEFINITIONS = {"a.b.Settings": SETTINGS, "a.b.Mode": MODE}


def outer(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
    return {"type": "record", "name": "Outer", "namespace": "a.b", "fields": fields}


def test_a_type_is_written_out_where_it_is_first_named() -> None:
    whole = with_references(outer(["null", "Settings"], "a.b.Settings", "Mode"), DEFINITIONS)
    first = {**SETTINGS, "fields": [{"name": "mode", "type": {**MODE, "namespace": "a.b"}}]}
    assert whole == outer(["null", first], "a.b.Settings", "Mode")
    parse_schema(whole)


def test_the_result_is_the_schema_as_one_would_write_it() -> None:
    whole = with_references(
        outer({"type": "array", "items": "a.b.Settings"}, {"type": "map", "values": "Mode"}), DEFINITIONS
    )
    by_hand = outer(
        {"type": "array", "items": {**SETTINGS, "fields": [{"name": "mode", "type": MODE}]}},
        {"type": "map", "values": "Mode"},
    )
    assert schema_fingerprint(whole) == schema_fingerprint(by_hand)


def test_what_is_not_named_is_not_put_in() -> None:
    assert with_references(outer("string"), DEFINITIONS) == outer("string")
