"""The options that say how to connect to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from connectors.kafka.configuration.properties import is_secret
from pipeline.errors import SettingsError

_COMMAND_LINE = "COMMANDLINE"  # of click's ParameterSource, which typer keeps to itself


def _no_secret_on_the_command_line(
    ctx: typer.Context, param: typer.CallbackParam, value: list[str] | None
) -> list[str] | None:
    """Whoever may list processes reads their command lines."""
    source = ctx.get_parameter_source(param.name or "")
    if value and source is not None and source.name == _COMMAND_LINE:
        for name, secret in properties_of(value).items():
            if is_secret(name, secret):
                raise SettingsError(
                    "--kafka-property",
                    f"{name} is a secret, and everybody on this machine can read command lines; put it into "
                    "the file of --command-config, or write a reference, ${file:...} or ${env:...}",
                )
    return value


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
    list[str] | None,
    typer.Option(
        help="One Kafka client property, KEY=VALUE; may be repeated. Secrets: by file or environment only.",
        envvar="MEDSTREAM_KAFKA_PROPERTY",
        callback=_no_secret_on_the_command_line,
    ),
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
