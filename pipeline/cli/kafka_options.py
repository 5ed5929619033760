"""The options that say how to connect to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pipeline.errors import SettingsError

CommandConfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Java-style properties of the Kafka clients (TLS, SASL); read on every worker at this path.",
        envvar="MEDSTREAM_COMMAND_CONFIG",
    ),
]
ShipCommandConfig: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--ship-command-config",
        help="Send the contents of --command-config, secrets included, with the job, for workers without it.",
        envvar="MEDSTREAM_SHIP_COMMAND_CONFIG",
    ),
]
KafkaProperty: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="One Kafka client property, KEY=VALUE; may be repeated.")
]


def properties_of(pairs: list[str] | None) -> dict[str, str]:
    """The properties of KEY=VALUE pairs; raises SettingsError."""
    found = {}
    for pair in pairs or []:
        name, separator, value = pair.partition("=")
        if not separator:
            raise SettingsError("--kafka-property", f"{name!r} has no value; expected KEY=VALUE")
        found[name.strip()] = value
    return found
