"""Logging of the command line: warnings to standard error; foreseen errors come as one sentence elsewhere.

Beam lowers the root logger's level to INFO, so the level is the handler's. The clients of Kafka log each
attempt to connect as an error of their own; what came of it is in our exception, so they are left out unless
`--log-level` asks for INFO or more.
"""

from __future__ import annotations

import logging

from pipeline.observability import json_logs

_RETRYING_CLIENTS = ("kafka", "botocore")
_BEAM_NOISE = (
    "apitools not found",  # warned at every import; concerns Google Cloud only
    "Unparseable argument",  # options that only the job server knows; they take effect all the same
    "Discarding unparseable args",
)


def configure(level_name: str = "WARNING", format_: str = json_logs.TEXT) -> None:
    """Send log records of at least `level_name` to standard error; raises ValueError for an unknown name.

    `format_` is one of `json_logs.FORMATS`.
    """
    level = logging.getLevelNamesMapping().get(level_name.upper())
    if level is None:
        raise ValueError(f"{level_name!r} is no log level; use DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if level > logging.INFO:
        handler.addFilter(_is_of_use)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    if format_ == json_logs.JSON:
        json_logs.apply()


def _is_of_use(record: logging.LogRecord) -> bool:
    retrying = record.name.split(".")[0] in _RETRYING_CLIENTS
    return not retrying and not str(record.msg).startswith(_BEAM_NOISE)
