"""Signals and exit codes of `medstream demo`, without servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.demo.cli import app
from deploy.local.interruption import Interrupted, signals_raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_next_ones_do_not_disturb_the_ending(number: int) -> None:
    before = signal.getsignal(number)
    ended_in_order = False

    def interrupted_twice() -> None:
        nonlocal ended_in_order
        with signals_raise():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)
                ended_in_order = True

    with pytest.raises(Interrupted) as caught:
        interrupted_twice()
    assert caught.value.signal_number == number
    assert ended_in_order
    assert signal.getsignal(number) is before


def test_no_error_handler_takes_the_interrupt_for_an_error() -> None:
    assert not issubclass(Interrupted, Exception)


def test_what_goes_wrong_is_a_sentence_with_the_logs_folder_and_exit_code_1(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MEDSTREAM_JAVA": str(tmp_path / "no-java")}
    environment["MEDSTREAM_MAVEN_REPOSITORY"] = "http://127.0.0.1:9"  # nothing to download from either
    medstream = Path(sys.executable).with_name("medstream")
    demo = subprocess.run([medstream, "demo"], env=environment, capture_output=True, text=True, check=False)
    assert demo.returncode == 1
    assert "medstream demo: " in demo.stderr
    assert "Logs are in" in demo.stderr
    assert "Traceback" not in demo.stdout + demo.stderr


@pytest.mark.parametrize("option", [["--speed", "0"], ["--sessions", "0"], ["--sessions", "many"]])
def test_wrong_usage_is_refused(option: list[str]) -> None:
    result = CliRunner().invoke(app, option)
    assert result.exit_code == 2
    assert option[0] in result.output
