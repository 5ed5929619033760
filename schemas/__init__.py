"""The record schemas of every topic, one Avro file per record, loaded by name.

`names()` lists them, `path(name)` finds the file and `load(name)` parses its JSON. The files are the source
of truth: each field's `doc` gives its unit, and `"phi": true` marks a field that may hold protected health
information. How records become bytes is in `schemas.serde`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import UnknownSchema

_DIRECTORY = Path(__file__).parent
_SUFFIX = ".avsc"


def names() -> tuple[str, ...]:
    """Names of all schemas, sorted: `audio_chunk`, `dead_letter`, ..."""
    return tuple(sorted(file.stem for file in _DIRECTORY.glob(f"*{_SUFFIX}")))


def path(name: str) -> Path:
    """Path of the schema's `.avsc` file. Raises UnknownSchema."""
    if name not in names():
        raise UnknownSchema(name, names())
    return _DIRECTORY / f"{name}{_SUFFIX}"


def load(name: str) -> dict[str, Any]:
    """The schema as written in its file, a new `dict` each time. Raises UnknownSchema."""
    schema: dict[str, Any] = json.loads(path(name).read_text(encoding="utf-8"))
    return schema
