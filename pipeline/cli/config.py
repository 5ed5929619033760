"""`medstream config show|init`: a job's settings with where each comes from, and a file to start with."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.main import get_command

from pipeline.checks.near_misses import refuse_near_misses
from pipeline.cli import run
from pipeline.cli.like_run import CONTEXT_SETTINGS, LikeRun, option_names, run_options, run_parameters
from pipeline.cli.resolved import Resolved, misspelt_variables, resolved_settings
from pipeline.cli.settings_example import example

app = typer.Typer(
    help="The settings of a job: show what holds and why, print a file to start with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(
    cls=LikeRun,
    context_settings=CONTEXT_SETTINGS,
    epilog="A file named by --config, the environment (MEDSTREAM_...), flags: the later ones win.",
)
def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what has its default.")] = False,
) -> None:
    """Show each setting that `medstream run` would have with the same options, and its source; no secrets."""
    refuse_near_misses(ctx.args, option_names(ctx))
    rows = resolved_settings(ctx, run_parameters(ctx), run_options(ctx))
    if changed:
        rows = [row for row in rows if row.source != "default"]
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows], indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        Console().print(_table(rows))
    else:
        for row in rows:
            typer.echo(f"{row.name} = {row.shown}  # {row.origin}")
    for sentence in misspelt_variables():
        typer.echo(f"medstream: {sentence}", err=True)


@app.command()
def init() -> None:
    """Print a commented TOML file with every setting of `medstream run`, for --config."""
    typer.echo(example(get_command(run.app)), nl=False)


def _table(rows: list[Resolved]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("setting", "value", "source"):
        table.add_column(title, overflow="fold")
    for row in rows:
        style = "dim" if row.source == "default" else ""
        table.add_row(Text(row.name), Text(row.shown), Text(row.origin), style=style)
    return table
