"""How the C heap of a worker grows: few arenas.

glibc gives each thread a heap of its own (up to eight for each core), and what chunks of audio leave free in
one is of no use to the others. Measured with 50 sessions in a service outage: the worker grew by 48 MB in
three minutes, of which its objects were none. Two arenas are enough for threads that mostly wait; whoever
sets MALLOC_ARENA_MAX knows better, and where another program starts the workers it should be set to 2: arenas
that threads have by the time this is called stay. Elsewhere (musl, macOS) there is nothing to do.
Source: mallopt(3), M_ARENA_MAX.
"""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8
_ARENAS = 2


def bound_arenas() -> bool:
    """Let the heap have two arenas at most, from now on; False where that cannot be set, or was."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))
