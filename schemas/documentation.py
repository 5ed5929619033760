"""The page of all records (`RECORDS.md`), made from the schemas. Pure.

`medstream schemas document > schemas/RECORDS.md` writes it again; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import schemas
from schemas.codec import schema_fingerprint

_HEAD = """# Records

Every record that medstream reads or writes, made from the `.avsc` files by `medstream schemas document`:
do not edit. [README.md](README.md) says which topic carries what, and what a consumer can rely on. **PHI**
marks fields that may hold protected health information. A field with a default may be missing in the
writer's schema; readers get the default.

"""


def records_page() -> str:
    """The whole page, Markdown."""
    names = schemas.names()
    parts = [_HEAD, "| record | schema | fingerprint on the wire | of releases |\n|---|---|---|---|\n"]
    parts += [f"{_index_row(name)}\n" for name in names]
    parts += [section for name in names for section in _record(name)]
    return "".join(parts)


def _index_row(name: str) -> str:
    schema = schemas.load(name)
    released = schemas.released(name).items()
    versions = ", ".join(f"{v}: `{schema_fingerprint(older).hex()}`" for v, older in released) or "none"
    anchor = schema["name"].lower()
    fingerprint = schema_fingerprint(schema).hex()
    return f"| [{schema['name']}](#{anchor}) | [`{name}`]({name}.avsc) | `{fingerprint}` | {versions} |"


def _record(name: str) -> Iterator[str]:
    schema = schemas.load(name)
    yield f"\n## {schema['name']}\n`{schema['namespace']}.{schema['name']}` · {_cell(schema['doc'])}\n\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|\n"
    yield from _rows(schema, "")
    for named in _enums(schema):
        symbols = ", ".join(f"`{symbol}`" for symbol in named["symbols"])
        yield f"\n*{named['name']}*: {symbols}. {_cell(named['doc'])}\n"


def _rows(record: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for field in record["fields"]:
        path = f"{prefix}{field['name']}"
        tag = "**PHI** " if field.get("phi") else ""
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        yield f"| `{path}` | {_type(field['type'])} | {default} | {tag}{_cell(field['doc'])} |\n"
        inner, suffix = _inner_record(field["type"])
        if inner is not None:
            yield from _rows(inner, f"{path}{suffix}.")


def _inner_record(schema: Any) -> tuple[Any, str]:
    """The record inside a field's type, and how a path shows what is around it."""
    if isinstance(schema, list):
        found = [_inner_record(branch) for branch in schema]
        return next((pair for pair in found if pair[0] is not None), (None, ""))
    if isinstance(schema, dict):
        if schema["type"] == "record":
            return schema, ""
        if schema["type"] == "array":
            inner, suffix = _inner_record(schema["items"])
            return inner, f"[]{suffix}"
        if schema["type"] == "map":
            inner, suffix = _inner_record(schema["values"])
            return inner, f"{{}}{suffix}"
    return None, ""


def _type(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return " or ".join(_type(branch) for branch in schema)
    match schema["type"]:
        case "array":
            return f"array of {_type(schema['items'])}"
        case "map":
            return f"map of {_type(schema['values'])}"
        case "record" | "enum":
            return f"*{schema['name']}*"
    logical = f" ({schema['logicalType']})" if "logicalType" in schema else ""
    return f"{schema['type']}{logical}"


def _enums(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _enums(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "enum":
            yield schema
        for field in schema.get("fields", ()):
            yield from _enums(field["type"])
        for place in ("items", "values"):
            yield from _enums(schema.get(place))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
