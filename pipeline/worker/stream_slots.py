"""Who may hold a live stream of the service in this worker, and how fast streams may be opened.

Order of service. Whoever wants a stream asks, and asks again while it waits (a session: every half second).
Slots are given in the order of the first asking, FIFO, without preemption: a stream keeps its slot until it
ends, idles, rotates into its successor or fails, whatever others wait for. After a failure its session asks
anew and so queues at the end. What waits holds nothing but its place: no audio, no connection.

A free slot belongs to the head of the queue, k free ones to the first k, and nobody behind them gets one,
though they ask first. Who has not asked for `CLAIM_SECONDS` when its turn comes has gone (its session was
dropped, or lives in another worker): it loses its place and does not hold up the others.

Two bounds apply, each with a maximum that is the account's quota (25 streams at once, 25 openings a second,
by default):

- the ceiling of live streams;
- a token bucket for openings, sized so that no second sees more than `opens_per_second` of them.

When the service refuses a stream for its quota (LimitExceeded; other workers share it) the ceiling falls to
the number of streams that it evidently accepts now, at least one, and the rate is halved, at most once a
second, down to one opening in two seconds. Streams that live go on. After `QUIET_SECONDS` without another
refusal both grow back, each second by a tenth of their maximum; so a quota that is lower than our setting
is found out again with a few refusals every few seconds.

`now` is seconds of one monotonic clock. Nothing here is safe for threads: `shared_slots` is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice

MAX_LIVE_STREAMS = 25
"""The default quota of an account: concurrent streams of StartMedicalStreamTranscription."""
MAX_OPENS_PER_SECOND = 25.0
"""The default quota of an account: calls of StartMedicalStreamTranscription per second."""

CLAIM_SECONDS = 5.0
"""A slot waits so long for the head of the queue, counted from its last asking."""
QUIET_SECONDS = 5.0
"""So long after a refusal neither bound grows."""

_STEP_SECONDS = 1.0  # between two steps of growth; also the shortest time between two halvings
_STEPS = 10  # from nothing to the maximum
_MIN_OPENS_PER_SECOND = 0.5
_BURST_SECONDS = 0.2  # openings that an idle bucket holds, in seconds of its rate


@dataclass(slots=True)
class _Waiter:
    since: float
    asked_at: float


class StreamSlots:
    """See the module. Keys are of any hashable kind, one for each stream that is wanted."""

    def __init__(
        self,
        max_live_streams: int = MAX_LIVE_STREAMS,
        max_opens_per_second: float = MAX_OPENS_PER_SECOND,
    ) -> None:
        if max_live_streams < 1 or max_opens_per_second <= 0:
            raise ValueError("without a stream and openings nothing is ever served")
        self._max_live = max_live_streams
        self._max_rate = max_opens_per_second
        self._ceiling = max_live_streams
        self._rate = max_opens_per_second
        self._live: dict[Hashable, bool] = {}  # the value: whether the service has accepted the stream
        self._queue: OrderedDict[Hashable, _Waiter] = OrderedDict()
        self._tokens = self._capacity
        self._filled_at = -math.inf
        self._halved_at = -math.inf
        self._grows_at = math.inf

    # What there is

    @property
    def live(self) -> int:
        """Slots that are given away."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Keys in the queue; some of them may have gone without a word."""
        return len(self._queue)

    @property
    def ceiling(self) -> int:
        """Live streams that are allowed now; more may live on from before a refusal."""
        return self._ceiling

    @property
    def opens_per_second(self) -> float:
        """Openings that any one second may see now; below 1: one in so many seconds."""
        return self._rate

    def longest_wait_seconds(self, now: float) -> float:
        """How long the head of the queue has waited; 0 without a queue."""
        return max((now - waiter.since for waiter in islice(self._queue.values(), 1)), default=0.0)

    # Asking and giving back

    def acquire(self, key: Hashable, now: float) -> bool:
        """Whether `key` has a slot: from before, or given now. Otherwise it is in the queue from now on."""
        self.advance(now)
        if key in self._live:
            return True
        self._queue.setdefault(key, _Waiter(now, now)).asked_at = now
        if not self._has_turn(key, now):
            return False
        del self._queue[key]
        self._live[key] = False
        self._tokens -= 1.0
        return True

    def release(self, key: Hashable, now: float, *, unused: bool = False) -> None:
        """The stream of `key` has ended; nothing happens without a slot.

        `unused`: it was never begun, so that somebody else may be it at once.
        """
        self.advance(now)
        if key in self._live:
            del self._live[key]
            self._tokens = min(self._tokens + unused, self._capacity)

    def cancel(self, key: Hashable) -> None:
        """`key` wants a slot no more; nothing happens when it does not wait."""
        self._queue.pop(key, None)

    def _has_turn(self, key: Hashable, now: float) -> bool:
        """Whether one of the free slots is for `key`; heads of the queue that have gone are struck off."""
        free = min(self._ceiling - len(self._live), math.floor(self._tokens))
        gone = []
        has_turn = False
        for other, waiter in self._queue.items():
            if free <= 0 or has_turn:
                break
            if now - waiter.asked_at > CLAIM_SECONDS:
                gone.append(other)
            else:
                has_turn = other == key
                free -= 1
        for other in gone:
            del self._queue[other]
        return has_turn

    # What the service says

    def opened(self, key: Hashable, now: float) -> None:
        """The service accepted the stream of `key`: so many at once are evidently allowed."""
        self.advance(now)
        if key in self._live:
            self._live[key] = True
            self._ceiling = max(self._ceiling, self._accepted)

    def throttled(self, now: float, key: Hashable = None) -> None:
        """The service refused a stream for its quota; its slot is given back by `release`, as ever.

        `key`: whose stream it was, in case that the service seemed to accept it first.
        """
        self.advance(now)
        if key in self._live:
            self._live[key] = False
        self._ceiling = max(1, min(self._ceiling, self._accepted))
        self._tokens = min(self._tokens, 0.0)
        if now - self._halved_at >= _STEP_SECONDS:  # the refusals of one burst count once
            self._rate = max(self._rate / 2, min(_MIN_OPENS_PER_SECOND, self._max_rate))
            self._halved_at = now
        self._grows_at = now + QUIET_SECONDS

    @property
    def _accepted(self) -> int:
        return sum(self._live.values())

    # Time

    def advance(self, now: float) -> None:
        """Let both bounds and the bucket grow as they should have by `now`; every other call does it too."""
        while now >= self._grows_at:
            self._fill(self._grows_at)
            self._ceiling = min(self._max_live, self._ceiling + math.ceil(self._max_live / _STEPS))
            self._rate = min(self._max_rate, self._rate + self._max_rate / _STEPS)
            full = self._ceiling == self._max_live and self._rate == self._max_rate
            self._grows_at = math.inf if full else self._grows_at + _STEP_SECONDS
        self._fill(now)

    @property
    def _capacity(self) -> float:
        return max(1.0, self._rate * _BURST_SECONDS)

    def _fill(self, now: float) -> None:
        """What a full bucket holds and what a second adds are `opens_per_second` together.

        Where that is little, a single opening is in the bucket, and the next one comes at the rate.
        """
        refill_per_second = max(min(self._rate, 1.0), self._rate * (1.0 - _BURST_SECONDS))
        tokens = self._tokens + max(0.0, now - self._filled_at) * refill_per_second
        self._tokens = min(tokens, self._capacity)
        self._filled_at = max(now, self._filled_at)
