"""What is printed where: JSON lines, plain lines, a terminal. Texts are synthetic."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from connectors.transcribe.model import MedicalAlternative
from pipeline.cli.printers import JsonPrinter, LinePrinter, Printer, TerminalPrinter, printer
from pipeline.elements import FinalTranscript, PartialTranscript, SessionSettings, SessionSummary, SourceRange
from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import EmitFinal, EmitPartial, EmitSessionEnded
from pipeline.worker.live_outputs import FailureReport
from tests.pipeline.builders import word

SOURCE = SourceRange("audio", 0, 0, 9)


def final(text: str, result_id: str = "r1") -> EmitFinal:
    return EmitFinal(
        FinalTranscript(
            session_id="session-1",
            result_id=result_id,
            segment_index=0,
            channel_id=None,
            start_time=0.0,
            end_time=1.0,
            alternatives=(MedicalAlternative(text, (word(text, 0.0, 1.0),)),),
            settings=SessionSettings(),
            sample_rate_hertz=16_000,
            source=SOURCE,
            stream_id="stream-1",
        )
    )


def partial(text: str, result_id: str = "r1", *, superseded: bool = False) -> EmitPartial:
    alternatives = (MedicalAlternative(text, (word(text, 0.0, 1.0),)),)
    return EmitPartial(
        PartialTranscript(
            "session-1", result_id, None, 0.0, 1.0, alternatives, "stream-1", superseded=superseded
        )
    )


ENDED = EmitSessionEnded(SessionSummary("session-1", "END_OF_SESSION", 1, 9, 0.9, (), 1, 0, SOURCE))
OUTPUTS = [
    partial("al"),
    FailureReport(StreamFailure("Code", "message"), 1),
    partial("alpha"),
    final("alpha"),
    partial("br", "r2"),
    partial("br", "r2", superseded=True),
    ENDED,
]


def printed(shown: Printer, capsys: pytest.CaptureFixture[str]) -> list[str]:
    for output in OUTPUTS:
        shown.show(output)
    shown.close()
    captured = capsys.readouterr()
    assert captured.err == "", "transcripts belong to standard output alone"
    return captured.out.splitlines()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in printed(JsonPrinter(), capsys)]
    assert [(record["schema"], record.get("superseded")) for record in records] == [
        ("partial_transcript", False),
        ("partial_transcript", False),
        ("final_transcript", None),
        ("partial_transcript", False),
        ("partial_transcript", True),
        ("session_ended", None),
    ]
    assert records[-1]["ended_at"] > 1_700_000_000_000_000


def test_json_without_partials(capsys: pytest.CaptureFixture[str]) -> None:
    schemas = [json.loads(line)["schema"] for line in printed(JsonPrinter(partials=False), capsys)]
    assert schemas == ["final_transcript", "session_ended"]


def test_lines_are_finals_alone_unless_partials_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(LinePrinter(), capsys) == ["[0:00.00–0:01.00] alpha"]
    lines = printed(LinePrinter(partials=True), capsys)
    assert lines[:3] == [
        "~ [0:00.00–0:01.00] al",
        "~ [0:00.00–0:01.00] alpha",
        "[0:00.00–0:01.00] alpha",
    ]
    assert lines[-1] == "~ [0:00.00–0:01.00] "


def test_what_is_told_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (JsonPrinter(), LinePrinter()):
        shown.tell("a sentence")
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", "medstream: a sentence\n")


# A terminal


class Terminal:
    """A terminal of 40 columns that keeps what was written."""

    def __init__(self) -> None:
        self.file = StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=40, height=10, color_system=None)
        self.shown = TerminalPrinter(self.console)

    def written(self, *outputs: EmitFinal | EmitPartial) -> str:
        """What these outputs add."""
        before = len(self.file.getvalue())
        for output in outputs:
            self.shown.show(output)
        return self.file.getvalue()[before:]


def test_a_partial_is_rewritten_in_place_and_replaced_by_its_final() -> None:
    terminal = Terminal()
    assert "al" in terminal.written(partial("al"))
    rewritten = terminal.written(partial("alpha"))
    assert "\x1b[2K" in rewritten, "the line is cleared first"
    assert rewritten.count("\n") == 0
    done = terminal.written(final("alpha"))
    assert done.count("alpha") == 1
    assert "alpha" not in terminal.written(partial("br", "r2"))
    terminal.shown.close()


def test_a_long_partial_keeps_to_its_line_and_shows_its_end() -> None:
    terminal = Terminal()
    shown = terminal.written(partial(" ".join(f"word{number}" for number in range(40))))
    assert "word39" in shown
    assert "word1 " not in shown
    assert "…" in shown


def test_a_long_final_is_whole() -> None:
    terminal = Terminal()
    text = " ".join(f"word{number}" for number in range(40))
    assert text in terminal.written(final(text))


def test_open_segments_of_two_channels_have_a_line_each() -> None:
    terminal = Terminal()
    one, two = partial("left", "r1"), partial("right", "r2")
    terminal.written(replace(one, partial=replace(one.partial, channel_id="ch_0")))
    shown = terminal.written(replace(two, partial=replace(two.partial, channel_id="ch_1")))
    assert "(ch_0) left" in shown
    assert "(ch_1) right" in shown


def test_a_withdrawn_partial_disappears() -> None:
    terminal = Terminal()
    terminal.written(partial("gone"))
    assert "gone" not in terminal.written(partial("gone", superseded=True))
    assert "gone" not in terminal.written(partial("br", "r2"))


def test_markup_in_a_text_is_text() -> None:
    terminal = Terminal()
    assert "[bold]alpha" in terminal.written(final("[bold]alpha"))


def test_a_sentence_interrupts_the_line_and_the_line_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.written(partial("alpha"))
    before = len(terminal.file.getvalue())
    terminal.shown.tell("a sentence")
    assert capsys.readouterr().err == "medstream: a sentence\n"
    after = terminal.file.getvalue()[before:]
    assert "a sentence" not in after
    assert "alpha" in after
    terminal.shown.close()


# Which one


@pytest.mark.parametrize(
    ("json_wanted", "partials", "kind"),
    [(True, None, JsonPrinter), (False, None, LinePrinter), (False, True, LinePrinter)],
)
def test_without_a_terminal(json_wanted: bool, partials: bool | None, kind: type[Printer]) -> None:
    assert isinstance(printer(json=json_wanted, partials=partials), kind)


@pytest.mark.parametrize(
    ("json_wanted", "partials", "kind"),
    [(False, None, TerminalPrinter), (False, False, LinePrinter), (True, None, JsonPrinter)],
)
def test_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, json_wanted: bool, partials: bool | None, kind: type[Printer]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = printer(json=json_wanted, partials=partials)
    shown.close()
    assert isinstance(shown, kind)
