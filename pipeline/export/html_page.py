"""A session as one HTML page: words on a timeline, shaded by confidence, a lane for each voice, gaps. Pure.

One file: no script, no font, no image, no request to anywhere; its Content-Security-Policy says so too.
Everything that comes from the session is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from connectors.transcribe.model import ITEM_PUNCTUATION, MedicalItem
from pipeline.elements import Gap
from pipeline.export.html_style import STYLE
from pipeline.export.plain_text import heading
from pipeline.export.speech import Turn, Voice, clean, is_word, turns_of
from pipeline.output.transcript_text import clock
from pipeline.output.transcripts import SessionTranscript

ROW_SECONDS = 15
"""Seconds of the timeline in one row: words of ordinary speech are then wide enough to read."""
LEVELS = ((0.9, "c4"), (0.75, "c3"), (0.5, "c2"), (0.0, "c1"))
"""Least confidence of each shade, the surest first."""
_LANES = 8
"""Colours there are for voices; they repeat behind that."""

Placed = tuple[int, MedicalItem]
"""A word and its number on the page."""


def html_page(session: SessionTranscript) -> str:
    """The session as HTML in UTF-8."""
    turns = turns_of(session)
    lanes = {voice: number for number, voice in enumerate(dict.fromkeys(turn.voice for turn in turns))}
    title = escape(f"Session {clean(session.session_id)}")
    facts = "".join(f"<p>{escape(line)}</p>" for line in heading(session)[1:])
    language = escape(clean(session.segments[0].settings.language_code) if session.segments else "en-US")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="{language}">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<header><h1>{title}</h1>{facts}{_legend(lanes)}</header>",
            "<main>",
            '<section aria-label="Timeline"><h2>Timeline</h2>',
            *_timeline(turns, session, lanes),
            "</section>",
            '<section aria-label="Transcript"><h2>Transcript</h2>',
            *_transcript(turns, session.gaps, lanes),
            "</section>",
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def shade(confidence: float | None) -> str:
    """Class of a word's shade; none where the service gives no confidence."""
    if confidence is None:
        return ""
    return next((name for least, name in LEVELS if confidence >= least), LEVELS[-1][1])


def _legend(lanes: dict[Voice, int]) -> str:
    voices = [_label(voice, lanes) for voice in lanes if voice.label]
    bounds = ("90 % and more", "75–90 %", "50–75 %", "less than 50 %")
    shades = [f'<span class="{name}">{text}</span>' for (_, name), text in zip(LEVELS, bounds, strict=True)]
    return f'<p class="legend">Confidence: {" ".join(shades)} <span class="gap">no audio</span></p>' + (
        f'<p class="legend">Voices: {" ".join(voices)}</p>' if voices else ""
    )


def _label(voice: Voice, lanes: dict[Voice, int]) -> str:
    return f'<b class="v{lanes[voice] % _LANES}">{escape(voice.label)}</b>' if voice.label else ""


# The timeline


