"""A session as plain text: what it is, then one paragraph a turn, gaps in their places. Pure."""

from __future__ import annotations

import datetime as dt

from pipeline.elements import Gap
from pipeline.export.speech import Turn, clean, turns_of
from pipeline.output.transcript_text import clock
from pipeline.output.transcripts import SessionTranscript


def plain_text(session: SessionTranscript) -> str:
    """The session as text in UTF-8."""
    turns = [(turn.start_time, 1, _turn(turn)) for turn in turns_of(session)]
    gaps = [(gap.start_time, 0, gap_line(gap)) for gap in session.gaps]
    body = [text for _, _, text in sorted([*gaps, *turns], key=lambda part: part[:2])]
    return "\n".join([*heading(session), "", *body]) + "\n"


def heading(session: SessionTranscript) -> list[str]:
    """What the session is, and whether all of it is here."""
    lines = [f"Session {clean(session.session_id)}"]
    if session.segments and (started := session.in_time_order[0]).started_at_ms is not None:
        began_ms = started.started_at_ms - round(started.start_time * 1000)
        moment = dt.datetime.fromtimestamp(began_ms / 1000, dt.UTC)
        lines.append(f"Began {moment:%Y-%m-%d %H:%M:%S} UTC")
    lines.append(f"Length {clock(session.duration_seconds)}, {len(session.segments)} segments")
    lines.append(completeness(session))
    return lines


def completeness(session: SessionTranscript) -> str:
    """One sentence: complete, or what is missing."""
    if session.missing:
        return f"Incomplete: segments {ranges(session.missing)} are missing"
    if session.summary is None:
        return "The end of the session is not known"
    return f"Complete ({session.summary.reason})"


def ranges(pairs: tuple[tuple[int, int], ...]) -> str:
    """(first, last) pairs as `0, 3–5`."""
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in pairs)


def _turn(turn: Turn) -> str:
    label = f"{turn.voice.label}: " if turn.voice.label else ""
    return f"[{clock(turn.start_time)}] {label}{turn.text}"


def gap_line(gap: Gap) -> str:
    """Where audio is missing, until when if that is known, and why."""
    if gap.end_time > gap.start_time:
        return f"[{clock(gap.start_time)}] (no audio until {clock(gap.end_time)}: {gap.reason})"
    return f"[{clock(gap.start_time)}] (audio missing, length unknown: {gap.reason})"
