"""Beam's loggers that print elements say nothing below INFO, whatever happens later."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from pipeline.observability.log_policy import pin_beam_loggers


@pytest.mark.parametrize("name", ["apache_beam.runners.worker.operations", "apache_beam.runners.common"])
def test_elements_are_not_printed_even_if_the_level_is_lowered_afterwards(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    pin_beam_loggers()
    logger = logging.getLogger(name)
    level = logger.level
    try:
        logger.setLevel(logging.DEBUG)
        logger.debug("an element")
        logger.info("a fact")
    finally:
        logger.setLevel(level)
    assert [record.getMessage() for record in caplog.records] == ["a fact"]


PROGRAM = """
import logging, sys
import {module}
heard = []
class Ear(logging.Handler):
    def emit(self, record): heard.append((record.name, record.levelno))
logging.getLogger().addHandler(Ear())
logging.getLogger().setLevel(logging.DEBUG)
libraries = {libraries}
names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in libraries]
for name in [*libraries, *names]:
    logging.getLogger(name).setLevel(logging.DEBUG)
for name in [*libraries, *names, *(f"{{library}}.imported_later" for library in libraries)]:
    logging.getLogger(name).debug("a payload")
    logging.getLogger(name).warning("a fact")
assert len(names) >= {least}, names
assert {{level for _, level in heard}} == {{logging.WARNING}}, heard
assert {{name.split(".")[0] for name, _ in heard}} == set(libraries)
"""
CLIENTS = ["kafka", "botocore", "urllib3", "h2", "hpack", "websockets"]


@pytest.mark.parametrize(
    ("module", "libraries", "least"),
    [
        ("pipeline.transforms", CLIENTS, 20),
        ("pipeline.cli", CLIENTS, 20),
        ("connectors.kafka.security.msk_iam", ["botocore", "urllib3"], 5),
        ("deploy.local.transcribe.serving", ["granian", "_granian"], 1),
    ],
)
def test_no_library_says_more_than_info_whatever_level_it_is_given(
    module: str, libraries: list[str], least: int
) -> None:
    """In a worker, in any command, in the endpoint; those below a library's that come later inherit it."""
    program = PROGRAM.format(module=module, libraries=libraries, least=least)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
