"""Waits between retries: exponential with full jitter, by tenacity."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_random_exponential

_FIRST_SECONDS = 0.25
_MAX_SECONDS = 20.0
_wait = wait_random_exponential(multiplier=_FIRST_SECONDS, max=_MAX_SECONDS)


def full_jitter(failures: int) -> float:
    """Seconds to wait after `failures` in a row (from 1): uniform in [0, min(20, 0.25 * 2**(failures - 1))].

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failures
    return float(_wait(state))
