"""Whether records of one schema can be read with another, by Avro's rules of schema resolution. Pure.

`incompatibilities(reader, writer)` names every place where data of `writer` cannot be read as `reader`;
`release_problems` judges a schema against those released before it: it must read their records
(BACKWARD_TRANSITIVE), their readers must read its records, and no value may change its meaning.
https://avro.apache.org/docs/1.12.0/specification/#schema-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastavro import parse_schema

# What a reader of the key's type takes beside its own type.
_PROMOTIONS = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "enum", "fixed", "error")


def incompatibilities(reader: Any, writer: Any) -> list[str]:
    """One sentence for each place where data written as `writer` cannot be read as `reader`; none: all can.

    Both are schemas as JSON values. A union of the writer counts branch by branch: each must be readable.
    Raises what fastavro raises for a schema that is none.
    """
    return _compare(reader, writer, _resolution_problems)


def changed_meanings(reader: Any, writer: Any) -> list[str]:
    """Places where both agree on the bytes but not on what they mean: another logical type."""
    return _compare(reader, writer, _meaning_problems)


def release_problems(schema: Any, released: Mapping[str, Any]) -> list[str]:
    """Why `schema` must not follow the `released` ones (by version); nothing: it may."""
    problems = []
    for version, older in released.items():
        problems += [f"cannot read records of {version}: {why}" for why in incompatibilities(schema, older)]
        problems += [
            f"readers of {version} cannot read its records: {why}" for why in incompatibilities(older, schema)
        ]
        problems += [f"other than in {version}: {why}" for why in changed_meanings(schema, older)]
    return problems


_Judge = Callable[[Any, Any], Iterator[str]]
"""Says what is wrong between a reader's and a writer's type, without what they contain."""


def _compare(reader: Any, writer: Any, judge: _Judge) -> list[str]:
    reader_names: dict[str, Any] = {}
    writer_names: dict[str, Any] = {}
    parsed_reader = parse_schema(reader, named_schemas=reader_names)
    parsed_writer = parse_schema(writer, named_schemas=writer_names)
    walk = _Walk(reader_names, writer_names, judge)
    return list(dict.fromkeys(walk.compare(parsed_reader, parsed_writer, path="")))


class _Walk:
    """Both schemas side by side, as fastavro parsed them (all names are full); a pair of records once."""

    def __init__(self, reader_names: dict[str, Any], writer_names: dict[str, Any], judge: _Judge) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._judge = judge
        self._begun: set[tuple[str, str]] = set()

    def compare(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        reader, writer = _definition(reader, self._reader_names), _definition(writer, self._writer_names)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.compare(reader, branch, path)
            return
        if isinstance(reader, list):
            branches = [_definition(branch, self._reader_names) for branch in reader]
            chosen = _matching_branch(branches, writer)
            if chosen is None:
                names = ", ".join(_label(branch) for branch in branches)
                yield from _placed(path, self._judge([names], writer))
                return
            reader = chosen
        yield from _placed(path, self._judge(reader, writer))
        if _kind(reader) == _kind(writer):
            yield from self._compare_contents(reader, writer, path)

    def _compare_contents(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        match _kind(reader):
            case "array":
                yield from self.compare(reader["items"], writer["items"], f"{path}[]")
            case "map":
                yield from self.compare(reader["values"], writer["values"], f"{path}{{}}")
            case "record" | "error":
                pair = reader["name"], writer["name"]
                if pair not in self._begun:
                    self._begun.add(pair)
                    yield from self._compare_fields(reader, writer, path)

    def _compare_fields(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            found = _written_field(field, written)
            if found is not None:
                place = f"{path}.{field['name']}" if path else field["name"]
                yield from self.compare(field["type"], found["type"], place)


def _resolution_problems(reader: Any, writer: Any) -> Iterator[str]:
    kind, written = _kind(reader), _kind(writer)
    if isinstance(reader, list):
        yield f"{_label(writer)} is none of {reader[0]}"
    elif kind != written:
        if written not in _PROMOTIONS.get(kind, ()):
            yield f"{_label(writer)} cannot be read as {_label(reader)}"
    elif kind in _NAMED:
        if not _same_name(reader, writer):
            yield f"{_label(writer)} is not {_label(reader)}"
        yield from _named_type_problems(reader, writer)


def _named_type_problems(reader: Any, writer: Any) -> Iterator[str]:
    match _kind(reader):
        case "fixed":
            if reader["size"] != writer["size"]:
                yield f"{writer['size']} bytes cannot be read as {reader['size']}"
        case "enum":
            unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if unknown and "default" not in reader:
                yield f"the reader's enum has neither {', '.join(unknown)} nor a default"
        case _:
            written = {field["name"]: field for field in writer["fields"]}
            for field in reader["fields"]:
                if _written_field(field, written) is None and "default" not in field:
                    yield f"field {field['name']!r} is not written, and the reader has no default"


def _meaning_problems(reader: Any, writer: Any) -> Iterator[str]:
    if not isinstance(reader, list) and _logical(reader) != _logical(writer):
        yield f"logical type {_logical(writer) or 'none'} became {_logical(reader) or 'none'}"


def _matching_branch(branches: list[Any], writer: Any) -> Any:
    """The branch of a reader's union that reads `writer`: of the same type, else one it is promoted to."""
    same = [b for b in branches if _kind(b) == _kind(writer)]
    promoted = [b for b in branches if _kind(writer) in _PROMOTIONS.get(_kind(b), ())]
    if _kind(writer) in _NAMED:
        same = [b for b in same if _same_name(b, writer)]
    return next(iter([*same, *promoted]), None)


def _definition(schema: Any, names: Mapping[str, Any]) -> Any:
    """A reference to a named type as that type; whatever else as it is."""
    while True:
        if isinstance(schema, str) and schema in names:
            schema = names[schema]
        elif isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
            schema = schema["type"]
        elif isinstance(schema, dict) and schema["type"] in names:
            schema = names[schema["type"]]
        else:
            return schema


def _written_field(field: Any, written: Mapping[str, Any]) -> Any:
    names = (field["name"], *field.get("aliases", ()))
    return next((written[name] for name in names if name in written), None)


def _same_name(reader: Any, writer: Any) -> bool:
    """Unqualified names agree, or an alias of the reader is the writer's name."""
    accepted = {_short(name) for name in (reader["name"], *reader.get("aliases", ()))}
    return _short(writer["name"]) in accepted


def _kind(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _label(schema: Any) -> str:
    kind = _kind(schema)
    return f"{kind} {schema['name']}" if kind in _NAMED else kind


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _placed(path: str, problems: Iterator[str]) -> Iterator[str]:
    for problem in problems:
        yield f"{path}: {problem}" if path else problem
