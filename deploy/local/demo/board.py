"""What the demo knows about each session while it runs, put together from events.

Player and watcher work in threads of their own and know nothing of the screen: they put events into a queue,
and the main thread hands each to `Board.apply`. Records are those of the output topics, decoded. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from deploy.local.demo.playback import Session

Record = Mapping[str, Any]


class SessionState(StrEnum):
    """Where a session is on its way through the pipeline."""

    WAITING = "waiting"
    PLAYING = "playing"
    PLAYED = "all audio sent"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ChunkSent:
    """The player sent audio up to `played_seconds` of the session."""

    session_id: str
    played_seconds: float
    is_last: bool


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """A consumer got a record of the named schema at `seen_at` (unix seconds)."""

    schema_name: str
    seen_at: float
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class ThreadFailed:
    """The player or the watcher stopped with an error; the demo cannot go on."""

    what: str
    error: Exception


Event = ChunkSent | RecordSeen | ThreadFailed


@dataclass(slots=True)
class SessionRow:
    """One session's line of the table. `finals` and `result_ids` are texts and ids by segment index."""

    session: Session
    state: SessionState = SessionState.WAITING
    played_seconds: float = 0.0
    partial: str = field(default="", repr=False)
    finals: dict[int, str] = field(default_factory=dict, repr=False)
    result_ids: dict[int, str] = field(default_factory=dict)
    expected_segments: int | None = None
    end_reason: str | None = None

    @property
    def is_complete(self) -> bool:
        """The pipeline has ended the session, and every segment it counted has been seen."""
        return self.expected_segments is not None and set(range(self.expected_segments)) <= set(self.finals)

    @property
    def progress(self) -> str:
        """How far the session has come, in a few words and without its text."""
        if self.expected_segments is None:
            return f"{len(self.finals)} finals, no end"
        return f"{len(self.finals)} of {self.expected_segments} finals"


class Board:
    """All sessions of a run. `seen_at` holds when each final was first seen, by result id."""

    def __init__(self, sessions: Iterable[Session]) -> None:
        self.rows = {session.session_id: SessionRow(session) for session in sessions}
        self.seen_at: dict[str, float] = {}
        self.dead_letters: list[str] = []

    @property
    def is_complete(self) -> bool:
        return all(row.is_complete for row in self.rows.values())

    def apply(self, event: Event) -> None:
        """Takes in one event. Records of sessions that are not on the board are passed over.

        Raises the error of a ThreadFailed event.
        """
        match event:
            case ChunkSent():
                self._chunk_sent(event)
            case RecordSeen(schema_name="dead_letter"):
                self.dead_letters.append(f"{event.record['error_class']}: {event.record['message']}")
            case RecordSeen():
                row = self.rows.get(event.record["session_id"])
                if row is not None:
                    self._record_seen(row, event)
            case ThreadFailed():
                raise event.error

    def _chunk_sent(self, event: ChunkSent) -> None:
        row = self.rows[event.session_id]
        row.played_seconds = event.played_seconds
        if row.state is not SessionState.ENDED:
            row.state = SessionState.PLAYED if event.is_last else SessionState.PLAYING

    def _record_seen(self, row: SessionRow, event: RecordSeen) -> None:
        match event.schema_name:
            case "partial_transcript":
                row.partial = "" if event.record["superseded"] else event.record["transcript"]
            case "final_transcript":
                self._final_seen(row, event)
            case "session_ended":
                row.state = SessionState.ENDED
                row.partial = ""
                row.expected_segments = event.record["segments"]
                row.end_reason = str(event.record["reason"])

    def _final_seen(self, row: SessionRow, event: RecordSeen) -> None:
        index, result_id = event.record["segment_index"], event.record["result_id"]
        self.seen_at.setdefault(result_id, event.seen_at)
        row.finals[index] = event.record["alternatives"][0]["transcript"]
        row.result_ids[index] = result_id
        row.partial = ""
