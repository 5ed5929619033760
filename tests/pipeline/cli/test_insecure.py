"""One rule for every command that connects: beyond this machine all is encrypted, but by `--insecure`.

The commands are found in the tree of commands, so a new one is held to it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from connectors.kafka.recordings.recording import RecordingWriter
from pipeline import cli

CLEARTEXT = {
    "--bootstrap-servers": ("broker.invalid:9092", "--bootstrap-servers"),
    "--endpoint-url": ("http://endpoint.invalid:8080", "--endpoint-url"),
    "--schema-registry-url": ("http://registry.invalid:8081", "--schema-registry-url"),
}
NEEDED = {  # what the command does not require, and does not connect without
    "export": ["--output-topic=finals", "--bootstrap-servers=127.0.0.1:1"],
    "record": ["--topic=audio"],
    "replay": ["--topic=audio"],
    "schemas check": ["--input-topic=audio"],
    "schemas register": ["--input-topic=audio"],
    "dlq retry": ["--all"],
    "jobs drain": ["--bootstrap-servers=127.0.0.1:1", "--input-topic=audio", "--output-topic=finals"],
}
NO_CONNECTION = ("config show",)  # they read settings, and print them
KAFKA_ONLY = ("jobs drain",)  # of the job's options it uses those


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the tree with its name, groups apart."""
    found = getattr(command, "commands", None)
    if found is None:
        yield name, command
        return
    for part, one in found.items():
        yield from commands(one, f"{name} {part}".strip())


def options_of(command: Any) -> dict[str, Any]:
    return {name: parameter for parameter in command.params for name in parameter.opts}


def cases() -> Iterator[Any]:
    for name, command in commands(get_command(cli.app)):
        for option in CLEARTEXT:
            if name in KAFKA_ONLY and option != "--bootstrap-servers":
                continue
            if option in options_of(command) and name not in NO_CONNECTION:
                yield pytest.param(name, option, id=f"{name} {option}")


def arguments_of(name: str, option: str, directory: Path) -> list[str]:
    """What the command needs beside the address that is wrong."""
    command = dict(commands(get_command(cli.app)))[name]
    needed = [part for part in NEEDED.get(name, []) if not part.startswith(option)]
    given = [*name.split(), f"{option}={CLEARTEXT[option][0]}", *needed]
    file = directory / ("new.avro" if name == "record" else "recording.avro")
    if name != "record":
        RecordingWriter.create(file, {}).finish()
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        spelling = "" if is_argument else parameter.opts[0]
        if not parameter.required or any(part.startswith(f"{spelling}=") for part in given if spelling):
            continue
        if is_argument:
            given.append(str(file))
        elif spelling == "--bootstrap-servers":
            given.append(f"{spelling}=127.0.0.1:1")
        else:
            given.append(f"{spelling}=x")
    if "--region" in options_of(command):
        given.append("--region=us-east-1")
    return given


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "synthetic")


@pytest.mark.parametrize(("name", "option"), list(cases()))
def test_cleartext_to_another_machine_is_refused(name: str, option: str, tmp_path: Path) -> None:
    command = dict(commands(get_command(cli.app)))[name]
    arguments = arguments_of(name, option, tmp_path)
    ended = CliRunner().invoke(cli.app, arguments)
    said = f"{ended.output} {ended.exception}"
    assert CLEARTEXT[option][1] in said
    assert "--insecure" in said, said
    assert ended.exit_code == 1, said
    assert "--insecure" in options_of(command) or name == "doctor"


def test_the_commands_that_connect_are_among_them() -> None:
    found = {case.values[0] for case in cases()}
    assert found >= {"run", "doctor", "consume", "export", "record", "replay", "transcribe", "dlq retry"}
