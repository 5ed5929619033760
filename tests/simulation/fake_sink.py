"""The output topics and their markers: what is published stays, whatever the job goes back to.

The rule is the pipeline's own (`pipeline.output.progress`); steps are written whole or not at all, as
transactions are, and in the order in which they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.engine.commands import Command, EmitFinal, EmitSessionEnded
from pipeline.engine.cursor import SessionCursor
from pipeline.output.outputs import final_record, session_ended_record
from pipeline.output.progress import Opening, SessionProgress, SessionStep, publish


class FakeSink:
    """`finals` and `ended` are what a consumer of committed records has read, by session."""

    def __init__(self) -> None:
        self.markers: dict[str, SessionProgress] = {}
        self.finals: dict[str, list[Mapping[str, Any]]] = {}
        self.ended: dict[str, list[Mapping[str, Any]]] = {}

    def write(self, step: SessionStep) -> None:
        before = self.markers.get(step.session_id)
        publication = publish(before, step, 0)
        self.finals.setdefault(step.session_id, []).extend(publication.finals)
        if publication.ended is not None:
            self.ended.setdefault(step.session_id, []).append(publication.ended)
        if publication.progress is not None:
            self.markers[step.session_id] = publication.progress


def step_of(session_id: str, cursor: SessionCursor, outputs: Sequence[Command]) -> SessionStep:
    """What the transform hands to the sink for one call of the engine."""
    ended = [output.summary for output in outputs if isinstance(output, EmitSessionEnded)]
    return SessionStep(
        session_id=session_id,
        opening=Opening("audio", "", cursor.partition, cursor.opened_offset),
        resume_offset=cursor.resume.offset,
        covered_sample=cursor.resume.start_sample,
        cursor=b"",
        finals=tuple(final_record(output.final) for output in outputs if isinstance(output, EmitFinal)),
        ended=session_ended_record(ended[-1], 0) if ended else None,
    )
