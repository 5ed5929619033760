"""When a session's timer is set, and to which moment: one that many sessions share.

Every bundle of Beam's Python worker costs some milliseconds, whatever is in it. A hundred sessions whose
timers fire each at a moment of its own can fill fifty bundles of 20 ms a second with them; at moments that
they share, four. So the timer of a session is late by up to a quarter of a second, or by a twentieth where it
is to fire soon.
"""

from __future__ import annotations

import math

_FAR_SECONDS = 0.5
_FAR_STEP_SECONDS, _NEAR_STEP_SECONDS = 0.25, 0.05
_LOST_SECONDS = 1.0  # a timer that is so late belonged to a worker or a state that is gone


def firing_to_set(wanted_at: float, due_at: float | None, now: float, *, unix_now: float) -> float | None:
    """The moment to set the timer to, no earlier than `wanted_at`; None: the one that is set stays.

    `due_at`: the moment that it is set to, None if it is not. Those are monotonic, as `now` is; `unix_now` is
    the same moment in Unix seconds, whose multiples of a step are the moments that workers share.
    """
    step = _FAR_STEP_SECONDS if wanted_at - now >= _FAR_SECONDS else _NEAR_STEP_SECONDS
    epoch = unix_now - now
    firing_at = math.ceil((max(wanted_at, now) + epoch) / step) * step - epoch
    if due_at is None or due_at < now - _LOST_SECONDS or firing_at < due_at - _NEAR_STEP_SECONDS:
        return firing_at
    return None
