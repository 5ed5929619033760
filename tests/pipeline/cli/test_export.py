"""`medstream export` from a file: what it writes where, and what it refuses."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.errors import SettingsError
from pipeline.export.lines import UnreadableLine
from pipeline.output.transcript_text import final_json, session_ended_json
from tests.pipeline.synthetic_session import a_final, an_end


def export(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    found = CliRunner().invoke(cli.app, ["export", *arguments], input=given)
    if isinstance(found.exception, Exception):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture
def lines(tmp_path: Path) -> str:
    """One session that is complete, and one that lacks its first segment."""
    end = an_end(1)
    path = tmp_path / "finals.jsonl"
    path.write_text(
        "\n".join(
            [
                final_json(a_final(0, "whole words", 0.0, session_id="whole")),
                final_json(a_final(1, "torn words", 0.0, session_id="../torn")),
                session_ended_json(an_end(1, session_id="whole").summary, end.ended_at_ms),
            ]
        )
    )
    return f"--from-file={path}"


def test_one_session_goes_to_standard_output_or_to_a_file(lines: str, tmp_path: Path) -> None:
    _, text, told = export(lines, "--session=whole")
    assert "Complete (END_OF_SESSION)" in text
    assert "whole words" in text
    assert told == ""
    path = tmp_path / "out.vtt"
    assert export(lines, "--session=whole", "--format=vtt", f"--output={path}")[1] == ""
    assert path.read_text().startswith("WEBVTT")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_session_gets_a_file_in_the_directory(lines: str, tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "exports"
    _, text, told = export(lines, "--format=html", f"--output-directory={directory}")
    assert sorted(path.name for path in directory.iterdir()) == ["%2E.%2Ftorn.html", "whole.html"]
    assert "'../torn': Incomplete: segments 0 are missing" in told
    assert "2 sessions written" in told
    assert text == ""


def test_standard_input_is_a_file_too() -> None:
    _, text, _ = export("--from-file=-", given=final_json(a_final(0, "piped words", 0.0)))
    assert "piped words" in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--format=pdf"], "--format: 'pdf' is not one of text, json, vtt, srt, html"),
        (["--session=nobody"], "--session: there is nothing of 'nobody'"),
        ([], "--session: there are 2 sessions"),
        (["--session=../torn", "--require-complete"], "1 of 1 sessions are not"),
        (["--session=whole", "--output=/no/such/directory/file"], "cannot write"),
        (["--output=a", "--output-directory=b"], "give one of them"),
        (["--from-file=no-such-file"], "cannot read no-such-file"),
    ],
)
def test_what_cannot_be_done_is_told(lines: str, arguments: list[str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        export(lines, *arguments)


def test_without_a_file_kafka_must_be_named() -> None:
    with pytest.raises(SettingsError, match="--bootstrap-servers and --output-topic"):
        export()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text('{"schema": "final_transcript"}')
    with pytest.raises(UnreadableLine, match="line 1"):
        export(f"--from-file={path}")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        export(f"--from-file={path}")
