"""Beam's own options: flags that are not ours, and `--beam-option` for file and environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, TypeAlias

import typer

BeamOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="An option of Beam's, NAME=VALUE; may be repeated. A flag --NAME=VALUE wins.",
        envvar="MEDSTREAM_BEAM_OPTION",
    ),
]
ResumeFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Go on from this savepoint or checkpoint of Flink (URI or path), or from the newest one below "
        "this folder.",
        envvar="MEDSTREAM_RESUME_FROM",
    ),
]


def beam_flags(options: Iterable[str] | None, flags: Sequence[str]) -> list[str]:
    """Beam's command line: `flags` as they are, and of `options` those whose names are not among them.

    NAME=true becomes the bare flag and NAME=false nothing, which is how Beam writes its switches.
    """
    given = {flag.split("=", 1)[0] for flag in flags}
    added = []
    for option in options or []:
        name, _, value = option.partition("=")
        flag = f"--{name.strip().lstrip('-')}"
        if flag in given or value == "false":
            continue
        added.append(flag if value in ("", "true") else f"{flag}={value}")
    return [*added, *flags]


def beam_flag(flags: Sequence[str], name: str) -> str | None:
    """The value of `--NAME=VALUE`, the last one; None without."""
    values = [flag.split("=", 1)[1] for flag in flags if flag.startswith(f"--{name}=")]
    return values[-1] if values else None
