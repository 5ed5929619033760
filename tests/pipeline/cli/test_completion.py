"""Completion by the shell: pressed in a real bash, and by the protocols of zsh and fish."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MEDSTREAM = Path(sys.executable).with_name("medstream")
ENVIRONMENT = {**os.environ, "PATH": f"{MEDSTREAM.parent}{os.pathsep}{os.environ['PATH']}", "PS1": "$ "}
_WAIT_SECONDS = 60.0


class Bash:
    """An interactive bash at a terminal."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**ENVIRONMENT, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read_until(self, text: str) -> str:
        """What it shows until `text` is among it."""
        shown, deadline = "", time.monotonic() + _WAIT_SECONDS
        while text not in shown:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {shown!r}"
            shown += os.read(self._ours, 4096).decode()
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def bash() -> Iterator[Bash]:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    shell = Bash()
    yield shell
    shell.close()


def test_tab_in_bash_completes_commands_and_those_that_are_plugged_in(bash: Bash) -> None:
    bash.type('eval "$(medstream --show-completion)"; echo "rea""dy"\n')
    bash.read_until("ready")
    bash.type("medstream rep\t")
    bash.read_until("medstream replay ")
    bash.type("\x15medstream local create\t")  # Ctrl-U: a new line
    bash.read_until("medstream local create-topics ")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("medstream rep", {"replay"}), ("medstream te", {"test"}), ("medstream test --exa", {"--example"})],
)
def test_zsh_and_fish_are_answered(typed: str, offered: set[str]) -> None:
    def answer(shell: str, **variables: str) -> str:
        asked = {**ENVIRONMENT, "_MEDSTREAM_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": typed}
        done = subprocess.run(
            [MEDSTREAM], env={**asked, **variables}, capture_output=True, text=True, check=False
        )
        assert not done.stderr
        return done.stdout

    zsh = answer("zsh")
    assert {word for word in offered if f'"{word}":' in zsh} == offered
    fish = answer("fish", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert {line.split("\t")[0] for line in fish.splitlines()} == offered
