"""The board on a terminal: some lines for each session, as many sessions as fit. Pure.

Those are shown that were active most recently; the ones that live stand above the others, in a fixed order,
so that a line can be read while others change.

It never grows over the terminal: sessions that do not fit are counted in the last line. Of a transcript that
is longer than its cell the end is shown.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pipeline.elements import FinalTranscript
from pipeline.export.speech import clean, is_word
from pipeline.output.transcript_text import clock, counted
from pipeline.watch.board import Board
from pipeline.watch.lines import is_unsure
from pipeline.watch.values import Latency, State, WatchedSession
from pipeline.watch.views import text_of_partial, words_of_partial

_STATE_STYLES = {
    State.LIVE: "bold green",
    State.IDLE: "yellow",
    State.DRAINING: "cyan",
    State.ENDED: "dim",
    State.REJECTED: "bold red",
}
_UNSURE = Style(color="yellow", underline=True)
_PARTIAL = Style(dim=True, italic=True)
_FRAME_LINES = 5
"""Frame and head of the table, and the line below it."""
_MAX_LINES = 4
_MIN_ID_WIDTH, _MAX_ID_WIDTH = 10, 32
_WIDTHS = {"state": 8, "at": 8, "finals": 6, "behind": 8}
_MIN_SAID_WIDTH = 8
_COLUMNS = ("session", "state", "at", "said", "finals", "behind")
_COLUMNS_IF_NARROW = ("session", "state", "said", "behind")
_NARROW = 80
"""Characters below which there are fewer columns."""
_WRAPPING = Console(width=80, file=io.StringIO())


def board_table(board: Board, width: int, height: int, *, show_text: bool) -> RenderableType:
    """The board within `width` characters and `height` lines."""
    sessions = board.by_activity()
    room = max(1, height - _FRAME_LINES)
    lines = min(_MAX_LINES, max(1, room // max(1, len(sessions))))
    shown = sorted(sessions[: room // lines], key=_place)
    longest = max((len(clean(session.session_id)) for session in shown), default=0)
    id_width = min(max(longest, _MIN_ID_WIDTH), _MAX_ID_WIDTH, max(_MIN_ID_WIDTH, width // 4))
    names = _COLUMNS if width >= _NARROW else _COLUMNS_IF_NARROW
    frame = (len(names) + 1) + 2 * (len(names) - 1)
    widths = {**_WIDTHS, "session": id_width}
    widths["said"] = max(
        _MIN_SAID_WIDTH, width - frame - sum(widths[name] for name in names if name != "said")
    )
    table = Table(pad_edge=False)
    for name in names:
        to_the_right = name in ("at", "finals", "behind")
        table.add_column(
            name, width=widths[name], justify="right" if to_the_right else "left", no_wrap=name != "said"
        )
    for session in shown:
        text = said(session, board.limits.low_confidence, show_text=show_text)
        cells = {
            "session": Text(clean(session.session_id), style="bold", overflow="ellipsis"),
            "state": Text(session.state.value, style=_STATE_STYLES[session.state]),
            "at": Text(clock(session.heard_until)[:-3], style="dim"),
            "said": ending(text, widths["said"], lines),
            "finals": Text(str(session.finals)),
            "behind": Text(behind(session.latency)),
        }
        table.add_row(*(cells[name] for name in names))
    return Group(table, Text(summary(board, len(sessions) - len(shown)), style="dim", no_wrap=True))


def _place(session: WatchedSession) -> tuple[int, float]:
    """What is alive keeps its place; behind it what fell silent last."""
    if session.state in (State.LIVE, State.DRAINING):
        return 0, session.number
    return 2 if session.is_over else 1, -session.active_at


def summary(board: Board, hidden: int) -> str:
    """How many sessions there are, and how far behind the speech they are."""
    states = [session.state for session in board]
    counts = [f"{states.count(state)} {state}" for state in State if state in states]
    parts = [counted(len(board), "session", "sessions") + (f" ({', '.join(counts)})" if counts else "")]
    if hidden:
        parts.append(f"{hidden} not shown")
    if board.median_latency_seconds is not None:
        parts.append(f"finals {board.median_latency_seconds:.1f} s behind (median)")
    return ", ".join(parts)


def behind(latency: Latency | None) -> str:
    """Seconds since it was spoken; after a plus sign, where that is not known, since its publication."""
    if latency is None:
        return ""
    if latency.since_spoken is None:
        return f"+{latency.since_published:.1f} s"
    return f"{latency.since_spoken:.1f} s"


def said(session: WatchedSession, low_below: float, *, show_text: bool) -> Text:
    """The latest finals, then what is heard so far in dim; counts without `show_text`."""
    if not show_text:
        return _counts(session)
    text = Text()
    voice = None
    for _, segment in sorted(session.segments.items()):
        voice = _append_final(text, segment.final, low_below, voice)
    for partial in session.partials.values():
        _append(text, _voice_text(partial.channel_id, None), _PARTIAL)
        _append(text, text_of_partial(partial), _PARTIAL)
    return text or _ended_note(session)


def ending(text: Text, width: int, lines: int) -> Text:
    """The last `lines` lines of `text` when it is broken to `width`."""
    tail = max(0, len(text) - (lines + 1) * width)  # what lies before cannot be seen
    broken = text[tail:].wrap(_WRAPPING, width - 1)
    if tail == 0 and len(broken) <= lines:
        return Text("\n").join(broken)
    last = broken[-lines:]
    return Text("\n").join([Text("…") + last[0], *last[1:]])


def _counts(session: WatchedSession) -> Text:
    text = Text(counted(session.words, "word", "words"))
    if session.low_confidence:
        text.append(f", {session.low_confidence} unsure", _UNSURE)
    heard = sum(words_of_partial(partial) for partial in session.partials.values())
    if heard:
        text.append(f", {heard} being heard", _PARTIAL)
    note = _ended_note(session)
    return text + Text(", ") + note if note else text


def _ended_note(session: WatchedSession) -> Text:
    notes: Sequence[str] = [
        *([session.reason] if session.reason else []),
        *([f"{counted(session.missing, 'final', 'finals')} not seen"] if session.missing else []),
        *([counted(len(session.gaps), "gap", "gaps")] if session.gaps else []),
    ]
    return Text(", ".join(notes), style=_STATE_STYLES[session.state])


def _append_final(
    text: Text, final: FinalTranscript, low_below: float, voice: tuple[str | None, str | None] | None
) -> tuple[str | None, str | None] | None:
    """Adds the final's words, with the voice before them where it is another one; the last voice."""
    items = final.alternatives[0].items if final.alternatives else ()
    if not any(item.content for item in items):
        _append(text, clean(final.text))
        return voice
    for item in items:
        if not item.content:
            continue
        if is_word(item):
            speaker = item.speaker or (voice[1] if voice and voice[0] == final.channel_id else None)
            if (final.channel_id, speaker) != voice:
                voice = (final.channel_id, speaker)
                _append(text, _voice_text(*voice), Style(bold=True, dim=True))
            _append(text, clean(item.content), _UNSURE if is_unsure(item, low_below) else None)
        else:
            text.append(clean(item.content))
    return voice


def _voice_text(channel_id: str | None, speaker: str | None) -> str:
    parts = [clean(channel_id)] if channel_id else []
    parts += [f"speaker {clean(speaker)}"] if speaker else []
    return f"{', '.join(parts)}:" if parts else ""


def _append(text: Text, words: str, style: Style | None = None) -> None:
    if words and text:
        text.append(" ")
    text.append(words, style)
