"""Pinned loggers say nothing below INFO, whatever is done to them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from schemas.library_logs import pin

NAME = "synthetic_library"


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Loggers that no other test has."""
    logging.getLogger(f"{NAME}.before").setLevel(logging.DEBUG)
    yield
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(NAME)]:
        del logging.root.manager.loggerDict[name]


def said(caplog: pytest.LogCaptureFixture, *names: str) -> set[str]:
    """Everything that these loggers let through, with the root at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        for name in names:
            logging.getLogger(name).debug("payload")
            logging.getLogger(name).info("fact")
    return set(caplog.messages)


def test_a_library_and_what_is_below_it_is_pinned(caplog: pytest.LogCaptureFixture) -> None:
    pin(NAME)
    assert said(caplog, NAME, f"{NAME}.before", f"{NAME}.after") == {"fact"}


@pytest.mark.parametrize("level", [logging.DEBUG, 1, "DEBUG"])
def test_lowering_it_afterwards_has_no_effect(caplog: pytest.LogCaptureFixture, level: int | str) -> None:
    pin(NAME)
    for name in (NAME, f"{NAME}.before"):
        logging.getLogger(name).setLevel(level)
    assert said(caplog, NAME, f"{NAME}.before", f"{NAME}.after") == {"fact"}
    logging.getLogger(NAME).setLevel(logging.NOTSET)
    logging.getLogger(NAME).level = logging.DEBUG
    assert said(caplog, NAME) == {"fact"}


def test_a_higher_level_stays_and_can_be_set(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    pin(NAME)
    pin(NAME)
    assert logging.getLogger(NAME).level == logging.ERROR
    logging.getLogger(NAME).setLevel(logging.WARNING)
    assert said(caplog, NAME) == set()
