"""What a live session hands to its shell: the engine's commands that are for Beam, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import (
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    Forget,
    Observe,
    Reject,
    RejectSession,
)


@dataclass(frozen=True, slots=True)
class FailureReport:
    """A stream was lost, the `failures`th in a row; the engine does about it what it does without a word."""

    failure: StreamFailure
    failures: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One value for the distribution `name` of the job's metrics (`pipeline.observability.metrics`)."""

    name: str
    value: int


Output = (
    EmitFinal
    | EmitPartial
    | EmitSessionEnded
    | Reject
    | RejectSession
    | Forget
    | Observe
    | FailureReport
    | Measured
)
