"""The record schemas of every topic, one Avro file per record, loaded by name.

`names()` lists them, `path(name)` finds the file and `load(name)` parses its JSON. The files are the source
of truth: each field's `doc` gives its unit, and `"phi": true` marks a field that may hold protected health
information. `released/VERSION/` keeps every schema as that version of medstream published it:
`released(name)` gives them all, and readers accept what any of them wrote. How records become bytes is in
`schemas.serde` and `schemas.registry_serde`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import UnknownRelease, UnknownSchema

_DIRECTORY = Path(__file__).parent
_RELEASED = _DIRECTORY / "released"
_SUFFIX = ".avsc"


def names() -> tuple[str, ...]:
    """Names of all schemas, sorted: `audio_chunk`, `dead_letter`, ..."""
    return tuple(sorted(file.stem for file in _DIRECTORY.glob(f"*{_SUFFIX}")))


def path(name: str) -> Path:
    """Path of the schema's `.avsc` file. Raises UnknownSchema."""
    if name not in names():
        raise UnknownSchema(name, names())
    return _DIRECTORY / f"{name}{_SUFFIX}"


def load(name: str, version: str | None = None) -> dict[str, Any]:
    """The schema as written in its file, a new `dict` each time; with `version`, as released then.

    Raises UnknownSchema, UnknownRelease.
    """
    file = path(name)
    if version is not None:
        file = _RELEASED / version / file.name
        if version not in versions() or not file.exists():
            raise UnknownRelease(name, version, tuple(released(name)))
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def versions() -> tuple[str, ...]:
    """Versions of medstream whose schemas are kept, oldest first."""
    found = [folder.name for folder in _RELEASED.iterdir() if folder.is_dir()]
    return tuple(sorted(found, key=lambda version: [int(part) for part in version.split(".")]))


def released(name: str) -> dict[str, dict[str, Any]]:
    """The schema in every release that has it, by version, oldest first. Raises UnknownSchema."""
    file = path(name).name
    return {version: load(name, version) for version in versions() if (_RELEASED / version / file).exists()}
