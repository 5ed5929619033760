"""SECURITY.md names files that exist, and options that there are."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from pipeline import cli

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"`([\w/.*-]+\.(?:py|yaml|lock))`", PAGE))
    assert len(named) > 15
    for name in named:
        found = list(ROOT.glob(name)) or [
            path for folder in ("connectors", "pipeline", "schemas") for path in (ROOT / folder).rglob(name)
        ]
        assert found, name


def test_every_option_it_names_is_one() -> None:
    options: set[str] = set()
    pending = [get_command(cli.app)]
    while pending:
        command = pending.pop()
        options.update(name for parameter in command.params for name in parameter.opts)
        pending += getattr(command, "commands", {}).values()
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= options
