"""What a worker has heard of a partition, to tell a producer's pause from one of its source.

A session's records come in order, but those of several sessions do not come in the order of their partition:
a batch of the source is handed to one session after the other, and timers come between. So a partition of
which nothing came for a while (a broker that was away, a worker that stood still) tells of a session's pause
only when it was heard of for some time again. Seen without that: a broker was away for eleven seconds, and
the streams of three of twenty sessions were closed for idleness, one of them in the middle of a word, because
the same batch had reached other sessions first.
"""

from __future__ import annotations

from dataclasses import dataclass

_SLACK_SECONDS = 2.0  # a partition that was heard of so recently is read as it is written
_SETTLING_SECONDS = 3.0  # with the ten of `idle_close` less than the fifteen that the service waits for audio


@dataclass(frozen=True, slots=True)
class Hearing:
    """The partition is known up to what was written at `known_at`; something of it came at `last_at`, and had
    come without a break since `since`. Monotonic seconds.
    """

    known_at: float
    last_at: float
    since: float

    def is_current(self, now: float) -> bool:
        """Whether the partition is read as it is written."""
        return self.known_at >= now - _SLACK_SECONDS

    def has_settled(self, now: float) -> bool:
        """Whether every session has what was read of it so far."""
        return now - self.since >= _SETTLING_SECONDS


def hear(before: Hearing | None, now: float, age_seconds: float) -> Hearing:
    """After a record written `age_seconds` ago: one that waited long tells nothing of those behind it."""
    known_at = now - age_seconds
    if before is None:
        return Hearing(known_at, now, now)
    since = before.since if now - before.last_at <= _SLACK_SECONDS else now
    return Hearing(max(known_at, before.known_at), now, since)
