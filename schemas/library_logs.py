"""Loggers of libraries that quote what they handle at DEBUG: payloads, headers, credentials. They are pinned.

A pinned logger says nothing below INFO, whatever level it, the root or a handler is given, now or later; so
do those below it. It stands in this package since all others may import it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator


class _Pinned(logging.Logger):
    """A logger whose level does not go below INFO."""

    def setLevel(self, level: int | str) -> None:
        super().setLevel(level)
        if logging.NOTSET < self.level < logging.INFO:
            super().setLevel(logging.INFO)

    def isEnabledFor(self, level: int) -> bool:
        return level >= logging.INFO and super().isEnabledFor(level)


def pin(*names: str) -> None:
    """Pin the loggers of these names, and those below them that exist; more of them inherit their level."""
    for name in names:
        root = logging.getLogger(name)
        if root.level == logging.NOTSET:
            root.setLevel(logging.INFO)
        for logger in (root, *_below(name)):
            logger.__class__ = _Pinned
            logger.setLevel(logger.level)


def _below(name: str) -> Iterator[logging.Logger]:
    for found in list(logging.root.manager.loggerDict):
        if found.startswith(f"{name}."):
            yield logging.getLogger(found)  # also one that only holds the place above others