def _timeline(turns: Sequence[Turn], session: SessionTranscript, lanes: dict[Voice, int]) -> list[str]:
    words: dict[int, dict[Voice, list[Placed]]] = {}
    number = 0
    for turn in turns:
        for item in turn.items:
            if is_word(item):
                row = max(0, int(item.start_time // ROW_SECONDS))
                words.setdefault(row, {}).setdefault(turn.voice, []).append((number, item))
                number += 1
    ends = {_row(moment) for gap in session.gaps for moment in (gap.start_time, gap.end_time)}
    marked = {*words, *(_row(turn.start_time) for turn in turns)}
    marked |= {row for row in ends if any(_touches(gap, row * ROW_SECONDS) for gap in session.gaps)}
    rows: list[str] = []
    expected = 0
    for row in sorted(marked):
        if row > expected:
            rows.append(_pause(expected, row, session.gaps))
        rows.append(_row_of(row, words.get(row, {}), session.gaps, lanes))
        expected = row + 1
    last = _row(session.duration_seconds)
    if last > expected:
        rows.append(_pause(expected, last, session.gaps))
    return rows or ["<p>Nothing was said.</p>"]


def _row(seconds: float) -> int:
    return max(0, int(seconds // ROW_SECONDS))


def _pause(first: int, end: int, gaps: Sequence[Gap]) -> str:
    """Rows without a word in one line: nobody spoke, or the audio is missing."""
    start_time, end_time = first * ROW_SECONDS, end * ROW_SECONDS
    missing = any(gap.start_time <= start_time and gap.end_time >= end_time for gap in gaps)
    what, kind = ("no audio", "pause gap") if missing else ("no words", "pause")
    return f'<p class="{kind}">{clock(start_time)} to {clock(end_time)}: {what}</p>'


def _row_of(row: int, voices: dict[Voice, list[Placed]], gaps: Sequence[Gap], lanes: dict[Voice, int]) -> str:
    start = row * ROW_SECONDS
    parts = [f'<div class="row" id="t{row}"><time>{clock(start)}</time><div class="lanes">']
    parts += [_gap_band(gap, start) for gap in gaps if _touches(gap, start)]
    ordered = sorted(voices, key=lambda voice: lanes[voice])
    for voice in ordered:
        words = "".join(_bar(number, item, start) for number, item in voices[voice])
        name = escape(voice.label or "words")
        parts.append(f'<div class="lane v{lanes[voice] % _LANES}" aria-label="{name}">{words}</div>')
    if not ordered:
        parts.append('<div class="lane"></div>')
    return "".join([*parts, "</div></div>"])


def _touches(gap: Gap, start: float) -> bool:
    end = start + ROW_SECONDS
    return start <= gap.start_time < end or (gap.start_time < start < gap.end_time)


def _gap_band(gap: Gap, start: float) -> str:
    left = _percent(gap.start_time - start)
    width = max(0.4, _percent(gap.end_time - start) - left)
    title = escape(f"no audio: {gap.reason}, {clock(gap.start_time)} to {clock(gap.end_time)}")
    return f'<span class="gap band" style="left:{left:.2f}%;width:{width:.2f}%" title="{title}"></span>'


def _bar(number: int, item: MedicalItem, start: float) -> str:
    left = _percent(item.start_time - start)
    width = max(0.3, _percent(item.end_time - start) - left)
    text = escape(clean(item.content))
    return (
        f'<a class="{shade(item.confidence)}" style="left:{left:.2f}%;width:{width:.2f}%" href="#w{number}" '
        f'title="{text}{_certainty(item)}, {clock(item.start_time)}">{text}</a>'
    )


def _percent(seconds: float) -> float:
    return 100 * min(max(seconds / ROW_SECONDS, 0.0), 1.0)


def _certainty(item: MedicalItem) -> str:
    return "" if item.confidence is None else f", {100 * item.confidence:.0f} %"


# The transcript


def _transcript(turns: Sequence[Turn], gaps: Sequence[Gap], lanes: dict[Voice, int]) -> list[str]:
    parts: list[tuple[float, int, str]] = []
    number = 0
    for turn in turns:
        words = []
        for item in turn.items:
            words.append(_word(number, item))
            number += is_word(item)
        text = "".join(words).strip() or escape(turn.text)
        head = f'<a href="#t{_row(turn.start_time)}"><time>{clock(turn.start_time)}</time></a>'
        line = f"<p>{head} {_label(turn.voice, lanes)} {text}</p>"
        parts.append((turn.start_time, 1, line))
    parts += [(gap.start_time, 0, _gap_line(gap)) for gap in gaps]
    return [line for _, _, line in sorted(parts, key=lambda part: part[:2])]


def _word(number: int, item: MedicalItem) -> str:
    text = escape(clean(item.content))
    if not is_word(item):
        return text if item.type == ITEM_PUNCTUATION else f" {text}"
    title = escape(f"{clock(item.start_time)}{_certainty(item)}")
    return f' <span id="w{number}" class="{shade(item.confidence)}" title="{title}">{text}</span>'


def _gap_line(gap: Gap) -> str:
    until = f"until {clock(gap.end_time)}" if gap.end_time > gap.start_time else "for an unknown time"
    text = escape(f"no audio {until}: {gap.reason}")
    return f'<p class="gap"><time>{clock(gap.start_time)}</time> {text}</p>'
