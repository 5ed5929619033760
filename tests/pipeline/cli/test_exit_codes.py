"""One exit code for each kind of failure."""

from __future__ import annotations

from pipeline.cli.exit_codes import EXIT_CODES, INTERRUPTED, OK, USAGE, exit_code_help
from pipeline.engine.failures import FailureKind


def test_every_kind_has_a_code_of_its_own() -> None:
    numbers = [EXIT_CODES[kind].number for kind in FailureKind]
    assert len({*numbers, OK, USAGE, INTERRUPTED}) == len(FailureKind) + 3


def test_the_documented_codes() -> None:
    """Scripts rely on them."""
    assert {kind.value: code.number for kind, code in EXIT_CODES.items()} == {
        "configuration": 1,
        "request": 3,
        "access": 4,
        "throttled": 5,
        "network": 6,
        "service": 7,
        "unexpected": 70,
    }


def test_the_help_names_them_all() -> None:
    shown = exit_code_help()
    for code in EXIT_CODES.values():
        assert f"{code.number} {code.meaning}" in shown
    for number in (OK, USAGE, INTERRUPTED):
        assert f"{number} " in shown
