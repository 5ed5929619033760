"""Values for boards, made up. No real person spoke."""

from __future__ import annotations

from dataclasses import replace

from connectors.transcribe.model import MedicalAlternative
from pipeline.elements import FinalTranscript, PartialTranscript
from pipeline.output.output_values import SessionEnded
from pipeline.watch.values import Seen
from tests.pipeline.synthetic_session import a_final, an_end, items_of

START_MS = 1_772_348_400_000
"""When watching begins in these tests."""


def a_partial(
    text: str,
    start: float,
    *,
    result_id: str = "result-0",
    session_id: str = "session-1",
    stream_id: str = "stream-1",
    channel: str | None = None,
    superseded: bool = False,
) -> PartialTranscript:
    """What is heard from `start` on; its words last 0.4 s each."""
    items = tuple(replace(item, confidence=None) for item in items_of(text, start))
    return PartialTranscript(
        session_id=session_id,
        result_id=result_id,
        channel_id=channel,
        start_time=start,
        end_time=items[-1].end_time if items else start,
        alternatives=() if superseded else (MedicalAlternative(text, items),),
        stream_id=stream_id,
        superseded=superseded,
    )


def seen(
    value: FinalTranscript | PartialTranscript | SessionEnded, published_at_ms: int = START_MS + 1_000
) -> Seen:
    return Seen(value, published_at_ms)


__all__ = ["START_MS", "a_final", "a_partial", "an_end", "items_of", "seen"]
