"""Avro for Hypothesis: records of any schema, versions a schema may or must not have next, pairs of schemas.

`witnesses(schema)` are the few values that between them meet every branch, symbol and field, so that a place
where two schemas disagree is met by one of them.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MOMENTS = st.datetimes(min_value=dt.datetime(1970, 1, 2), timezones=st.just(dt.UTC))
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, width=32),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=200),
    "string": st.text(max_size=30),
}
WITNESSES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True],
    "int": [7],
    "long": [2**40],
    "float": [0.5],
    "double": [0.1],
    "bytes": [b"bytes"],
    "string": ["string"],
}


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Values of a schema whose named types are defined where they are used."""
    if isinstance(schema, list):
        return st.one_of([values(branch) for branch in schema])
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    match schema["type"]:
        case "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema["fields"]})
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values(schema["items"]), max_size=4)
        case "map":
            return st.dictionaries(st.text(max_size=8), values(schema["values"]), max_size=3)
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case "long" if schema.get("logicalType") == "timestamp-micros":
            return MOMENTS
    return values(schema["type"])


def witnesses(schema: Any) -> list[Any]:
    """Values that together meet everything in `schema`; arrays and maps have one element."""
    if isinstance(schema, list):
        return [value for branch in schema for value in witnesses(branch)]
    if isinstance(schema, str):
        return WITNESSES[schema]
    match schema["type"]:
        case "record":
            columns = {field["name"]: witnesses(field["type"]) for field in schema["fields"]}
            rows = max((len(column) for column in columns.values()), default=1)
            return [
                {name: column[row % len(column)] for name, column in columns.items()} for row in range(rows)
            ]
        case "enum":
            return list(schema["symbols"])
        case "array":
            return [[value] for value in witnesses(schema["items"])]
        case "map":
            return [{"key": value} for value in witnesses(schema["values"])]
        case "fixed":
            return [bytes(schema["size"])]
    return witnesses(schema["type"])


# Schemas and what becomes of them ---------------------------------------------------------------------------

_NAMES = st.sampled_from(["alpha", "beta", "gamma"])
_SYMBOLS = st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=1, max_size=3, unique=True)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """A schema; each named type gets a name of its own."""
    counter = iter(range(1000))
    return _draw_schema(draw, depth, lambda: f"Type{next(counter)}")


def _draw_schema(draw: st.DrawFn, depth: int, new_name: Callable[[], str]) -> Any:
    kinds = ["primitive", "enum", "fixed"] + (
        ["record", "record", "array", "map", "optional"] if depth else []
    )
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "enum":
            schema = {"type": "enum", "name": new_name(), "symbols": draw(_SYMBOLS)}
            return schema | ({"default": schema["symbols"][0]} if draw(st.booleans()) else {})
        case "fixed":
            return {"type": "fixed", "name": new_name(), "size": draw(st.integers(1, 3))}
        case "record":
            name = new_name()
            names = draw(st.lists(_NAMES, max_size=3, unique=True))
            fields = [{"name": n, "type": _draw_schema(draw, depth - 1, new_name)} for n in names]
            return {"type": "record", "name": name, "fields": fields}
        case "array":
            return {"type": "array", "items": _draw_schema(draw, depth - 1, new_name)}
        case "map":
            return {"type": "map", "values": _draw_schema(draw, depth - 1, new_name)}
        case "optional":
            return ["null", draw(st.sampled_from(["int", "string", "double"]))]
    return draw(st.sampled_from(sorted(PRIMITIVES)))


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """The schema with some changes, compatible or not, anywhere in it."""
    return _change(draw, copy.deepcopy(schema))


def _change(draw: st.DrawFn, schema: Any) -> Any:
    if isinstance(schema, list):
        return draw(
            st.sampled_from([schema, [*schema, "boolean"], schema[:1], list(reversed(schema)), schema[1]])
        )
    if isinstance(schema, str):
        other = draw(st.sampled_from(sorted(PRIMITIVES)))
        optional = ["null", schema] if schema != "null" else schema
        return draw(st.sampled_from([schema, schema, schema, other, optional]))
    kind = schema["type"]
    if kind in ("record", "enum", "fixed") and draw(st.integers(0, 7)) == 0:
        schema |= {"name": f"New{schema['name']}"} | (
            {"aliases": [schema["name"]]} if draw(st.booleans()) else {}
        )
    if kind == "record":
        schema["fields"] = _changed_fields(draw, schema["fields"])
    elif kind == "enum":
        schema["symbols"] = draw(st.sampled_from([schema["symbols"], draw(_SYMBOLS)]))
        if schema.get("default") not in schema["symbols"]:
            schema.pop("default", None)
    elif kind == "fixed":
        schema["size"] = draw(st.sampled_from([schema["size"], schema["size"], 4]))
    else:
        place = "items" if kind == "array" else "values"
        schema[place] = _change(draw, schema[place])
    return schema


def _changed_fields(draw: st.DrawFn, fields: list[Any]) -> list[Any]:
    found = []
    for field in fields:
        match draw(st.integers(0, 9)):
            case 0:
                continue
            case 1:
                found.append({**field, "name": f"new_{field['name']}", "aliases": [field["name"]]})
            case 2:
                found.append({**field, "name": f"other_{field['name']}"})
            case _:
                found.append({**field, "type": _change(draw, field["type"])})
    if draw(st.integers(0, 3)) == 0:
        added = {"name": "added", "type": "int"}
        found.append(added | ({"default": 1} if draw(st.booleans()) else {}))
    return found


# The next version of a schema of ours -----------------------------------------------------------------------


def records_and_enums(schema: Any) -> Iterator[dict[str, Any]]:
    """Every record and enum in `schema`, itself first; the very objects, to be changed in place."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_and_enums(branch)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum"):
            yield schema
        for field in schema.get("fields", ()):
            yield from records_and_enums(field["type"])
        for place in ("items", "values"):
            yield from records_and_enums(schema.get(place))


@st.composite
def next_versions(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` after changes that the rules of evolution allow."""
    newer = copy.deepcopy(schema)
    for number, part in enumerate(records_and_enums(newer)):
        if part["type"] == "record" and draw(st.booleans()):
            default, kind = draw(st.sampled_from([(None, ["null", "string"]), (0, "long"), ("", "string")]))
            added = {"name": f"added_{number}", "type": kind, "default": default, "doc": "Something new."}
            part["fields"].insert(draw(st.integers(0, len(part["fields"]))), added)
        elif part["type"] == "enum" and "default" in part and draw(st.booleans()):
            part["symbols"] = [*part["symbols"], f"ADDED_{number}"]
        if draw(st.booleans()):
            part["doc"] = "Told anew."
    return newer
