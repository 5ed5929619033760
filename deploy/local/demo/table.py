"""The demo on the screen: a table for a terminal, lines for anything else.

Pure: board and latencies in, rich renderables or lines out; the caller prints. Transcript text appears here,
on the terminal of whoever started the demo, and nowhere else: no log gets any of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.local.demo.board import Board, SessionRow, SessionState
from deploy.local.demo.latency import LatencySummary
from deploy.local.demo.outcome import SessionOutcome

_STATE_STYLES = {
    SessionState.WAITING: "dim",
    SessionState.PLAYING: "green",
    SessionState.PLAYED: "yellow",
    SessionState.ENDED: "blue",
}
_COLUMN_WIDTHS = {"session": 32, "state": 15, "finals": 6, "added": 8}
_TEXT_LINES = 2


def live_table(board: Board, latencies: Mapping[str, float], width: int) -> RenderableType:
    """The table while sessions run, two lines a session; `latencies` are added seconds by result id.

    Of a transcript that is longer than its cell the end is shown. `width` is the terminal's, in characters.
    """
    table = Table(expand=True, pad_edge=False)
    table.add_column("session", width=_COLUMN_WIDTHS["session"], no_wrap=True)
    table.add_column("state", width=_COLUMN_WIDTHS["state"], no_wrap=True)
    table.add_column("transcript", ratio=1)
    table.add_column("finals", width=_COLUMN_WIDTHS["finals"], justify="right")
    table.add_column("added", width=_COLUMN_WIDTHS["added"], justify="right")
    room = max(20, width - sum(_COLUMN_WIDTHS.values()) - 3 * len(_COLUMN_WIDTHS) - 4)
    for row in board.rows.values():
        text = _text_cell(row, (room - 6) * _TEXT_LINES)  # words do not fill a line to its end
        finals = str(len(row.finals))
        table.add_row(_session_cell(row), _state_cell(row), text, finals, _added(row, latencies))
    if not board.dead_letters:
        return table
    return Group(table, *(Text(f"dead letter: {reason}", style="red") for reason in board.dead_letters))


class PlainLog:
    """The same for a pipe or a file: a line for every change of state and every final, none for partials."""

    def __init__(self) -> None:
        self._states: dict[str, SessionState] = {}
        self._finals: set[tuple[str, int]] = set()
        self._dead_letters = 0

    def lines(self, board: Board, latencies: Mapping[str, float]) -> Iterator[str]:
        """What has changed since the last call."""
        for session_id, row in board.rows.items():
            for index in sorted(row.finals):
                if (session_id, index) not in self._finals:
                    self._finals.add((session_id, index))
                    note = _added_note(row, index, latencies)
                    yield f"{session_id}  final {index}  {note}{row.finals[index]}"
            if self._states.get(session_id, SessionState.WAITING) is not row.state:
                self._states[session_id] = row.state
                yield f"{session_id}  {row.state}"
        for reason in board.dead_letters[self._dead_letters :]:
            yield f"dead letter: {reason}"
        self._dead_letters = len(board.dead_letters)


def outcome_table(outcomes: Sequence[SessionOutcome]) -> Table:
    """What came out of the topic, per session, against what was said."""
    table = Table(title="Read back from the output topic", title_justify="left", expand=True, show_lines=True)
    table.add_column("session", ratio=2, overflow="fold")
    table.add_column("finals", ratio=6)
    table.add_column("word errors", justify="right", width=16)
    for outcome in outcomes:
        table.add_row(outcome.session_id, _finals_cell(outcome), _errors_text(outcome))
    return table


def outcome_lines(outcomes: Sequence[SessionOutcome]) -> Iterator[str]:
    """The same as plain lines."""
    yield "Read back from the output topic:"
    for outcome in outcomes:
        yield f"{outcome.session_id}: {len(outcome.finals)} finals, {_errors_text(outcome)}"
        yield from (f"  {line}" for line in _final_lines(outcome))


def latency_line(summary: LatencySummary | None) -> str:
    """One sentence about the latency the pipeline added."""
    if summary is None:
        return "Added latency: not measured, no final was seen while the sessions ran."
    return (
        f"Added latency (the endpoint sends a final -> a consumer of the output topic has it): "
        f"p50 {summary.p50_seconds * 1000:.0f} ms, p99 {summary.p99_seconds * 1000:.0f} ms, "
        f"max {summary.max_seconds * 1000:.0f} ms over {summary.count} finals."
    )


def _session_cell(row: SessionRow) -> Text:
    recording = row.session.recording
    about = f"{recording.specialty.lower()}, {recording.sample_rate_hertz // 1000} kHz"
    return Text.assemble((row.session.session_id, "bold"), "\n", (about, "dim"))


def _state_cell(row: SessionRow) -> Text:
    seconds = f"{row.played_seconds:.1f} of {row.session.recording.duration_seconds:.1f} s"
    return Text.assemble((row.state.value, _STATE_STYLES[row.state]), "\n", (seconds, "dim"))


def _text_cell(row: SessionRow, characters: int) -> Text:
    """Finals, then the partial in dim; the last `characters` of them."""
    text = Text(" ".join(row.finals[index] for index in sorted(row.finals)))
    if row.partial:
        text.append(f"{' ' if text else ''}{row.partial}", style="dim italic")
    if len(text) <= characters:
        return text
    cut = text.plain.find(" ", len(text) - characters + 1)  # at a word's end, not within
    return Text("…") + text[max(cut, 0) :]


def _added(row: SessionRow, latencies: Mapping[str, float]) -> str:
    """Added latency of the latest final."""
    seconds = latencies.get(row.result_ids[max(row.finals)]) if row.finals else None
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _added_note(row: SessionRow, index: int, latencies: Mapping[str, float]) -> str:
    seconds = latencies.get(row.result_ids[index])
    return "" if seconds is None else f"(added {seconds * 1000:.0f} ms)  "


def _finals_cell(outcome: SessionOutcome) -> Text:
    return Text("\n".join(_final_lines(outcome)) or "none", style="" if outcome.finals else "red")


def _final_lines(outcome: SessionOutcome) -> Iterator[str]:
    for final in outcome.finals:
        yield f"{final.start_time:6.2f}-{final.end_time:6.2f} s  {final.transcript}"


def _errors_text(outcome: SessionOutcome) -> str:
    errors = outcome.word_errors
    return f"{errors.errors} of {errors.reference_words} = {errors.rate:.1%}"
