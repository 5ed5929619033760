"""Commands about a job that `medstream run` would start: they take all of its options, none required.

`LikeRun` adds the options to a command's own, so that help, completion, environment and `--config` are those
of `run`. The values are in the context's `meta`, as `run` has them in its `params`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from pipeline.cli import run

_RUN_OPTIONS = f"{__name__}.options"
_COMPLETION = ("install_completion", "show_completion")
CONTEXT_SETTINGS: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True}
"""As `run`'s: what is unknown is Beam's."""


class LikeRun(TyperCommand):
    """A command with the options of `medstream run` behind its own."""

    def __init__(self, name: str | None, *, params: list[Any] | None = None, **attributes: Any) -> None:
        own = list(params or [])
        taken = {parameter.name for parameter in own}
        self.run_params = [found for found in _run_params() if found.name not in taken]
        super().__init__(name, params=[*own, *self.run_params], **attributes)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest: list[str] = super().parse_args(ctx, args)
        options = {found.name: ctx.params.pop(found.name, None) for found in self.run_params}
        ctx.meta[_RUN_OPTIONS] = options
        return rest


def run_options(ctx: typer.Context) -> dict[str, Any]:
    """The values of `run`'s options, by click's names; None for a required one that nobody set."""
    found: dict[str, Any] = ctx.meta[_RUN_OPTIONS]
    return found


def option_names(ctx: typer.Context) -> list[str]:
    """Every option of the command, with its dashes."""
    return [name for parameter in ctx.command.params for name in parameter.opts]


def run_parameters(ctx: typer.Context) -> list[Any]:
    """Click's parameters of `run`, in their order."""
    command: Any = ctx.command
    found: list[Any] = command.run_params
    return found


def _run_params() -> list[Any]:
    command: Any = get_command(run.app)
    params = [found for found in command.params if found.name not in _COMPLETION]
    for found in params:
        found.required = False
    return params
