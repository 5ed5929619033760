"""Beam's options that store or print the elements of a job, which are patients' words and voice. Pure.

They are refused, wherever they come from. `KEPT_OFF` is what a runner may switch on by itself, and is
switched off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.errors import SettingsError

KEPT_OFF = "--experiments=disable_always_on_exception_sampling"

# Beam 2.77: runners/worker/data_sampler.py, options/pipeline_options.py, typehints/typecheck.py.
_EXPERIMENTS = {
    "enable_data_sampling": "keeps samples of the elements and hands them to the runner",
    "enable_always_on_exception_sampling": "keeps elements whose processing failed, for the runner",
    "core_pattern": "writes the memory of a worker that crashes to a file",
}
_SWITCHES = {
    "--runtime_type_check": "puts elements of a wrong type into error messages",
    "--performance_runtime_type_check": "puts elements of a wrong type into error messages",
}
_VALUES = {("--profiler_agent", "coredump"): "writes the memory of a worker that crashes to a file"}


def refuse_exposure(flags: Sequence[str]) -> None:
    """Raise SettingsError for the first of Beam's flags (`--name=value`) that shows elements to others."""
    for setting, why in _exposing(flags):
        raise SettingsError(setting, f"{why}: patient data; medstream does not run with it")


def _exposing(flags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(what was set, what it does) of each flag, and of each experiment of a list, that is refused."""
    for flag in flags:
        name, _, value = flag.partition("=")
        if name in ("--experiment", "--experiments"):
            for experiment in (item.partition("=")[0].strip() for item in value.split(",")):
                if experiment in _EXPERIMENTS:
                    yield f"{name}={experiment}", _EXPERIMENTS[experiment]
        elif name in _SWITCHES:
            yield name, _SWITCHES[name]
        elif (name, value.strip()) in _VALUES:
            yield flag, _VALUES[name, value.strip()]
