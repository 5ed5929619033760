"""JSON lines: what is in them, and what cannot come out whatever a record carries."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.observability import json_logs
from pipeline.observability.json_logs import EXTRAS, FIELDS, JsonFormatter
from tests.pipeline.builders import SECRET_AUDIO, SECRET_TEXT

OURS, FOREIGN = "pipeline.test", "botocore.test"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The root logger with one handler that writes JSON."""
    root = logging.getLogger()
    written = io.StringIO()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(written)])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (logging, "raiseExceptions")):
        monkeypatch.setattr(module, name, getattr(module, name))
    logging.Logger.manager._clear_cache()  # levels are remembered
    json_logs.apply()
    yield written
    logging.Logger.manager._clear_cache()


def only(written: io.StringIO) -> dict[str, Any]:
    (line,) = written.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    assert set(found) <= {*FIELDS, *EXTRAS}
    return found


def test_a_record_of_ours_is_one_line_with_its_listed_fields(lines: io.StringIO) -> None:
    extra = {"code": "Throttled", "failures": 3, "session_id": "visit-17", "topic": ["not", "plain"]}
    logging.getLogger(OURS).warning("Lost %s\nof %d", "one", 2, extra=extra)
    found = only(lines)
    assert found.pop("timestamp").endswith("Z")
    assert found.pop("process") > 0
    assert found == {
        "level": "WARNING",
        "logger": OURS,
        "message": "Lost one\nof 2",
        "thread": "MainThread",
        "code": "Throttled",
        "failures": 3,
    }


@pytest.mark.parametrize(
    ("message", "arguments", "shown"),
    [
        ("sent %s to port %d", (SECRET_TEXT, 9092), "sent … to port 9092"),
        (
            "%r failed after %.1f s: %s",
            (SECRET_AUDIO, 1.25, ValueError(SECRET_TEXT)),
            "'…' failed after 1.2 s: ValueError",
        ),
        ("%(what)s and %(count)d", ({"what": SECRET_TEXT, "count": 2},), "… and 2"),
        ("%d is no number", (SECRET_TEXT,), "%d is no number"),
        ("too few %s %s", (SECRET_TEXT,), "too few %s %s"),
        (f"first line\n{SECRET_TEXT}", (), "first line"),
        (RuntimeError("composed"), (), "composed"),
        ("x" * 190 + " " * 20 + SECRET_TEXT, (), "x" * 190 + " " * 10),
    ],
)
def test_of_a_library_s_message_only_its_own_text_is_shown(
    lines: io.StringIO, message: object, arguments: tuple[object, ...], shown: str
) -> None:
    logging.getLogger(FOREIGN).error(message, *arguments, extra={"code": SECRET_TEXT})
    assert only(lines)["message"] == shown
    assert SECRET_TEXT not in lines.getvalue()


def test_libraries_say_nothing_below_info_and_we_may(lines: io.StringIO) -> None:
    logging.getLogger(FOREIGN).debug("payload")
    logging.getLogger(OURS).debug("detail")
    assert only(lines)["message"] == "detail"


def test_an_exception_is_its_class_and_its_place(lines: io.StringIO) -> None:
    def stumble(words: str) -> None:
        try:
            raise KeyError(words)
        except KeyError as error:
            raise ValueError(words) from error

    try:
        stumble(SECRET_TEXT)
    except ValueError:
        logging.getLogger(OURS).exception("A publisher failed")
    found = only(lines)
    assert (found["error"], found["causes"]) == ("ValueError", ["KeyError"])
    assert "error_text" not in found
    assert [frame.split(" ")[1] for frame in found["frames"]] == [
        "test_an_exception_is_its_class_and_its_place",
        "stumble",
    ]
    assert SECRET_TEXT not in lines.getvalue()


def test_an_error_of_ours_says_what_it_says(lines: io.StringIO) -> None:
    try:
        raise SettingsError("--option", "is wrong")
    except SettingsError:
        logging.getLogger(FOREIGN).exception("it failed")
    assert (only(lines)["error"], "is wrong" in only(lines)["error_text"]) == ("SettingsError", True)


def test_a_handler_that_writes_exceptions_beside_the_message_has_none(lines: io.StringIO) -> None:
    """As the handler of Beam's workers does."""
    seen: list[logging.LogRecord] = []

    class Beside(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.format(record)
            seen.append(record)

    logging.getLogger().addHandler(Beside())
    json_logs.apply()
    try:
        raise ValueError(SECRET_TEXT)
    except ValueError:
        logging.getLogger(FOREIGN).exception("it failed")
    assert (seen[0].exc_info, seen[0].exc_text) == (None, None)
    assert only(lines)["error"] == "ValueError"


def test_what_nobody_catches_is_logged_without_what_it_says(
    lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError(SECRET_TEXT)

    thread = threading.Thread(target=fail, name="worker-1")
    thread.start()
    thread.join()
    assert (only(lines)["error"], only(lines)["thread"]) == ("ValueError", "worker-1")
    assert SECRET_TEXT not in lines.getvalue() + capsys.readouterr().err


def test_a_record_that_cannot_be_written_is_not_printed(
    lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger(OURS).warning("%d", SECRET_TEXT)
    assert SECRET_TEXT not in lines.getvalue() + capsys.readouterr().err


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text(), st.lists(st.text()))
def test_whatever_a_record_carries_it_is_one_line_of_listed_fields(
    extra: dict[str, str], message: str, arguments: list[str]
) -> None:
    record = logging.LogRecord(FOREIGN, logging.ERROR, "file.py", 1, message, tuple(arguments), None)
    vars(record).update({f"x{name}": value for name, value in extra.items()})
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert set(json.loads(line)) <= set(FIELDS)


@pytest.mark.parametrize(
    ("setting", "variable", "wanted"), [("text", "", False), ("json", "", True), ("text", "JSON", True)]
)
def test_the_job_or_the_worker_s_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, setting: str, variable: str, wanted: bool
) -> None:
    monkeypatch.setenv(json_logs.FORMAT_VARIABLE, variable)
    assert json_logs.wanted(setting) is wanted
