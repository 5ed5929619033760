"""How many failures in a row a session bears, and how long it waits between them."""

from __future__ import annotations

from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind
from pipeline.engine.retry_budget import RetryBudget

RESET = StreamFailure("StreamReset", "reset by the test")
THROTTLED = StreamFailure("LimitExceededException", "too many", kind=FailureKind.THROTTLED)


def budget(max_retries: int) -> RetryBudget:
    return RetryBudget(max_retries, lambda failures: 10.0 * failures, now=0.0)


def test_each_failure_in_a_row_waits_longer() -> None:
    retry = budget(9)
    retry.note_stream(RESET, 100.0)
    assert (retry.failures, retry.retry_at, retry.last_failure) == (1, 110.0, RESET)
    retry.note(200.0)
    assert (retry.failures, retry.retry_at) == (2, 220.0)


def test_health_makes_them_forgotten() -> None:
    retry = budget(1)
    retry.note_stream(RESET, 0.0)
    retry.forget()
    retry.note_stream(RESET, 100.0)
    assert (retry.failures, retry.retry_at, retry.exhausted) == (1, 110.0, False)


def test_more_failures_than_may_be_tried_again_exhaust_it() -> None:
    retry = budget(2)
    seen = []
    for _ in range(3):
        retry.note_stream(RESET, 0.0)
        seen.append(retry.exhausted)
    assert seen == [False, False, True]


def test_throttling_and_an_unreachable_log_wait_and_exhaust_nothing() -> None:
    retry = budget(0)
    for _ in range(5):
        retry.note_stream(THROTTLED, 0.0)
        retry.note(0.0)
    assert (retry.failures, retry.exhausted) == (10, False)
