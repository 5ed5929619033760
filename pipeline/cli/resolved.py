"""Each setting of a job as it holds, with its source; secrets masked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from connectors.kafka.configuration.properties import NAMES, is_secret
from connectors.kafka.configuration.property_files import read_properties
from connectors.kafka.errors import KafkaConnectorError
from connectors.transcribe.credentials import resolve_region
from connectors.transcribe.errors import TranscribeError
from pipeline.cli.job_options import job_topics
from pipeline.cli.registry_options import SECRET_VARIABLES
from pipeline.cli.settings_file import configurable_commands, option_key

MASK = "********"
DEFAULT, FILE, ENVIRONMENT, FLAG = "default", "file", "environment", "flag"
_SOURCES = {"COMMANDLINE": FLAG, "ENVIRONMENT": ENVIRONMENT, "DEFAULT_MAP": FILE, "DEFAULT": DEFAULT}
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_NAME = re.compile(r"(?i)secret|password|passwd|token|credential|private|access_?key")
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Resolved:
    """One setting. `source` is default, file, environment or flag; `where` the file or the variable.

    `value` None: not set.
    """

    name: str
    value: Any
    source: str
    where: str | None = None

    @property
    def shown(self) -> str:
        """The value as TOML writes it."""
        return "(not set)" if self.value is None else json.dumps(self.value, ensure_ascii=False)

    @property
    def origin(self) -> str:
        """Source and place in words."""
        return self.source if self.where is None else f"{self.source} {self.where}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "value": self.value, "source": self.source, "where": self.where}


def resolved_settings(
    ctx: typer.Context, parameters: Iterable[Any], values: Mapping[str, Any]
) -> list[Resolved]:
    """Every option of `parameters`, then what the properties file and the flags for Beam say."""
    file = ctx.params.get("config") or values.get("config")
    rows = []
    for parameter in parameters:
        value, name = values[parameter.name], option_key(parameter)
        source = _SOURCES[getattr(ctx.get_parameter_source(parameter.name), "name", "DEFAULT")]
        where = _variable(parameter) if source == ENVIRONMENT else str(file) if source == FILE else None
        if value is None or value == ():
            rows.append(_default_of(name, values))
        else:
            rows.append(Resolved(name, _masked(name, value), source, where))
    return [*rows, *_properties(values), *_registry_secrets(), *_beam_flags(ctx.args)]


def misspelt_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each MEDSTREAM_ variable that nothing reads but that looks like one.

    Not an error: Kubernetes sets variables of its own for a service called medstream.
    """
    found = os.environ if environment is None else environment
    known = sorted({*SECRET_VARIABLES, *_known_variables()})
    suffixes = [name.removeprefix("MEDSTREAM_") for name in known if name.startswith("MEDSTREAM_")]
    said = []
    for name in sorted(found):
        if not name.startswith("MEDSTREAM_") or name in known:
            continue
        near = get_close_matches(name.removeprefix("MEDSTREAM_"), suffixes, n=1, cutoff=_NEAR)
        if near:
            said.append(f"{name} is no setting; did you mean MEDSTREAM_{near[0]}?")
    return said


def _known_variables() -> Iterator[str]:
    for options in configurable_commands().values():
        for option in options.values():
            yield from _variables(option)
    yield "MEDSTREAM_CONFIG"


def _variables(parameter: Any) -> Sequence[str]:
    if parameter.envvar is None:
        return ()
    return (parameter.envvar,) if isinstance(parameter.envvar, str) else parameter.envvar


def _variable(parameter: Any) -> str | None:
    return next((name for name in _variables(parameter) if os.environ.get(name)), None)


def _default_of(name: str, values: Mapping[str, Any]) -> Resolved:
    """What stands for an option that nobody set, where that depends on others."""
    if name == "region":
        return _region(values.get("profile"))
    derived: str | None = None
    if values.get("input_topic") and name == "dead-letter-topic":
        derived = f"{values['input_topic']}.dead-letters"
    if values.get("output_topic"):
        topics = job_topics({**values, "input_topic": values.get("input_topic") or ""})
        derived = {"progress-topic": topics.progress, "sink-id": topics.finals}.get(name, derived)
    return Resolved(name, derived, DEFAULT)


def _region(profile: str | None) -> Resolved:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable):
            return Resolved("region", os.environ[variable], ENVIRONMENT, variable)
    try:
        return Resolved("region", resolve_region(None, profile), FILE, "of AWS profiles")
    except TranscribeError:
        return Resolved("region", None, DEFAULT)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_masked_pair(name, str(item)) for item in value]
    if isinstance(value, Path):
        return str(value)
    return _USER_INFO.sub(MASK, value) if isinstance(value, str) else value


def _masked_pair(option: str, pair: str) -> str:
    name, separator, value = pair.partition("=")
    if option == "kafka-property":
        return f"{name}{separator}{_property(name.strip(), value)}"
    return f"{name}{separator}{_flag_value(name, value)}"


def _property(name: str, value: str) -> str:
    """A property that nobody knows may be a password's name misspelt."""
    known = name in NAMES or name.startswith("config.providers")
    return MASK if is_secret(name, value) or not known else _USER_INFO.sub(MASK, value)


def _flag_value(name: str, value: str) -> str:
    return MASK if value and _SECRET_NAME.search(name) else _USER_INFO.sub(MASK, value)


def _properties(values: Mapping[str, Any]) -> Iterator[Resolved]:
    path = values.get("command_config")
    if path is None:
        return
    try:
        found = read_properties(str(path))
    except KafkaConnectorError as error:
        yield Resolved("command-config properties", f"({error})", FILE, str(path))
        return
    for name, value in found.items():
        yield Resolved(f"kafka {name}", _property(name, value), FILE, str(path))


def _registry_secrets() -> Iterator[Resolved]:
    for variable in SECRET_VARIABLES:
        if os.environ.get(variable):
            name = variable.removeprefix("MEDSTREAM_").lower().replace("_", "-")
            yield Resolved(name, MASK, ENVIRONMENT, variable)


def _beam_flags(flags: Iterable[str]) -> Iterator[Resolved]:
    for flag in flags:
        name, separator, value = flag.partition("=")
        yield Resolved(f"beam {name}", _flag_value(name, value) if separator else True, FLAG)
