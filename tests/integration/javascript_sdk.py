"""Runs `javascript/transcribe.mjs`, the AWS SDK for JavaScript v3 as it is, and reads what it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).with_name("javascript")
OLDEST_NODE = 20
_INSTALL_SECONDS = 300
_RUN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Transcription:
    """What the program printed.

    Attributes:
        response: The SDK's output, without the results; None when the request was refused.
        results: The results of all events, in order.
        error: The SDK's error, if there was one.
        stderr: What else was said, for a failing test's message.
    """

    response: dict[str, Any] | None
    results: list[dict[str, Any]]
    error: dict[str, Any] | None
    stderr: str = field(repr=False)

    @property
    def texts(self) -> list[tuple[bool, str]]:
        """Whether it is partial, and the text, of each result."""
        return [(result["IsPartial"], result["Alternatives"][0]["Transcript"]) for result in self.results]

    @property
    def finals(self) -> list[str]:
        return [text for is_partial, text in self.texts if not is_partial]


def why_not() -> str | None:
    """Why the tests cannot run here, if they cannot."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        return f"node is {version}; the SDK needs {OLDEST_NODE} or newer"
    return None


def install(folder: Path) -> None:
    """Copy the program to `folder` with the packages its lock file names; skips the test where it cannot.

    In CI, where Node is present, packages that cannot be installed are a failure.
    """
    if reason := why_not():
        pytest.skip(f"no JavaScript SDK: {reason}")
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end(f"no JavaScript SDK: npm ci failed in {folder}:\n{done.stderr[-2000:]}")


def transcribe(folder: Path, environment: Mapping[str, str], pcm: bytes, **settings: object) -> Transcription:
    """Stream `pcm`; `settings` are those of `transcribe.mjs`, `environment` what the SDK reads."""
    audio = folder / "speech.pcm"
    audio.write_bytes(pcm)
    done = subprocess.run(
        ["node", "transcribe.mjs", json.dumps({"audio": audio.name, **settings})],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    by_kind = {line["kind"]: line for line in lines}
    assert lines[-1]["kind"] in {"end", "error"}
    results = [
        result
        for line in lines
        if line["kind"] == "event"
        for result in line["TranscriptEvent"]["Transcript"]["Results"]
    ]
    return Transcription(by_kind.get("response"), results, by_kind.get("error"), done.stderr)
