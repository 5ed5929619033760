"""Readers and writers by Avro's rules of resolution: pairs that fit, and pairs that do not."""

from __future__ import annotations

from typing import Any


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, type_: Any = "int", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


TREE = record(field("next", ["null", "R"], default=None))
COMPATIBLE = [
    ("long", "int"),
    ("float", "long"),
    ("double", "int"),
    ("double", "float"),
    ("string", "bytes"),
    ("bytes", "string"),
    (["null", "long"], "int"),
    (["null", "long"], ["int", "null"]),
    ("long", ["int", "long"]),
    ({"type": "string"}, "string"),
    (record(), record(field("a"))),
    (record(field("a", default=1)), record()),
    (record(field("b", aliases=["a"])), record(field("a"))),
    (record(name="x.R"), record(name="y.R")),
    (record(name="New", aliases=["R"]), record()),
    (enum("A", default="A"), enum("A", "B")),
    (enum("A", "B"), enum("B")),
    (record(field("a", enum("A")), field("b", "E")), record(field("a", enum("A")), field("b", "E"))),
    (TREE, TREE),
]
INCOMPATIBLE = [
    ("int", "long", "long cannot be read as int"),
    ("float", "double", "double cannot be read as float"),
    ("int", ["null", "int"], "null cannot be read as int"),
    (["null", "string"], ["null", "int"], "int is none of null, string"),
    (record(field("a")), record(), "field 'a' is not written"),
    (record(), record(name="S"), "record S is not record R"),
    (enum("A"), enum("A", "B"), "neither B nor a default"),
    (
        {"type": "fixed", "name": "F", "size": 2},
        {"type": "fixed", "name": "F", "size": 3},
        "3 bytes cannot be read as 2",
    ),
    (
        record(field("a", {"type": "array", "items": "int"})),
        record(field("a", {"type": "array", "items": "long"})),
        "a[]: ",
    ),
    (
        record(field("a", {"type": "map", "values": "int"})),
        record(field("a", {"type": "map", "values": "long"})),
        "a{}: ",
    ),
    (
        record(field("a", ["null", record(field("b"), name="S")])),
        record(field("a", ["null", record(name="S")])),
        "a: field 'b'",
    ),
    (record(field("n", ["null", "R"]), field("a")), record(field("n", ["null", "R"])), "field 'a'"),
    (
        record(field("a", enum("A")), field("b", "E")),
        record(field("a", enum("A")), field("b", "string")),
        "b: string cannot",
    ),
]
