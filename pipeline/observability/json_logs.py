"""Logs as one JSON object a line, with the fields that are listed here and no others.

What a record carries beside them (arguments, `extra` of any library, locals) cannot come out. Messages of our
own loggers are whole: they are written to hold no patient data. Libraries' messages are not trusted so far:
nothing below INFO, of the rest the first line of the text that stands in their code, with numbers filled in
and everything else left out; what was composed before it was logged is cut. An exception is its class and
where it was raised, without values; its text only if it is one of ours.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)
FORMAT_VARIABLE = "MEDSTREAM_LOG_FORMAT"

FIELDS = (
    "timestamp",
    "level",
    "logger",
    "message",
    "thread",
    "process",
    "error",
    "error_text",
    "causes",
    "frames",
)
EXTRAS = ("code", "kind", "failures", "topic", "partition")
"""What our own records may carry by `extra`."""

_OURS = ("schemas", "connectors", "pipeline", "deploy", "medstream")
_MAX_FOREIGN_CHARS = 200
_MAX_FRAMES = 20
_HIDDEN = "…"
_HELD = "medstream_exc_info"


class JsonFormatter(logging.Formatter):
    """See the module."""

    def format(self, record: logging.LogRecord) -> str:
        ours = is_ours(record.name)
        line: dict[str, Any] = {
            "timestamp": _timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage() if ours else foreign_message(record),
            "thread": record.threadName,
            "process": record.process,
        }
        if ours:
            line |= {name: value for name in EXTRAS if _is_plain(value := getattr(record, name, None))}
        held = getattr(record, _HELD, None) or record.exc_info
        if held and held[0] is not None:
            line |= _exception(held)
        return json.dumps(line)  # ASCII: no terminal, and no reader of lines, can stumble over it


def is_ours(name: str) -> bool:
    """Whether a logger, or a module, is medstream's own."""
    return name.split(".", 1)[0] in _OURS


def foreign_message(record: logging.LogRecord) -> str:
    """What may be shown of a library's message."""
    text = str(record.msg)
    if record.args:
        arguments = record.args
        try:
            if isinstance(arguments, tuple):
                text %= tuple(map(_masked, arguments))
            else:
                text %= {name: _masked(value) for name, value in arguments.items()}
        except (TypeError, ValueError, KeyError):
            pass  # its own text tells enough
    return text.split("\n", 1)[0][:_MAX_FOREIGN_CHARS]


def apply() -> None:
    """Let every handler of the root logger write JSON, and have uncaught exceptions logged; repeatable."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, JsonFormatter):
            handler.setFormatter(JsonFormatter())
            handler.addFilter(_keep)
    logging.raiseExceptions = False  # a record that cannot be written would be printed whole
    if sys.excepthook is not _log_uncaught:
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread


def wanted(setting: str = TEXT) -> bool:
    """Whether this process is to log JSON: by the job's setting or by its own environment."""
    return JSON in (setting, os.environ.get(FORMAT_VARIABLE, "").strip().lower())


def _keep(record: logging.LogRecord) -> bool:
    """Drops libraries' details; holds an exception back from handlers that write it beside the message, as
    that of Beam's workers does.
    """
    if record.levelno < logging.INFO and not is_ours(record.name):
        return False
    if record.exc_info:
        setattr(record, _HELD, record.exc_info)
        record.exc_info = record.exc_text = None
    return True


def _exception(held: Any) -> dict[str, Any]:
    error_type, error, trace = held
    found: dict[str, Any] = {"error": error_type.__name__}
    if error is not None and is_ours(error_type.__module__):
        found["error_text"] = str(error)
    causes = [type(cause).__name__ for cause in _causes(error)]
    if causes:
        found["causes"] = causes
    frames = traceback.extract_tb(trace)[-_MAX_FRAMES:]
    found["frames"] = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames]  # noqa: PTH119
    return found


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < _MAX_FRAMES:
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if error is not None:
            found.append(error)
    return found


def _masked(value: object) -> Any:
    """Numbers as they are, an exception's class, nothing of anything else."""
    if isinstance(value, bool | int | float):
        return value
    return type(value).__name__ if isinstance(value, BaseException) else _HIDDEN


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _timestamp(created: float) -> str:
    milliseconds = int(created * 1000)
    moment = time.gmtime(milliseconds // 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{milliseconds % 1000:03d}Z"


def _log_uncaught(error_type: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(error_type, KeyboardInterrupt):
        sys.__excepthook__(error_type, error, trace)
        return
    logging.getLogger("medstream").critical("Uncaught exception", exc_info=(error_type, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not issubclass(arguments.exc_type, SystemExit):
        _log_uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
