"""Captions: WebVTT (https://www.w3.org/TR/webvtt1/) and SubRip. Pure.

Times are those of the session's timeline, so the captions fit a recording that begins with its first sample.
WebVTT names who speaks in voice spans and lists gaps as notes; SubRip has neither, so labels stand before the
text. Cues of two channels may overlap.
"""

from __future__ import annotations

import textwrap

from pipeline.export.plain_text import completeness, gap_line
from pipeline.export.speech import MAX_CUE_CHARS, Cue, clean, cues_of
from pipeline.output.transcripts import SessionTranscript

_LINE_CHARS = MAX_CUE_CHARS // 2


def webvtt(session: SessionTranscript) -> str:
    """The session as WebVTT."""
    blocks = ["WEBVTT", _note(f"session {session.session_id}")]
    if session.missing:
        blocks.append(_note(completeness(session)))
    blocks += [_note(gap_line(gap)) for gap in session.gaps]
    blocks += [_vtt_cue(cue) for cue in cues_of(session)]
    return "\n\n".join(blocks) + "\n"


def subrip(session: SessionTranscript) -> str:
    """The session as SRT. SubRip has no escapes: what looks like markup in the text is left as it is."""
    blocks = [
        f"{number}\n{_moment(cue.start_ms, ',')} --> {_moment(cue.end_ms, ',')}\n{_srt_text(cue)}"
        for number, cue in enumerate(cues_of(session), 1)
    ]
    return "".join(f"{block}\n\n" for block in blocks)


def _vtt_cue(cue: Cue) -> str:
    text = "\n".join(_escaped(line) for line in _lines(cue.text))
    if cue.voice.label:
        text = f"<v {_escaped(cue.voice.label)}>{text}"
    return f"{cue.name}\n{_moment(cue.start_ms, '.')} --> {_moment(cue.end_ms, '.')}\n{text}"


def _srt_text(cue: Cue) -> str:
    label = f"{cue.voice.label}: " if cue.voice.label else ""
    return "\n".join(_lines((label + cue.text).replace("-->", "->")))


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_CHARS, break_long_words=False, break_on_hyphens=False)


def _note(text: str) -> str:
    return "NOTE " + clean(text).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _moment(milliseconds: int, separator: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{separator}{rest:03}"
