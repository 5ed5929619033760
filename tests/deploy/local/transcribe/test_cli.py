"""`medstream endpoint`: its help explains every fault, and wrong settings end in one sentence."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.transcribe.cli import app
from deploy.local.transcribe.faults import FAULT_HELP, Fault, FaultKind


def help_text(columns: int) -> str:
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["--help"])
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)


def paragraphs(text: str) -> list[str]:
    """Each on one line."""
    lines = [line.strip() for line in text.splitlines()]
    return [" ".join(part.split()) for part in "\n".join(lines).split("\n\n")]


@pytest.mark.parametrize("columns", [80, 200])
def test_every_kind_of_fault_has_a_paragraph_of_its_own(columns: int) -> None:
    found = paragraphs(help_text(columns))
    assert [text for text in found if text.startswith("kind=")] == [
        f"kind={kind}: {FAULT_HELP[kind]}." for kind in FaultKind
    ]


@pytest.mark.parametrize("name", [entry.name for entry in fields(Fault)])
def test_every_field_of_a_fault_is_in_the_help(name: str) -> None:
    begins = [line.split(":")[0] for line in help_text(200).splitlines() if ":" in line]
    assert any(name in begin.replace(",", " ").replace("=", " ").split() for begin in begins)


def test_the_ways_to_give_a_fault_are_in_the_help() -> None:
    text = help_text(200)
    for way in ("--fault ", "--faults ", "POST to /_local/faults", "kind=reset"):
        assert way in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fault", "reset"], "--fault 'reset': expected field=value"),
        (["--fault", "kind=reset", "--fault", "kind=explode"], "--fault: kind: one of refuse, late_headers"),
        (["--fault", "kind=reset,after_audio_seconds=-1"], "--fault: after_audio_seconds: 0 to"),
        (["--faults", "nowhere.json"], "--faults nowhere.json: No such file or directory"),
    ],
)
def test_a_wrong_fault_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["--port", "0", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"medstream endpoint: {sentence}")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("given", ["--tls-cert", "--tls-key"])
def test_a_certificate_and_its_key_belong_together(given: str) -> None:
    result = CliRunner().invoke(app, [given, "some.pem"])
    assert result.exit_code == 2
    assert "belong together" in result.stderr
