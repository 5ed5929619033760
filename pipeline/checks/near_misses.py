"""Flags that go to Beam but look like options of ours: typing errors, and told before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pipeline.errors import SettingsError


def refuse_near_misses(flags: Sequence[str], own_options: Sequence[str]) -> None:
    """Raise SettingsError for a flag that is nearly one of `own_options`, and for a word that is no flag.

    One that is exactly the same came by `--beam-option` and is meant for Beam, as Dataflow's `--region` is.
    """
    for flag in flags:
        name = flag.split("=", 1)[0]
        if name in own_options:
            continue
        near = get_close_matches(name, own_options, n=1, cutoff=0.85)
        if name.startswith("--") and near:
            raise SettingsError(name, f"no such option; did you mean {near[0]}?")
        if not name.startswith("-"):
            raise SettingsError(flag, "is no option; Beam options look like --name=value")
