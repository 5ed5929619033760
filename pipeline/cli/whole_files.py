"""Files with patient data: whole or not there, and readable by their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pipeline.errors import SettingsError


def write_whole(path: Path, content: bytes, *, setting: str) -> None:
    """Write the file in one go, in place of one that is there. Raises SettingsError that names `setting`."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".medstream-")  # for its owner only
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(setting, f"cannot write {path}: {error.strerror}") from None
