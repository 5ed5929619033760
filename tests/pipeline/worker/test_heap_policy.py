"""The heap's arenas, counted by glibc itself in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, tempfile, threading
from pipeline.worker.heap_policy import bound_heap
libc = ctypes.CDLL(None)
if {bounded}: assert all(bound_heap())
gate = threading.Barrier(17)
def work():
    kept = [bytes(3200) for _ in range(100)]
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
[t.start() for t in threads]; gate.wait(); [t.join() for t in threads]
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as report:
    stream = ctypes.c_void_p(libc.fopen(report.name.encode(), b"w"))
    libc.malloc_info(0, stream); libc.fclose(stream)
    print(open(report.name).read().count("<heap nr"))
"""

LARGE_BLOCKS = """
import ctypes, re, tempfile
from pipeline.worker.heap_policy import bound_heap
if {bounded}: assert all(bound_heap())
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
for _ in range(2):
    freed = bytes(2**20)
    del freed
kept = [bytes(300_000) for _ in range(50)]
with tempfile.NamedTemporaryFile() as report:
    stream = ctypes.c_void_p(libc.fopen(report.name.encode(), b"w"))
    libc.malloc_info(0, stream); libc.fclose(stream)
    print(re.findall('type="mmap" count="([0-9]+)"', open(report.name).read())[-1])
"""

STALL = """
import threading
from pathlib import Path
from pipeline.worker.heap_policy import bound_heap, trim_heap
bound_heap()
def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
kept = []
def work():
    waiting = [bytes(3200) for _ in range(20_000)]  # 62 MiB of audio that waits
    kept.extend(waiting[::100])
threads = [threading.Thread(target=work)]
[t.start() for t in threads]; [t.join() for t in threads]
before = resident_mib()
print(trim_heap(), before - resident_mib())
"""

CYCLES = """
import time, weakref
import h2.connection
from pipeline.worker import heap_policy
heap_policy._TIDY_SECONDS = 0.2
heap_policy.calm_collector()
ended = weakref.ref(h2.connection.H2Connection())
print(ended() is not None)
heap_policy.keep_tidying()
until = time.monotonic() + 20
while ended() is not None and time.monotonic() < until:
    time.sleep(0.05)
print(ended() is None)
"""


def arenas(*, bounded: bool, **environment: str) -> int:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(bounded=bounded)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return int(finished.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_a_bounded_heap_has_two_arenas_whatever_the_threads() -> None:
    free = arenas(bounded=False)
    if free == 0:
        pytest.skip("this C library has no malloc_info")
    assert free > 2
    assert arenas(bounded=True) <= 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_large_blocks_keep_pages_of_their_own_after_one_was_freed() -> None:
    if arenas(bounded=False) == 0:
        pytest.skip("this C library has no malloc_info")

    def with_own_pages(*, bounded: bool) -> int:
        program = LARGE_BLOCKS.format(bounded=bounded)
        finished = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={}
        )
        return int(finished.stdout)

    assert with_own_pages(bounded=False) < 50
    assert with_own_pages(bounded=True) >= 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
@pytest.mark.parametrize(
    ("variable", "answer"),
    [
        ("MALLOC_ARENA_MAX", "(False, True, True)"),
        ("MALLOC_MMAP_THRESHOLD_", "(True, False, True)"),
        ("MALLOC_TRIM_THRESHOLD_", "(True, True, False)"),
    ],
)
def test_whoever_set_it_knows_better(variable: str, answer: str) -> None:
    program = "from pipeline.worker.heap_policy import bound_heap; print(bound_heap())"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={variable: "500000"}
    )
    assert printed.stdout.strip() == answer


def test_the_collector_passes_over_what_was_there_and_runs_after_many_objects() -> None:
    program = (
        "import gc; from pipeline.worker.heap_policy import calm_collector; calm_collector(); "
        "frozen = gc.get_freeze_count(); calm_collector(); "
        "print(frozen > 1000, gc.get_freeze_count() == frozen, gc.get_threshold()[0], gc.isenabled())"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "True", "5000", "True"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_what_a_stall_leaves_behind_is_given_back() -> None:
    answer = subprocess.run([sys.executable, "-c", STALL], capture_output=True, text=True, check=True)
    can, given_back_mib = answer.stdout.split()
    if can == "False":
        pytest.skip("this C library has no malloc_trim")
    assert float(given_back_mib) > 40


def test_one_thread_tidies_and_keeps_nobody_waiting_at_the_end() -> None:
    program = (
        "import threading; from pipeline.worker.heap_policy import keep_tidying; "
        "keep_tidying(); keep_tidying(); "
        "print([thread.name for thread in threading.enumerate()].count('heap'))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.strip() == "1"


def test_connections_that_ended_are_freed_though_few_objects_are_made() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", CYCLES], capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.split() == ["True", "True"]
