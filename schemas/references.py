"""Schemas that a registry keeps in pieces, put together. Pure.

A registered schema may name types that other registered schemas define (`references`); a reader needs them
in one document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLACES = ("items", "values", "type")


def with_references(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """`schema` with each type of `definitions` (by full name) written out where it is first named."""
    return _Assembly(definitions).place(schema, "")


class _Assembly:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._missing = dict(definitions)

    def place(self, schema: Any, namespace: str) -> Any:
        if isinstance(schema, str):
            return self._place_name(schema, namespace)
        if isinstance(schema, list):
            return [self.place(branch, namespace) for branch in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(schema.get("name"), str):
            namespace = schema.get("namespace", schema["name"].rpartition(".")[0] or namespace)
        placed = dict(schema)
        for key in _PLACES:
            if key in placed:
                placed[key] = self.place(placed[key], namespace)
        if isinstance(placed.get("fields"), list):
            placed["fields"] = [
                {**field, "type": self.place(field["type"], namespace)} for field in placed["fields"]
            ]
        return placed

    def _place_name(self, name: str, namespace: str) -> Any:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        for candidate in (full, name):
            if candidate in self._missing:
                definition = self._missing.pop(candidate)
                return self.place(_named(definition, candidate), "")
        return name


def _named(definition: Any, full_name: str) -> Any:
    """A definition whose name is written out, whatever namespace surrounds the place."""
    if not isinstance(definition, dict):
        return definition
    namespace, _, name = full_name.rpartition(".")
    return {**definition, "namespace": namespace, "name": name}
