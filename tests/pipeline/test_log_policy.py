"""Beam's loggers that print elements say nothing below INFO, whatever happens later."""

from __future__ import annotations

import logging

import pytest

from pipeline.log_policy import pin_beam_loggers


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


def test_pinning_twice_adds_nothing() -> None:
    pin_beam_loggers()
    filters = list(logging.getLogger("apache_beam.runners.common").filters)
    pin_beam_loggers()
    assert logging.getLogger("apache_beam.runners.common").filters == filters
