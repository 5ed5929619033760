"""The template's parameters: the options of `medstream run`, under the names that Dataflow's tools use.

`input_topic` is `--input-topic`. Dataflow has a `--region` of its own, so AWS's is `aws_region` there.
Options that may be repeated are no parameters; those that name a file mean one of the image.

`python -m deploy.dataflow.parameters` prints the template's metadata, `metadata.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from connectors.transcribe.endpoint import TRANSPORTS
from pipeline.cli import run
from pipeline.settings import DELIVERIES

REGION, AWS_REGION = "region", "aws_region"

_NOT_HERE = frozenset(
    {"config", "beam_option", "profile", "log_level", "help", "install_completion", "show_completion"}
    | {"resume_from"}  # of Flink
)
_TOPIC = "^[a-zA-Z0-9._-]{1,249}$"
_NUMBERS = {int: "^[0-9]+$", float: r"^[0-9]+(\.[0-9]+)?$", bool: "^(true|false)$"}
_PATTERNS = {
    "bootstrap_servers": "^[^,:]+:[0-9]+(,[^,:]+:[0-9]+)*$",
    "start_from": "^(committed|earliest|latest|timestamp:.+)$",
    "on_lost_offsets": "^(fail|skip)$",
    "on_sequence_restart": "^(continue|dead-letter)$",
    "subject_name_strategy": "^(TopicNameStrategy|TopicRecordNameStrategy)$",
    "type": "^(CONVERSATION|DICTATION)$",
    "endpoint_url": "^https?://.+$",
    "schema_registry_url": "^https?://.+$",
    "delivery": f"^({'|'.join(DELIVERIES)})$",
    "transport": f"^({'|'.join(TRANSPORTS)})$",
    AWS_REGION: "^[a-z]{2}(-[a-z]+)+-[0-9]$",
}


def metadata() -> dict[str, Any]:
    """The template's metadata, as Dataflow's documentation describes it."""
    return {
        "name": "medstream",
        "description": "Live medical transcription: audio chunks from Kafka, Amazon Transcribe Medical "
        "streams, finals in Avro on Kafka.",
        "streaming": True,
        "supportsAtLeastOnce": False,  # that mode may update a session's state twice
        "supportsExactlyOnce": True,
        "parameters": [_described(name, option) for name, option in _parameters()],
    }


def command_line(given: Sequence[str]) -> list[str]:
    """The command line of `medstream run` for what the launcher passes on, `--name=value` each."""
    own = dict(_parameters())
    return [argument for flag in given for argument in _translated(flag, own)]


def _translated(flag: str, own: dict[str, Any]) -> Iterator[str]:
    name, _, value = flag.removeprefix("--").partition("=")
    if name == REGION:
        yield f"--beam-option={REGION}={value}"
    elif name not in own:
        yield flag
    elif not own[name].is_flag:
        yield f"{own[name].opts[0]}={value}"
    elif value != "false":
        yield str(own[name].opts[0])


def _parameters() -> Iterator[tuple[str, Any]]:
    """(name on Dataflow, option of `medstream run`)."""
    command: Any = get_command(run.app)
    for option in command.params:
        if option.name not in _NOT_HERE and not option.multiple:
            name = option.opts[0].removeprefix("--").replace("-", "_")
            yield AWS_REGION if name == REGION else name, option


def _described(name: str, option: Any) -> dict[str, Any]:
    kind = option.type_descriptor.annotation
    pattern = _PATTERNS.get(name) or (_TOPIC if name.endswith("_topic") else _NUMBERS.get(kind))
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": f"{option.help}{' A file of the image.' if kind is Path else ''}",
        "isOptional": not option.required,
        **({"regexes": [pattern]} if pattern else {}),
    }


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2))
