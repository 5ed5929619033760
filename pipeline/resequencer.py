"""Order and duplicates by the producer's `sequence`.

A session lives on one partition, so its chunks arrive in the order they were written; what a producer's retry
wrote twice carries a sequence that has been seen. Nothing is buffered here: a missing sequence is let through
and counted, and the caller decides what a jump means for the timeline.
"""

from __future__ import annotations

from enum import Enum, auto


class Verdict(Enum):
    """What a chunk's sequence says of it."""

    NEXT = auto()
    JUMP = auto()  # chunks before it are missing
    DUPLICATE = auto()


def judge_sequence(expected: int, sequence: int) -> Verdict:
    """Compare a chunk's `sequence` with the one that should come next."""
    if sequence == expected:
        return Verdict.NEXT
    return Verdict.JUMP if sequence > expected else Verdict.DUPLICATE
