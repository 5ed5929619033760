"""Session engines brought into a state, and what to look for in their commands.

Chunk n is 100 ms long, has sequence n and lies at offset n; every backoff lasts two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from connectors.transcribe.model import MedicalResult
from pipeline.engine.answers import LogSlice, StreamFailure
from pipeline.engine.commands import (
    Command,
    EmitSessionEnded,
    ReadLog,
)
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session
from tests.pipeline.builders import (
    BACKOFF_SECONDS,
    CHUNK_SAMPLES,
    LIMITS,
    engine,
    entries,
    kinds,
    result,
    word,
)

RESET = StreamFailure("StreamReset", "reset by the test")
REFUSED = StreamFailure("BadRequestException", "refused by the test", retryable=False)


def opened(count: int, *, limits: SessionLimits = LIMITS) -> Session:
    """A session with `count` chunks sent to an open stream, at time 0."""
    session = engine(limits=limits)
    session.receive_batch(entries(range(count)), 0.0)
    session.stream_opened(1, "stream-1", "request-1", 0.0)
    session.stream_progress(1, count * CHUNK_SAMPLES, 0.0)
    return session


def spoken(result_id: str, start: float, end: float, *, partial: bool = False) -> MedicalResult:
    return result(result_id, word(result_id, start, end), partial=partial)


def log(numbers: Iterable[int], *, next_offset: int | None = None, complete: bool = True) -> LogSlice:
    found = tuple(entries(numbers))
    return LogSlice(found, found[-1].offset + 1 if next_offset is None else next_offset, complete)


def only(commands: list[Command], kind: type[Command]) -> Command:
    (found,) = [command for command in commands if isinstance(command, kind)]
    return found


def reopened(count: int) -> Session:
    """A session whose first stream was lost and whose second one was sent everything again."""
    session = opened(count)
    session.stream_failed(1, RESET, 0.0)
    read = retried(session, 2, BACKOFF_SECONDS)
    session.receive_log(read.read_id, log(range(read.start_offset, count)), 3.0)
    return session


def retried(session: Session, serial: int, now: float) -> ReadLog:
    """After a failure: stream `serial` is opened, and the log is to be read for it."""
    assert kinds(session.handle_timer(now)) == ["OpenStream"]
    read = only(session.stream_opened(serial, f"stream-{serial}", f"request-{serial}", now), ReadLog)
    assert isinstance(read, ReadLog)
    return read


def ended(commands: list[Command]) -> EmitSessionEnded:
    found = only(commands, EmitSessionEnded)
    assert isinstance(found, EmitSessionEnded)
    return found


def stored(**changes: object) -> SessionCursor:
    session = opened(30)
    session.receive_results(1, [spoken("r1", 0.0, 1.05)], 0.5)
    return replace(session.take_snapshot(), **changes)  # type: ignore[arg-type]
