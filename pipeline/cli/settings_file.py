"""`--config FILE`: settings from a TOML file, which the environment and the flags overrule.

Keys are the names of options, without the dashes before them. A key at the top holds for every command that
has the option; one in a table with a command's name (`[run]`) for that command alone, and it wins. Options
that may be repeated take a list or a table. Paths are relative to the file.

    bootstrap-servers = "broker:9093"
    command-config = "client.properties"

    [run]
    input-topic = "audio"

    [run.beam-option]
    runner = "PortableRunner"

What the file says becomes click's `default_map`, so click itself decides which source wins. The whole file is
checked, also what other commands would use of it: unknown keys, then types, then the options' own rules.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.main import get_command

from pipeline.errors import SettingsError

OPTION = "--config"
_NOT_IN_A_FILE = frozenset({"config", "install-completion", "show-completion", "help"})
_ALSO = {
    "doctor": ("run", "doctor"),
    "config": ("run",),
    "jobs": ("run", "jobs"),
    "test": ("run", "test"),
}
"""Commands that take the settings of another one."""
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a string"),
    Path: ((str,), "a string"),
}
_FOUND = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", list: "a list"}

Options: TypeAlias = Mapping[str, Any]
"""An option's key in the file -> click's parameter."""


def _use_file(ctx: typer.Context, value: Path | None) -> Path | None:
    if value is not None and not ctx.resilient_parsing:
        table = _table_of(ctx)
        found = settings_in(value, ctx, _ALSO.get(table, (table,)))
        ctx.default_map = {**(ctx.default_map or {}), **found}
    return value


ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        OPTION,
        help="TOML file of settings, below environment and flags (`medstream config init` prints one).",
        envvar="MEDSTREAM_CONFIG",
        is_eager=True,
        callback=_use_file,
    ),
]


def option_key(parameter: Any) -> str:
    """The option's key in a file: `--input-topic` is `input-topic`."""
    return str(parameter.opts[0]).lstrip("-")


def options_of(command: Any) -> dict[str, Any]:
    """The options of a command that a file may set, under each of their names."""
    return {
        name.lstrip("-"): parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and option_key(parameter) not in _NOT_IN_A_FILE
        for name in parameter.opts
        if name.startswith("--")
    }


def configurable_commands() -> dict[str, dict[str, Any]]:
    """Every command that has `--config`, with its options; those of a group's commands are one set."""
    from pipeline import cli  # the root knows this module's users

    root: Any = get_command(cli.app)
    found = {name: dict(_options_below(command)) for name, command in root.commands.items()}
    return {name: options for name, options in found.items() if options}


def settings_in(path: Path, ctx: typer.Context, tables: tuple[str, ...]) -> dict[str, Any]:
    """The file's values for the tables' commands, by click's names of the parameters; later tables win.

    Raises SettingsError that names the key, and says what is wrong with it.
    """
    commands = configurable_commands()
    every = {key: option for options in commands.values() for key, option in options.items()}
    document = _read(path)
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key in commands and isinstance(value, dict):
            for inner, setting in value.items():
                _value(inner, setting, commands[key], path, ctx, table=key)
        elif key in _ALSO and isinstance(value, dict):
            continue  # of a plugged-in command that is not called, so its options are not known
        else:
            _refuse_table(key, value, commands, path)
            option, read = _value(key, value, every, path, ctx)
            values[option.name] = read
    for table in tables:
        for key, value in document.get(table, {}).items():
            option, read = _value(key, value, commands[table], path, ctx, table=table)
            values[option.name] = read
    return values


def _table_of(ctx: typer.Context) -> str:
    """Name of the command right below the root; of the root itself where it is the command."""
    names = []
    at: Any = ctx
    while at is not None:
        names.append(str(at.command.name if at.parent is None else at.info_name))
        at = at.parent
    return names[-2] if len(names) > 1 else names[-1]


def _options_below(command: Any) -> Iterator[tuple[str, Any]]:
    for below in getattr(command, "commands", {}).values():
        yield from _options_below(below)
    if any(OPTION in parameter.opts for parameter in command.params):
        yield from options_of(command).items()


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:  # names line and column, never their text
        problem = f"it is no TOML: {error}"
    raise SettingsError(OPTION, f"cannot read {path}: {problem}")


def _refuse_table(key: str, value: Any, commands: Mapping[str, Options], path: Path) -> None:
    """A table that is neither a command nor an option is a command misspelt, or one without settings."""
    if not isinstance(value, dict) or any(key in options for options in commands.values()):
        return
    known = [*commands, *(key for options in commands.values() for key, o in options.items() if o.multiple)]
    raise SettingsError(f"[{key}] in {path}", f"no such table; {_nearest(key, known)}")


def _nearest(key: str, known: list[str]) -> str:
    near = get_close_matches(key.replace("_", "-"), known, n=1)
    return f"did you mean {near[0]}?" if near else "`medstream config init` prints all there are"


def _value(
    key: str, value: Any, options: Options, path: Path, ctx: typer.Context, *, table: str | None = None
) -> tuple[Any, Any]:
    """(click's parameter, what to give it as default). Raises SettingsError."""
    place = f"{key!r} in {path}" if table is None else f"{key!r} of [{table}] in {path}"
    option = options.get(key)
    if option is None:
        raise SettingsError(place, f"no such setting; {_nearest(key, list(options))}")
    place = f"{option.opts[0]} ({place})"
    read = _pairs(value, place) if option.multiple else _typed(value, option, place, path)
    try:
        option.process_value(ctx, read)
    except typer.BadParameter as error:
        raise SettingsError(place, error.message) from None
    return option, read


def _typed(value: Any, option: Any, place: str, path: Path) -> Any:
    types, wanted = _KINDS[option.type_descriptor.annotation]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise SettingsError(place, f"expected {wanted}, found {_FOUND.get(type(value), 'something else')}")
    return str(path.parent / str(value)) if option.type_descriptor.is_path else value


def _pairs(value: Any, place: str) -> list[str]:
    """A list of strings, or a table as NAME=VALUE; dotted names need no quotes."""
    if isinstance(value, dict):
        return list(_flattened(value, place))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise SettingsError(place, "expected a list of strings, or a table of names and values")


def _flattened(table: Mapping[str, Any], place: str, prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, place, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}={str(value).lower()}"
        elif isinstance(value, str | int | float):
            yield f"{prefix}{name}={value}"
        else:
            raise SettingsError(place, f"{prefix + name!r} must be a string, a number, true or false")
