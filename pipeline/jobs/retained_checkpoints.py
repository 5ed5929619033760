"""Which checkpoint or savepoint a job is resumed from: one that is named, or the newest below a folder.

Flink keeps checkpoints as `CHECKPOINTS/JOB/chk-N` and savepoints as `SAVEPOINTS/savepoint-…`; either is
complete once it has a file `_metadata`. Source: Flink 1.19, "Checkpoints", "Directory Structure".
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import NoCheckpoint

_METADATA = "_metadata"
_DEPTHS = ("*", "*/*")  # CHECKPOINTS/JOB, or CHECKPOINTS


def resume_path(place: str) -> str:
    """The URI for Beam's `--savepoint_path`. `place`: a URI or path of a checkpoint or savepoint, or, on a
    file system of this machine, of a folder with some. Raises NoCheckpoint.

    What lies elsewhere (`s3://…`) is taken as it is: Flink will say what it makes of it.
    """
    parts = urlsplit(place)
    if parts.scheme not in ("", "file"):
        return place
    folder = Path(unquote(parts.path)).absolute()
    if (folder / _METADATA).is_file():
        return folder.as_uri()
    found = [file for depth in _DEPTHS for file in folder.glob(f"{depth}/{_METADATA}")]
    newest = max(found, key=lambda file: file.stat().st_mtime_ns, default=None)
    if newest is None:
        raise NoCheckpoint(place)
    return newest.parent.as_uri()
