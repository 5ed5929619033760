"""The `medstream` command: one module per subcommand; other packages plug theirs in by entry point.

Imports go one way, so the subcommands of `deploy` (local stack, endpoint, demo) are not imported here: they
register in the entry point group `medstream.commands`. One whose extra is not installed says so when it is
called.

Exit codes: 0 success, 1 a setting or a service is wrong (one sentence on standard error), 2 wrong usage, 130
interrupted. `transcribe` tells more kinds of failure apart (`exit_codes`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from connectors.kafka.errors import KafkaConnectorError
from connectors.transcribe.errors import TranscribeError
from pipeline.cli import (
    config,
    consume,
    dlq,
    doctor,
    export,
    inspect,
    jobs,
    record,
    replay,
    run,
    schemas,
    transcribe,
    watch,
)
from pipeline.errors import PipelineError, SettingsError
from schemas.errors import SchemaError

COMMAND_GROUP = "medstream.commands"
BUILT_IN = (
    *("config", "consume", "dlq", "doctor", "export", "inspect", "jobs"),
    *("record", "replay", "run", "schemas", "transcribe", "watch"),
)
EXPECTED_ERRORS = (PipelineError, KafkaConnectorError, SchemaError, TranscribeError)

app = typer.Typer(
    name="medstream",
    help="Live medical transcription as a streaming pipeline: Kafka audio in, Avro finals out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for _built_in in (run, doctor, consume, watch, export, record, replay, inspect, transcribe):
    app.add_typer(_built_in.app)  # without a name: its command becomes one of the root
app.add_typer(dlq.app, name="dlq")
app.add_typer(jobs.app, name="jobs")
app.add_typer(schemas.app, name="schemas")
app.add_typer(config.app, name="config")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"medstream {version('medstream')}")
        raise typer.Exit


@app.callback()
def root(
    _version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Options of every subcommand."""


def _load(entry_point: EntryPoint) -> typer.Typer:
    try:
        plugin: typer.Typer = entry_point.load()
    except ModuleNotFoundError as error:
        return _missing_extra(entry_point.name, error.name or "a package")
    return plugin


def _is_one_command(plugin: typer.Typer) -> bool:
    """Whether it is no group but a command, which has its own name and becomes one of the root."""
    return not plugin.registered_callback and len(plugin.registered_commands) == 1


class _AnyArguments(TyperGroup):
    """A command that takes whatever it is called with, its subcommands' names and options too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args[:0])


def _missing_extra(command: str, module: str) -> typer.Typer:
    """A command that tells how to get the real one."""
    stand_in = typer.Typer()

    @stand_in.callback(cls=_AnyArguments, invoke_without_command=True, help="(needs the extra 'local')")
    def tell() -> None:
        raise SettingsError(f"medstream {command}", f"needs the package {module!r}: install medstream[local]")

    return stand_in


def _with_plugins(arguments: list[str]) -> typer.Typer:
    """The root with the plugged-in commands: the one that is called, or all where the call names none."""
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    plugins = {found.name: found for found in entry_points(group=COMMAND_GROUP)}
    if called in BUILT_IN:
        wanted: list[str] = []
    else:
        wanted = [called] if called in plugins else sorted(plugins)
    for name in wanted:
        plugin = _load(plugins[name])
        app.add_typer(plugin, name=None if _is_one_command(plugin) else name)
    return app


def guarded(command: Callable[[], object]) -> None:
    """Run `command`; an error that was foreseen becomes one sentence and exit code 1."""
    try:
        command()
    except EXPECTED_ERRORS as error:
        typer.echo(f"medstream: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Entry point of the `medstream` command."""
    guarded(lambda: get_command(_with_plugins(sys.argv[1:]))(prog_name="medstream"))
