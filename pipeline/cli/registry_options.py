"""The options that say which schema registry, and how to use it; the same for every subcommand that does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from connectors.kafka.configuration.properties import parse_properties
from pipeline.errors import SettingsError
from schemas.registry_settings import TOKEN, USER_INFO, registry_settings
from schemas.serdes import SerdeSettings
from schemas.subjects import STRATEGIES, TOPIC_NAME, read_strategy

_PANEL = "Schema registry"
SECRET_VARIABLES = {
    "MEDSTREAM_SCHEMA_REGISTRY_USER_INFO": USER_INFO,
    "MEDSTREAM_SCHEMA_REGISTRY_TOKEN": TOKEN,
}

SchemaRegistryUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Registry with Confluent's API: values are then in its wire format. Addresses by comma.",
        envvar="MEDSTREAM_SCHEMA_REGISTRY_URL",
        rich_help_panel=_PANEL,
    ),
]
SchemaRegistryConfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Java-style properties of the registry's client (TLS, basic or bearer auth).",
        envvar="MEDSTREAM_SCHEMA_REGISTRY_CONFIG",
        rich_help_panel=_PANEL,
    ),
]
SubjectNameStrategy: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"Names of the subjects: {', '.join(STRATEGIES)}; {TOPIC_NAME} without.",
        envvar="MEDSTREAM_SUBJECT_NAME_STRATEGY",
        rich_help_panel=_PANEL,
    ),
]
AutoRegisterSchemas: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--auto-register-schemas",
        help="Register schemas that a subject lacks; else the job refuses to start.",
        envvar="MEDSTREAM_AUTO_REGISTER_SCHEMAS",
        rich_help_panel=_PANEL,
    ),
]


def serde_settings(
    url: str | None,
    config: Path | None,
    strategy: str | None = None,
    *,
    auto_register: bool = False,
    insecure: bool = False,
) -> SerdeSettings:
    """The options as one value; without `url` and `config` there is no registry.

    Raises SettingsError, RegistrySettingError. Options win over the file, the file's secrets over those of
    MEDSTREAM_SCHEMA_REGISTRY_USER_INFO and MEDSTREAM_SCHEMA_REGISTRY_TOKEN.
    """
    if url is None and config is None:
        _refuse_without_registry(strategy, auto_register=auto_register)
        return SerdeSettings()
    properties = {} if config is None else _read_file(config)
    if not any(name.endswith((USER_INFO, TOKEN)) for name in properties):
        properties |= {name: os.environ[v] for v, name in SECRET_VARIABLES.items() if os.environ.get(v)}
    origin = "the environment" if config is None else f"{config} (--schema-registry-config)"
    read = registry_settings(properties, origin, url=url, insecure=insecure)
    if strategy is not None:
        chosen = read_strategy(strategy, "--subject-name-strategy")
    else:
        chosen = read.subject_name_strategy or TOPIC_NAME
    return SerdeSettings(read.registry, chosen, auto_register or bool(read.auto_register))


def _refuse_without_registry(strategy: str | None, *, auto_register: bool) -> None:
    for option, given in (
        ("--subject-name-strategy", strategy is not None),
        ("--auto-register-schemas", auto_register),
    ):
        if given:
            raise SettingsError(option, "needs a registry: set --schema-registry-url")


def _read_file(path: Path) -> dict[str, str]:
    try:
        return parse_properties(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("--schema-registry-config", f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError("--schema-registry-config", f"cannot read {path}: it is not UTF-8") from None
    except ValueError as error:  # names the line, never its text
        raise SettingsError("--schema-registry-config", f"cannot read {path}: {error}") from None
