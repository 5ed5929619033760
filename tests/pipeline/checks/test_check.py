"""Named checks: all are made, what depends on a failure is skipped, and a job stops at the first failure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from connectors.kafka.errors import UnknownTopic
from connectors.transcribe.errors import RegionNotFoundError
from pipeline.checks.check import Check, Doubtful, NotNeeded, NotPossible, Outcome, Result, examine, require
from pipeline.errors import SettingsError

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED


def raising(error: Exception) -> Callable[[], str]:
    def attempt() -> str:
        raise error

    return attempt


def found() -> str:
    return "synthetic"


def results(*checks: Check) -> list[Result]:
    ticks = count()
    return list(examine(checks, lambda: next(ticks)))


def outcomes(*checks: Check) -> dict[str, Outcome]:
    return {result.name: result.outcome for result in results(*checks)}


def test_a_job_is_told_of_what_is_doubtful_and_goes_on() -> None:
    told: list[str] = []
    made: list[str] = []
    checks = (
        Check("a", "try a", raising(Doubtful("it is weak", "Make it strong."))),
        Check("b", "try b", raising(NotNeeded("nothing to check"))),
        Check("c", "try c", lambda: made.append("c") or "fine"),
    )
    require(checks, told.append)
    assert told == ["it is weak. Make it strong."]
    assert made == ["c"]


def test_what_depends_on_a_failure_is_skipped_and_the_rest_is_made() -> None:
    checks = (
        Check("a", "try a", raising(SettingsError("--a", "wrong"))),
        Check("b", "try b", found, ("a",)),
        Check("c", "try c", found, ("b",)),
        Check("d", "try d", found),
    )
    assert outcomes(*checks) == {"a": FAILED, "b": SKIPPED, "c": SKIPPED, "d": OK}
    assert [result.found for result in results(*checks)] == ["--a: wrong", "needs a", "needs b", "synthetic"]


@pytest.mark.parametrize(
    ("error", "outcome", "dependent"),
    [
        (NotNeeded("plaintext"), SKIPPED, OK),
        (NotPossible("not set"), SKIPPED, SKIPPED),
        (Doubtful("slow", "look"), WARNING, OK),
        (RegionNotFoundError("no region"), FAILED, SKIPPED),
        (ZeroDivisionError("SYNTHETIC-SECRET"), FAILED, SKIPPED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_end(error: Exception, outcome: Outcome, dependent: Outcome) -> None:
    checks = (Check("a", "try a", raising(error)), Check("b", "try b", found, ("a",)))
    assert outcomes(*checks) == {"a": outcome, "b": dependent}


def test_a_remedy_is_the_error_s_own_else_the_check_s() -> None:
    own, other = results(
        Check("a", "try", raising(UnknownTopic("t", "--output-topic", "broker:1")), remedy="the check's"),
        Check("b", "try", raising(SettingsError("--b", "wrong")), remedy="the check's"),
    )
    assert own.found == "Kafka at broker:1 has no topic 't' (--output-topic)."
    assert own.remedy == "Create it or correct --output-topic."
    assert other.remedy == "the check's"


def test_a_defect_is_told_without_its_text_which_may_quote_anything() -> None:
    [result] = results(Check("a", "try", raising(ZeroDivisionError("SYNTHETIC-SECRET"))))
    assert "ZeroDivisionError" in result.found
    assert "SECRET" not in str(result.as_dict())


def test_time_is_counted_for_each_check() -> None:
    assert [result.seconds for result in results(Check("a", "try", found), Check("b", "try", found))] == [
        1,
        1,
    ]


def test_a_job_stops_at_the_first_failure_and_at_nothing_else() -> None:
    made: list[str] = []

    def noted() -> str:
        made.append("made")
        return ""

    harmless = [NotNeeded("x"), NotPossible("x"), Doubtful("x", "y")]
    checks = [Check("n", "try", raising(error)) for error in harmless]
    failing = Check("f", "try", raising(SettingsError("--f", "first")))
    require([*checks, Check("m", "try", noted)])
    with pytest.raises(SettingsError, match="first"):
        require([*checks, failing, Check("m", "try", noted)])
    assert made == ["made"]
