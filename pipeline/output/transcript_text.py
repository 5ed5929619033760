"""Transcripts of one session as text: lines for a person, JSON records for a program, one line at the end.

A line names the segment's place on the session's timeline, its channel if channels are identified, and, where
the service labels speakers, one line tells each turn. JSON records have the field names of the Avro schemas;
`schema` says which. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.transcribe.model import ITEM_PRONUNCIATION, MedicalItem
from pipeline.elements import FinalTranscript, PartialTranscript, SessionSummary
from pipeline.engine.answers import StreamFailure
from pipeline.engine.reassembly import join_items
from pipeline.output.outputs import final_record, partial_record, session_ended_record


@dataclass(frozen=True, slots=True)
class Ending:
    """How the transcription of one recording ended.

    `audio_seconds` were fed, finals speak for the first `covered_seconds` of them (silence after the last
    word excepted). `failure`: why it was given up. `interrupted`: the user ended it.
    """

    audio_seconds: float
    covered_seconds: float
    finals: int
    streams: int
    retries: int
    failure: StreamFailure | None = None
    interrupted: bool = False


# Lines


def final_lines(final: FinalTranscript) -> list[str]:
    """The segment, one line for each speaker's turn, one in all where speakers are not labelled."""
    if not final.alternatives:
        return []
    items = final.alternatives[0].items
    if not any(item.speaker for item in items):
        return [_line(final.start_time, final.end_time, final.channel_id, final.alternatives[0].transcript)]
    return [
        _line(turn[0].start_time, turn[-1].end_time, final.channel_id, join_items(turn), speaker)
        for speaker, turn in turns(items)
    ]


def partial_line(partial: PartialTranscript) -> str:
    """What is heard so far; nothing once it is withdrawn."""
    text = partial.alternatives[0].transcript if partial.alternatives and not partial.superseded else ""
    return _line(partial.start_time, partial.end_time, partial.channel_id, text)


def _line(start: float, end: float, channel_id: str | None, text: str, speaker: str | None = None) -> str:
    channel = f" ({channel_id})" if channel_id else ""
    label = f" speaker {speaker}:" if speaker else ""
    return _printable(f"[{clock(start)}–{clock(end)}]{channel}{label} {text}")


def turns(items: tuple[MedicalItem, ...]) -> Iterator[tuple[str, tuple[MedicalItem, ...]]]:
    """`(speaker, items)` of each turn; punctuation belongs to the words before it."""
    speaker = ""
    turn: list[MedicalItem] = []
    for item in items:
        spoken = item.type == ITEM_PRONUNCIATION and item.speaker
        if spoken and spoken != speaker:
            if turn:
                yield speaker, tuple(turn)
            speaker, turn = spoken, []
        if item.content:
            turn.append(item)
    if turn:
        yield speaker, tuple(turn)


def clock(seconds: float) -> str:
    """`m:ss.cc`, with hours before it where there are any."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 100:02}.{rest % 100:02}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"


def _printable(text: str) -> str:
    """`text` without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def tail(line: str, width: int) -> str:
    """The end of `line`, at most `width` characters: of a growing partial the news is at its end."""
    return line if len(line) <= width else "…" + line[len(line) - width + 1 :]


def final_lines_of_session(final: FinalTranscript, *, show_text: bool, revised: bool = False) -> list[str]:
    """The segment's lines with its session before them; without `show_text` how many words there are.

    `revised`: it replaces a segment that was shown.
    """
    mark = " (revised)" if revised else ""
    lines = final_lines(final) if show_text else [masked_line(final)]
    return [_printable(f"{final.session_id}{mark}  {line}") for line in lines]


def masked_line(final: FinalTranscript) -> str:
    """The segment's place on the timeline and its number of words."""
    words = counted(word_count(final), "word", "words")
    return _line(final.start_time, final.end_time, final.channel_id, f"({words})")


def word_count(final: FinalTranscript) -> int:
    """Pronounced words of the best reading."""
    items = final.alternatives[0].items if final.alternatives else ()
    return sum(item.type == ITEM_PRONUNCIATION for item in items)


def session_ended_line(summary: SessionSummary) -> str:
    """How a session ended."""
    counts = [
        counted(summary.segments, "segment", "segments"),
        f"{summary.audio_seconds:.1f} s of audio",
        counted(summary.streams, "stream", "streams"),
    ]
    if summary.gaps:
        counts.append(counted(len(summary.gaps), "gap", "gaps"))
    return _printable(f"{summary.session_id}  ended, {summary.reason}: {', '.join(counts)}")


# JSON


def masked_final_json(final: FinalTranscript) -> str:
    """The final without its readings; `masked` says so, `words` how many words the best one has."""
    record = final_record(final) | {"alternatives": [], "masked": True, "words": word_count(final)}
    return _json("final_transcript", record)


def final_json(final: FinalTranscript) -> str:
    return _json("final_transcript", final_record(final))


def partial_json(partial: PartialTranscript) -> str:
    return _json("partial_transcript", partial_record(partial))


def session_ended_json(summary: SessionSummary, ended_at_ms: int) -> str:
    return _json("session_ended", session_ended_record(summary, ended_at_ms))


def _json(schema: str, record: dict[str, object]) -> str:
    return json.dumps({"schema": schema, **record}, ensure_ascii=False)


# The end


def summary_line(ending: Ending) -> str:
    """What there was, in one line."""
    counts = (
        f"{ending.audio_seconds:.1f} s of audio",
        counted(ending.finals, "final", "finals"),
        counted(ending.streams, "stream", "streams"),
        counted(ending.retries, "retry", "retries"),
    )
    line = ", ".join(counts)
    if ending.interrupted or ending.failure is not None:
        line += f"; finals cover the first {ending.covered_seconds:.1f} s"
    return line


def counted(number: int, one: str, more: str) -> str:
    """`1 final`, `2 finals`."""
    return f"{number} {one if number == 1 else more}"
