"""How a worker's memory is managed: few arenas of the C heap, large blocks beside it, free pages given back,
and a cyclic collector that runs less often.

glibc gives each thread a heap of its own (up to eight for each core), and what chunks of audio leave free in
one is of no use to the others. Measured with 50 sessions in a service outage: the worker grew by 48 MB in
three minutes, of which its objects were none. Two arenas are enough for threads that mostly wait; whoever
sets MALLOC_ARENA_MAX knows better, and where another program starts the workers it should be set to 2: arenas
that threads have by the time this is called stay. Elsewhere (musl, macOS) there is nothing to do.
A block of 128 KiB and more has pages of its own, which go back when it is freed; but once one such block was
freed, glibc takes the next of that size from the heap, up to 32 MiB, and what is small and lives on settles
in the hole it leaves. Here such blocks are what a fetch or a bundle takes, larger at each stall. So the
threshold is set, which keeps it where it is (whoever sets MALLOC_MMAP_THRESHOLD_ knows better). It costs
0.1 ms for a block of 180 kB on a machine where pages are dear.
Whatever stands still for a second or two (a checkpoint, a broker) makes audio wait here, and what its chunks
leave behind stays with the process: in half an hour of such stalls a worker of 25 sessions grew by 3 MB each
ten minutes, all of it in the C heap, Python's own arenas by nothing. So free pages are given back once a
minute, by a thread that waits meanwhile (`keep_tidying`). Source: mallopt(3), M_ARENA_MAX,
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD; malloc_trim(3).

Chunks and results leave no cycles behind, and each is some dozen objects, so that by Python's default the
collector looks through the young ones many times a second, and through all of Beam's now and then: 70 ms in
which nothing else runs. What is there before the first element is left out of that, and it runs rarely. What
does leave cycles: polls of Kafka that find nothing, with answers of the broker in them, and every connection
of h2, which holds its own bound methods, with its socket and transport. Counting new objects does not find
those in time: a worker of 25 sessions that read no partition looked at its young objects twelve times in 28
minutes, at its old ones never; it held 111 connections of sessions that had ended, and grew by 2.3 MB in ten
minutes. So the same thread has everything looked at that is younger than the first element: some hundredths
of a second a minute.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from functools import cache

_ARENAS = 2
_OWN_PAGES_BYTES = 128 * 1024  # glibc's own threshold, as long as nothing moves it
_FREE_TOP_BYTES = 1024 * 1024  # setting the other holds this at 128 KiB: the heap's end would come and go
_SETTINGS = (  # mallopt's parameter, its value, who set it otherwise
    (-8, _ARENAS, "MALLOC_ARENA_MAX"),
    (-3, _OWN_PAGES_BYTES, "MALLOC_MMAP_THRESHOLD_"),
    (-1, _FREE_TOP_BYTES, "MALLOC_TRIM_THRESHOLD_"),
)
_COLLECTOR_THRESHOLDS = (5_000, 5, 5)
_TIDY_SECONDS = 60.0


def bound_heap() -> tuple[bool, ...]:
    """Let the heap have two arenas at most and large blocks pages of their own, from now on.

    Returns for each of mallopt's M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD whether it is set now;
    not where the environment sets it, or the C library cannot.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return (False,) * len(_SETTINGS)
    return tuple(
        variable not in os.environ and bool(mallopt(parameter, value))
        for parameter, value, variable in _SETTINGS
    )


@cache
def calm_collector() -> None:
    """Let the cyclic collector pass over what exists now, and run after 5,000 new objects; done once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def trim_heap() -> bool:
    """Give pages of the C heap that hold nothing back to the system; False where the library cannot."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(0)  # other threads run meanwhile: ctypes lets go of the interpreter
    return True


@cache
def keep_tidying() -> None:
    """Let a thread free cycles and trim the heap once a minute, for the life of the process; begun once."""
    threading.Thread(target=_tidy_for_ever, name="heap", daemon=True).start()


def _tidy_for_ever() -> None:
    while True:
        time.sleep(_TIDY_SECONDS)
        gc.collect()
        trim_heap()
