"""A commented settings file with every option of a command, made from its help: never behind the code."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pipeline.cli.settings_file import option_key, options_of

_HEAD = """\
# Settings of medstream, for `--config FILE` or MEDSTREAM_CONFIG. The environment (MEDSTREAM_...) overrules
# this file, flags overrule both; `medstream config show --config FILE` shows what holds and why.
#
# What stands here, at the top, holds for every command that has the option: transcribe, schemas, doctor ...
# What stands in a table, [run] for instance, holds for that command alone, and wins. Paths are relative to
# this file. Secrets belong into the properties files of command-config and schema-registry-config.
"""
_WIDTH = 110
_EXAMPLES = {
    "bootstrap-servers": "broker-1:9093,broker-2:9093",
    "input-topic": "audio",
    "output-topic": "finals",
    "region": "us-east-1",
    "endpoint-url": "http://127.0.0.1:8080",
    "command-config": "client.properties",
    "schema-registry-url": "https://registry:8081",
    "schema-registry-config": "registry.properties",
}
_TABLES = {
    "kafka-property": '"compression.type" = "gzip"',
    "beam-option": 'runner = "PortableRunner"\n# job_endpoint = "localhost:8099"\n# parallelism = 4',
}


def example(command: Any) -> str:
    """The file: tables come last, since in TOML whatever follows a table belongs to it."""
    options = {option_key(option): option for option in options_of(command).values()}
    parts = [_HEAD]
    parts += [_setting(key, option) for key, option in options.items() if not option.multiple]
    parts += [_table(key, option) for key, option in options.items() if option.multiple]
    return "\n".join(parts)


def _setting(key: str, option: Any) -> str:
    return (
        f"{_comment(option)}\n{'' if option.required else '# '}{key} = {json.dumps(_sample(key, option))}\n"
    )


def _table(key: str, option: Any) -> str:
    return f"{_comment(option)}\n# [{key}]\n# {_TABLES[key]}\n"


def _comment(option: Any) -> str:
    text = f"{option.help}{' Required.' if option.required else ''}"
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _sample(key: str, option: Any) -> Any:
    if key in _EXAMPLES:
        return _EXAMPLES[key]
    if option.default is not None:
        return option.default
    kinds = {bool: False, int: 16_000, float: 1.0}
    return kinds.get(option.type_descriptor.annotation, "...")
