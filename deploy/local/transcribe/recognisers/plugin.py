"""Recognisers as plug-ins: found by entry point, asked for their options, opened as a host.

The package's docstring shows a whole plug-in. The endpoint loads the one that was chosen and no other, except
for `--help`, which asks all of them for their one line; so a plug-in's module must import without its speech
library, which `load_library` loads when the recogniser is opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deploy.local.transcribe.errors import RecogniserError, SpeechError
from deploy.local.transcribe.recognition import RecognitionHost

GROUP = "medstream.recognisers"
DEFAULT_WORKERS = 8


@dataclass(frozen=True, slots=True)
class RecogniserOption:
    """A KEY of `--recogniser-option KEY=VALUE`, and what it is for in a few words."""

    name: str
    help: str


MODEL = RecogniserOption("model", "directory with the speech model")
WORKERS = RecogniserOption("workers", f"most recognitions at once (default {DEFAULT_WORKERS})")


@runtime_checkable
class RecogniserPlugin(Protocol):
    """What an entry point of the group `medstream.recognisers` names: an object, not a class."""

    @property
    def summary(self) -> str:
        """What it recognises, in one line."""

    @property
    def options(self) -> Sequence[RecogniserOption]:
        """The options that `open` understands; others are refused before."""

    def open(self, options: Mapping[str, str]) -> RecognitionHost:
        """Get ready to recognise, models loaded; called once.

        Raises:
            LocalTranscribeError: An option's value or a model cannot be used; one sentence that names it.
        """


def open_recogniser(name: str, options: Mapping[str, str]) -> RecognitionHost:
    """The host of the recogniser of that name. Raises `RecogniserError` and what its plug-in raises."""
    plugin = load_plugin(name)
    known = {option.name: option.help for option in plugin.options}
    for key in options:
        if key not in known:
            having = "; ".join(f"{name} ({text})" for name, text in known.items()) or "none"
            message = f"--recogniser {name} has no option {key!r}{_nearest(key, known)}; it has: {having}"
            raise RecogniserError(message)
    return plugin.open(options)


def load_plugin(name: str) -> RecogniserPlugin:
    """The plug-in of that name. Raises `RecogniserError` if there is none, or it cannot be loaded."""
    registered = _registered()
    if name not in registered:
        installed = ", ".join(sorted(registered)) or "none, medstream itself must be installed anew"
        nearest = _nearest(name, registered)
        message = f"--recogniser {name}: no such recogniser is installed{nearest}; there are: {installed}"
        raise RecogniserError(message)
    entry_point = registered[name]
    try:
        plugin = entry_point.load()
    except Exception as error:  # whatever a module of others does when it is imported
        reason = f"{type(error).__name__}: {error}"
        message = f"--recogniser {name}: {entry_point.value} cannot be loaded ({reason})"
        raise RecogniserError(message) from error
    if isinstance(plugin, type) or not isinstance(plugin, RecogniserPlugin):
        lacking = "it must be an object with summary, options and open"
        raise RecogniserError(f"--recogniser {name}: {entry_point.value} is no plug-in, {lacking}")
    return plugin


def describe_recognisers() -> Iterator[str]:
    """A line about each recogniser that is installed, for `--help`."""
    for name in sorted(_registered()):
        try:
            plugin = load_plugin(name)
        except RecogniserError:
            yield f"{name}: cannot be loaded, choose it to see why"
            continue
        keys = ", ".join(option.name for option in plugin.options)
        yield f"{name}: {plugin.summary}" + (f" (options: {keys})" if keys else "")


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """The values of `--recogniser-option KEY=VALUE`. Raises `RecogniserError`."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise RecogniserError(f"--recogniser-option {pair}: KEY=VALUE is needed")
        if key in options:
            raise RecogniserError(f"--recogniser-option {key} is given twice")
        options[key] = value
    return options


def _registered() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}


def _nearest(word: str, known: Mapping[str, object]) -> str:
    matches = get_close_matches(word, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


# For plug-ins ------------------------------------------------------------------------------------


def read_count(options: Mapping[str, str], name: str, default: int) -> int:
    """An option that is a whole number from 1 up. Raises `RecogniserError`."""
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        message = f"the recogniser's option {name} is {text!r}; a whole number from 1 up is needed"
        raise RecogniserError(message)
    return int(text)


def read_directory(options: Mapping[str, str], name: str, holds: str) -> Path:
    """An option that must be given and names a directory, which `holds` something. Raises `SpeechError`."""
    if not options.get(name):
        raise SpeechError(f"--{name} DIR is needed: the directory with {holds}")
    path = Path(options[name])
    if not path.is_dir():
        raise SpeechError(f"--{name} {path}: there is no such directory; it must be the one with {holds}")
    return path


def load_library(recogniser: str, module: str, package: str) -> Any:
    """Import a recogniser's library; `RecogniserError` says which package to install if it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = package if error.name == module else error.name
        message = f"--recogniser {recogniser} needs the Python package {missing}: pip install {missing}"
        raise RecogniserError(message) from error
    except Exception as error:  # a shared library that does not fit this machine
        reason = f"{type(error).__name__}: {error}"
        raise RecogniserError(f"--recogniser {recogniser}: {package} does not load ({reason})") from error
