"""Properties as they are now: the file of `--command-config` and what its values refer to.

A file that is replaced (a rotated password, a mounted secret) is read anew whenever a client connects, so
nothing here is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from connectors.kafka.configuration.config_providers import is_provider_property, resolve
from connectors.kafka.configuration.properties import Value, parse_properties, to_settings
from connectors.kafka.errors import UnreadableCommandConfig

SINGLE = "--kafka-property"


def read_properties(path: str) -> dict[str, str]:
    """Names and values of a properties file, references unresolved. Raises UnreadableCommandConfig."""
    try:
        return parse_properties(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = (
            "there is no such file on this machine; every worker needs it at this path, or submit with "
            "--ship-command-config"
        )
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except ValueError as error:
        problem = str(error)
    raise UnreadableCommandConfig(path, problem)


def settings_of(in_file: Mapping[str, str], path: str | None, single: Mapping[str, str]) -> dict[str, Value]:
    """Settings of both; single properties win. Raises UnknownProperty, InvalidProperty."""
    settings: dict[str, Value] = {}
    providers = {name: value for name, value in {**in_file, **single}.items() if is_provider_property(name)}
    for properties, origin in ((in_file, f"{path} (--command-config)"), (single, SINGLE)):
        settings |= to_settings(resolve(properties, origin, _read_reference, providers), origin)
    return settings


def _read_reference(provider: str, path: str, key: str) -> str:
    """What a reference stands for; raises ValueError without quoting any of it."""
    if provider == "EnvVarConfigProvider":
        if key not in os.environ:
            raise ValueError(f"there is no environment variable {key}")
        return os.environ[key]
    try:
        if provider == "DirectoryConfigProvider":
            return (Path(path) / key).read_text(encoding="utf-8").rstrip("\r\n")
        found = parse_properties(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if key not in found:
        raise ValueError(f"{path} has no {key}")
    return found[key]
