"""Named checks: what is tried, what it depends on, what came of it.

`require` stops at the first failure with its error: before a job. `examine` makes all of them and reports on
each, for `medstream doctor`; what depends on a failure is skipped with that reason. Checks stand in the order
of their dependencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from connectors.kafka.errors import KafkaConnectorError
from connectors.transcribe.errors import TranscribeError
from pipeline.errors import PipelineError
from schemas.errors import SchemaError

FORESEEN = (PipelineError, KafkaConnectorError, SchemaError, TranscribeError)


class Outcome(Enum):
    """What came of a check; only FAILED means that a job cannot work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class NotNeeded(Exception):
    """There is nothing to check with these settings; what depends on the check goes on."""


class NotPossible(Exception):
    """The check cannot be made, and neither can those that depend on it; no failure by itself."""


class Doubtful(Exception):
    """It works, but somebody should look at it. `remedy`: how."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Check:
    """`attempt` returns what was found, in words, or raises one of `FORESEEN` or of the exceptions above.

    `remedy` stands where the error has none of its own; `needs` are names of checks before this one.
    """

    name: str
    tried: str
    attempt: Callable[[], str]
    needs: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check: `found` in words, `remedy` if something is to be done about it."""

    name: str
    tried: str
    outcome: Outcome
    found: str
    remedy: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "tried": self.tried,
            "result": self.outcome.value,
            "found": self.found,
            "remedy": self.remedy or None,
            "seconds": round(self.seconds, 3),
        }


def require(checks: Iterable[Check], tell: Callable[[str], None] = lambda _: None) -> None:
    """Make the checks; raises the error of the first that fails. `tell` hears of what is doubtful."""
    for check in checks:
        try:
            check.attempt()
        except Doubtful as doubt:
            tell(f"{doubt}. {doubt.remedy}")
        except (NotNeeded, NotPossible):
            continue


def examine(checks: Iterable[Check], clock: Callable[[], float]) -> Iterator[Result]:
    """The result of each check as it is made; `clock` counts seconds."""
    blocked: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in blocked]
        began = clock()
        if missing:
            outcome, found, remedy = Outcome.SKIPPED, f"needs {', '.join(missing)}", ""
        else:
            outcome, found, remedy, blocks = _made(check)
        if missing or blocks:
            blocked.add(check.name)
        yield Result(check.name, check.tried, outcome, found, remedy, clock() - began)


def _made(check: Check) -> tuple[Outcome, str, str, bool]:
    """(outcome, found, remedy, whether dependent checks are skipped)"""
    try:
        return Outcome.OK, check.attempt(), "", False
    except NotNeeded as reason:
        return Outcome.SKIPPED, str(reason), "", False
    except NotPossible as reason:
        return Outcome.SKIPPED, str(reason), "", True
    except Doubtful as doubt:
        return Outcome.WARNING, str(doubt), doubt.remedy, False
    except FORESEEN as error:
        found = getattr(error, "problem_text", None) or str(error)
        return Outcome.FAILED, found, getattr(error, "remedy", "") or check.remedy, True
    except Exception as error:  # the other checks are still worth making; its text may quote anything
        found = f"the check itself failed with {type(error).__name__}: a defect of medstream"
        return Outcome.FAILED, found, "Report it, with the versions of medstream and Python.", True
