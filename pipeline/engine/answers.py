"""What the shell answers to the engine's commands, where that is more than a few plain values.

`commands` holds the other direction.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.elements import LogEntry
from pipeline.engine.failures import FailureKind


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """Why a stream was lost: the service's code and message, and whether another stream may fare better.

    `kind`: where to look for the cause; the engine does not ask.
    """

    code: str
    message: str
    retryable: bool = True
    kind: FailureKind = FailureKind.SERVICE


@dataclass(frozen=True, slots=True)
class LogSlice:
    """The answer to ReadLog: this session's entries up to `next_offset` (exclusive).

    `complete`: the whole range that was asked for. `lost`: offsets [from, to) that retention had removed.
    """

    entries: tuple[LogEntry, ...]
    next_offset: int
    complete: bool
    lost: tuple[int, int] | None = None
