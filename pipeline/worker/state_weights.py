"""What an entry of Beam's state cache weighs, without a walk through every module of the process.

Beam measures each value that is written to its state cache with `objsize`, which first collects the globals
of all loaded modules: 0.5 to 1 ms, twice for each write of a cell, a tenth of a worker's CPU with 25 sessions
and more with more. The states here are cells of bytes and numbers (a session's cursor, a count of
partitions), whose weight is plain; whatever else is measured as before.

Beam has no setting for it, so its module's function is replaced; nothing is done where a later Beam has none.
Source: apache_beam/runners/worker/statecache.py of Beam 2.77, `StateCache.put` and `get_deep_size`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from apache_beam.runners.worker import statecache

_PLAIN = (bytes, int, float, str, type(None))


def weigh_plain_values_plainly() -> bool:
    """Let Beam's cache weigh lists of plain values by their own sizes; False if it cannot be told to."""
    measure: Callable[..., int] | None = getattr(statecache, "get_deep_size", None)
    if measure is None:
        return False
    if not isinstance(measure, _Weigher):
        statecache.get_deep_size = _Weigher(measure)
    return True


class _Weigher:
    def __init__(self, measure: Callable[..., int]) -> None:
        self._measure = measure

    def __call__(self, *values: Any) -> int:
        if all(type(value) is list and all(type(item) in _PLAIN for item in value) for value in values):
            return sum(sys.getsizeof(value) + sum(map(sys.getsizeof, value)) for value in values)
        return self._measure(*values)
