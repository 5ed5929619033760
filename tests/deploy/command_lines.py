"""Command lines of manifests, parsed by the programs that will get them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from typer.main import get_command

from deploy.docker import submission_gate, worker_pool
from deploy.local.jars import FLINK_LOCK, ensure_jars, read_lock
from pipeline.cli import _with_plugins
from pipeline.cli.beam_flags import beam_flags

ROOT = Path(__file__).parents[2]
_KUBERNETES_LOCK = Path(__file__).with_name("flink-kubernetes-1.19.1.lock")
_OTHERS_SETTINGS = ("metrics.reporter.prom.", "fs.s3a.", "kubernetes.operator.")
_FLINK_OPTIONS = "org/apache/beam/runners/flink/FlinkPipelineOptions.class"
_PROGRAMS = {
    "medstream-worker-pool": worker_pool._parse,
    "medstream-submission-gate": submission_gate._parse,
}


def parse(command: Sequence[str], files: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """The settings that `command` ends up with; whatever the program would refuse raises.

    `files`: what lies at a path in the container.
    """
    for inside, outside in (files or {}).items():
        command = [argument.replace(inside, str(outside)) for argument in command]
    program, *arguments = command
    if program != "medstream":
        return vars(_PROGRAMS[program](arguments))
    at: Any = get_command(_with_plugins(arguments))
    while hasattr(at, "commands") and at.commands:
        name, *arguments = arguments
        at = at.commands[name]
    context = at.make_context(at.name, arguments)
    return {**context.params, "beam_flags": beam_flags(context.params.get("beam_option"), context.args)}


def unknown_beam_flags(flags: Sequence[str]) -> list[str]:
    """Those of `--name=value` that neither Beam's SDK nor its Flink runner has."""
    names = [flag.removeprefix("--").split("=", 1)[0] for flag in flags]
    return [name for name in names if name not in _python_options() and not _flink_has(name)]


@cache
def _python_options() -> frozenset[str]:
    found: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        parser = _BeamArgumentParser()
        options._add_argparse_args(parser)
        found.update(name.lstrip("-") for action in parser._actions for name in action.option_strings)
    return frozenset(found)


def _flink_has(name: str) -> bool:
    getter = "".join(part.capitalize() for part in name.split("_"))
    return any(f"{verb}{getter}".encode() in _flink_options() for verb in ("get", "is"))


def unknown_flink_settings(settings: Iterable[str]) -> list[str]:
    """Those that Flink's own classes do not name; settings of plug-ins and of the operator pass."""
    names = [name for name in settings if not name.startswith(_OTHERS_SETTINGS)]
    return [name for name in names if name.encode() not in _flink_settings()]


@cache
def _flink_settings() -> bytes:
    """Every class of options in Flink, as compiled."""
    [core] = [path for path in ensure_jars(FLINK_LOCK) if path.name.startswith("flink-core-1")]
    found = bytearray()
    for jar in (core, *ensure_jars(_KUBERNETES_LOCK)):
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                if name.endswith("Options.class"):
                    found += archive.read(name)
    return bytes(found)


@cache
def _flink_options() -> bytes:
    """The runner's options interface, as compiled: its getters' names are in there."""
    [jar] = [jar for jar in read_lock(FLINK_LOCK) if jar.name.startswith("beam-runners-flink-")]
    paths = dict(zip((found.path for found in read_lock(FLINK_LOCK)), ensure_jars(FLINK_LOCK), strict=True))
    with zipfile.ZipFile(paths[jar.path]) as archive:
        return archive.read(_FLINK_OPTIONS)
