"""What reaches the terminal at which level."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from pipeline.cli import logs
from pipeline.cli.log_options import configure_logs
from pipeline.errors import SettingsError


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_warnings_are_shown_and_less_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("medstream.test").info("quiet")
    logging.getLogger("medstream.test").warning("loud")
    shown = capsys.readouterr().err
    assert "loud" in shown
    assert "quiet" not in shown


def test_the_level_holds_although_a_library_lowers_the_root_s(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("WARNING")
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("medstream.test").info("quiet")
    assert capsys.readouterr().err == ""


def test_the_clients_own_attempts_are_left_out_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("WARNING")
    logging.getLogger("kafka.conn").error("attempt")
    assert capsys.readouterr().err == ""
    logs.configure("INFO")
    logging.getLogger("kafka.conn").error("attempt")
    assert "attempt" in capsys.readouterr().err


def test_a_level_may_be_written_in_small_letters(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    logging.getLogger("medstream.test").debug("detail")
    assert "detail" in capsys.readouterr().err


def test_an_unknown_level_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="DEBUG, INFO, WARNING or ERROR"):
        logs.configure("LOUD")


def test_json_is_one_object_a_line_and_the_level_holds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (logging, "raiseExceptions")):
        monkeypatch.setattr(module, name, getattr(module, name))
    configure_logs("WARNING", "json")
    logging.getLogger("pipeline.test").info("quiet")
    logging.getLogger("pipeline.test").warning("loud")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "loud"


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"--log-format.*text, json"):
        configure_logs("WARNING", "xml")
