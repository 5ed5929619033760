"""What a run of the demo came to: each session's finals as read back, and what is wrong with them.

Pure. `missing_finals` decides the demo's exit code: a session is whole when the pipeline ended it, has at
least one final, every segment index from 0 on, and, if one stream served it, every final that the endpoint
sent. (After a recovery several streams did, and what an old one sent may rightly have been transcribed
again.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local.demo.playback import Session
from deploy.local.demo.wer import WordErrors, word_errors


@dataclass(frozen=True, slots=True)
class Final:
    """One FinalTranscript, as far as the demo shows it; times in seconds on the session's timeline."""

    segment_index: int
    result_id: str
    stream_id: str
    start_time: float
    end_time: float
    transcript: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """One session's finals in order of their segment index, compared with what was said."""

    session_id: str
    finals: tuple[Final, ...]
    word_errors: WordErrors


def outcomes(sessions: Sequence[Session], records: Iterable[Mapping[str, Any]]) -> list[SessionOutcome]:
    """Groups FinalTranscript records by session; records of other sessions are passed over, and of those with
    the same segment_index the last one counts.
    """
    finals: dict[str, dict[int, Final]] = {session.session_id: {} for session in sessions}
    for record in records:
        if record["session_id"] in finals:
            finals[record["session_id"]][record["segment_index"]] = _final(record)
    return [_outcome(session, list(finals[session.session_id].values())) for session in sessions]


def missing_finals(
    outcome: SessionOutcome, expected_segments: int | None, emitted_result_ids: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Sentences about what is missing, none when the session is whole.

    `expected_segments` is the count of the session's SessionEnded record, None when there was none;
    `emitted_result_ids` are the finals the endpoint sent, by stream id.
    """
    name = outcome.session_id
    if expected_segments is None:
        yield f"Session {name} did not end: no SessionEnded record came."
    if not outcome.finals:
        yield f"Session {name} has no finals in the output topic."
        return
    indexes = {final.segment_index for final in outcome.finals}
    gaps = sorted(set(range(max(expected_segments or 0, max(indexes) + 1))) - indexes)
    if gaps:
        yield f"Session {name} lacks the finals with segment_index {', '.join(map(str, gaps))}."
    streams = {final.stream_id for final in outcome.finals}
    if len(streams) == 1:
        emitted = set(emitted_result_ids.get(streams.pop(), ()))
        lost = emitted - {final.result_id for final in outcome.finals}
        if lost:
            yield f"Session {name} lacks {len(lost)} of {len(emitted)} finals that the endpoint sent."


def _final(record: Mapping[str, Any]) -> Final:
    return Final(
        segment_index=record["segment_index"],
        result_id=record["result_id"],
        stream_id=record["stream_id"],
        start_time=record["start_time"],
        end_time=record["end_time"],
        transcript=record["alternatives"][0]["transcript"],
    )


def _outcome(session: Session, finals: list[Final]) -> SessionOutcome:
    ordered = tuple(sorted(finals, key=lambda final: final.segment_index))
    said = session.recording.reference
    heard = " ".join(final.transcript for final in ordered)
    return SessionOutcome(session.session_id, ordered, word_errors(said, heard))
