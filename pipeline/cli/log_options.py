"""The options of commands that say what is logged, and how."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pipeline.cli import logs
from pipeline.errors import SettingsError
from pipeline.observability.json_logs import FORMAT_VARIABLE, FORMATS

LogLevel: TypeAlias = Annotated[
    str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.", envvar="MEDSTREAM_LOG_LEVEL")
]
LogFormat: TypeAlias = Annotated[
    str,
    typer.Option(
        help="text, or json: one object a line, with listed fields only; a job's workers do the same.",
        envvar=FORMAT_VARIABLE,
    ),
]


def configure_logs(level: str, format_: str) -> None:
    """Raises SettingsError for a level or format that there is not."""
    if format_ not in FORMATS:
        raise SettingsError("--log-format", f"{format_!r} is not one of {', '.join(FORMATS)}")
    try:
        logs.configure(level, format_)
    except ValueError as error:
        raise SettingsError("--log-level", str(error)) from None
