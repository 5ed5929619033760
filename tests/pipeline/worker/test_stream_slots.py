"""Slots for live streams: order of service, absent heads, the ramp after refusals; all of it at random."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, takewhile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.worker.stream_slots import (
    CLAIM_SECONDS,
    MAX_LIVE_STREAMS,
    MAX_OPENS_PER_SECOND,
    QUIET_SECONDS,
    StreamSlots,
)

FAST = 1000.0  # openings per second, where a test is not about them
ASKING_SECONDS = 0.5  # how often a session that waits asks


def filled(count: int, *, limit: int, now: float = 0.0) -> StreamSlots:
    """Slots of which `count` are held by 0, 1, ..., all accepted by the service."""
    slots = StreamSlots(limit, FAST)
    for key in range(count):
        assert slots.acquire(key, now)
        slots.opened(key, now)
    return slots


def granted(slots: StreamSlots, keys: Iterable[object], now: float) -> list[object]:
    """Those of `keys` that have a slot after asking in this order."""
    return [key for key in keys if slots.acquire(key, now)]


# Order of service


def test_the_defaults_are_the_quotas_of_an_account() -> None:
    assert (MAX_LIVE_STREAMS, MAX_OPENS_PER_SECOND) == (25, 25.0)
    slots = StreamSlots()
    assert (slots.ceiling, slots.opens_per_second, slots.live, slots.waiting) == (25, 25.0, 0, 0)


@pytest.mark.parametrize("bounds", [(0, 1.0), (1, 0.0), (-1, 1.0)])
def test_bounds_that_would_serve_nobody_are_refused(bounds: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="nothing is ever served"):
        StreamSlots(*bounds)


def test_slots_are_given_up_to_the_maximum_and_kept_when_asked_for_again() -> None:
    slots = filled(2, limit=2)
    assert granted(slots, [0, "a", 1, "a"], 0.0) == [0, 1]
    assert (slots.live, slots.waiting) == (2, 1)


def test_those_who_wait_are_served_in_the_order_of_their_first_asking() -> None:
    slots = filled(1, limit=1)
    assert granted(slots, ["a", "b", "c"], 0.0) == []
    slots.release(0, 0.1)
    assert granted(slots, ["c", "b", "new"], 0.1) == [], "the slot is a's, though a has not come yet"
    assert granted(slots, ["a"], 0.5) == ["a"]
    slots.release("a", 1.0)
    assert granted(slots, ["new", "c", "b"], 1.0) == ["b"]


def test_each_of_the_first_takes_one_of_the_free_slots_whoever_of_them_comes_first() -> None:
    slots = filled(3, limit=3)
    granted(slots, "abcd", 0.0)
    for key in range(2):
        slots.release(key, 0.1)
    assert granted(slots, ["d", "c", "b", "a"], 0.2) == ["b", "a"]


def test_who_comes_anew_is_served_at_once_only_when_a_slot_is_left_for_it() -> None:
    slots = filled(3, limit=3)
    granted(slots, "ab", 0.0)
    for key in range(3):
        slots.release(key, 0.1)
    assert granted(slots, ["new", "later", "b", "a"], 0.2) == ["new", "b", "a"]


def test_a_failed_session_queues_again_at_the_end() -> None:
    slots = filled(1, limit=1)
    granted(slots, "ab", 0.0)
    slots.release(0, 0.1)
    assert granted(slots, [0, "a"], 0.1) == ["a"]
    slots.release("a", 0.2)
    assert granted(slots, [0, "b"], 0.2) == ["b"]


def test_a_place_that_is_given_up_is_everybody_else_s() -> None:
    slots = filled(1, limit=1)
    granted(slots, "ab", 0.0)
    slots.cancel("a")
    slots.cancel("never there")
    slots.release(0, 0.1)
    slots.release("never there", 0.1)
    assert granted(slots, ["b", "a"], 0.1) == ["b"]


def test_cancelling_takes_no_slot_away() -> None:
    slots = filled(1, limit=1)
    slots.cancel(0)
    assert slots.live == 1


def test_the_wait_of_the_longest_is_told() -> None:
    slots = filled(1, limit=1)
    assert slots.longest_wait_seconds(5.0) == 0.0
    granted(slots, "a", 2.0)
    granted(slots, "ba", 4.0)
    assert slots.longest_wait_seconds(5.0) == 3.0


# Heads that do not come


def test_a_head_that_went_silently_holds_the_slot_up_for_a_bounded_time_only() -> None:
    slots = filled(1, limit=1)
    granted(slots, "ab", 0.0)
    slots.release(0, 1.0)
    assert granted(slots, "b", CLAIM_SECONDS) == []
    assert granted(slots, "b", CLAIM_SECONDS + 0.1) == ["b"]
    assert slots.waiting == 0, "a has lost its place"
    assert granted(slots, "a", CLAIM_SECONDS + 0.2) == []


def test_many_silent_heads_are_passed_over_at_once() -> None:
    slots = filled(1, limit=1)
    granted(slots, range(100, 200), 0.0)
    granted(slots, "b", 8.0)
    slots.release(0, 9.0)
    assert granted(slots, "b", 9.0) == ["b"]
    assert slots.waiting == 0


def test_a_silent_one_keeps_its_place_while_its_turn_has_not_come() -> None:
    slots = filled(1, limit=1)
    granted(slots, "ab", 0.0)
    granted(slots, "ba", 100.0)
    slots.release(0, 100.0)
    assert granted(slots, "ba", 100.5) == ["a"]


def test_who_keeps_asking_keeps_its_place_however_long_it_takes() -> None:
    slots = filled(1, limit=1)
    for step in range(200):
        assert granted(slots, "ab", step * ASKING_SECONDS) == []
    slots.release(0, 100.0)
    assert granted(slots, "ba", 100.0) == ["a"]


# The rate of openings


def test_no_second_sees_more_openings_than_allowed() -> None:
    slots = StreamSlots(1000, 25.0)
    waiting = list(range(200))
    times: list[float] = []
    for step in range(550):
        now = step * 0.02
        taken = granted(slots, waiting, now)
        waiting = [key for key in waiting if key not in taken]
        times += [now] * len(taken)
    assert most_in_a_second(times) <= 25
    assert not waiting
    assert times[-1] > 7.0


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0, 2.0, 7.0])
def test_a_low_rate_is_kept_too(rate: float) -> None:
    slots = StreamSlots(1000, rate)
    keys = iter(range(1000))
    key = next(keys)
    times = []
    for step in range(2000):
        now = step * 0.01
        if slots.acquire(key, now):
            times.append(now)
            key = next(keys)
    assert most_in_a_second(times) <= max(1, int(rate))
    if rate < 1:
        assert min(later - earlier for earlier, later in pairwise(times)) >= 1 / rate
    assert len(times) >= 0.7 * rate * 20


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= time < start + 0.9999 for time in times) for start in times)


def test_sessions_that_ask_every_half_second_get_their_streams_about_as_fast_as_allowed() -> None:
    slots = StreamSlots()
    waiting = {key: key * 0.0377 % ASKING_SECONDS for key in range(25)}
    now = 0.0
    while waiting:
        now += 0.01
        for key, next_at in list(waiting.items()):
            if next_at <= now:
                waiting[key] = now + ASKING_SECONDS
                if slots.acquire(key, now):
                    del waiting[key]
    assert now < 2.5


# What the service refuses


def test_a_refusal_lowers_the_ceiling_to_what_is_accepted_and_halves_the_rate() -> None:
    slots = StreamSlots(20, 25.0)
    for number in range(10):
        assert slots.acquire(number, number * 0.1)
        if number < 7:
            slots.opened(number, number * 0.1)
    slots.throttled(1.0)
    assert (slots.ceiling, slots.opens_per_second) == (7, 12.5)
    assert slots.live == 10, "those on the way may still come through"
    slots.opened(7, 1.1)
    assert slots.ceiling == 8, "evidently"
    for number in (8, 9):
        slots.throttled(1.2)
        slots.release(number, 1.2)
    assert (slots.ceiling, slots.opens_per_second) == (8, 12.5), "the refusals of one burst count once"


def test_a_stream_that_is_refused_after_it_was_accepted_counts_as_none() -> None:
    slots = filled(4, limit=9)
    assert slots.acquire("a", 0.0)
    slots.opened("a", 0.0)
    slots.throttled(0.1, "a")
    slots.release("a", 0.1)
    assert (slots.ceiling, slots.live) == (4, 4)


def test_live_streams_go_on_after_a_refusal() -> None:
    slots = filled(5, limit=5)
    slots.release(4, 1.0)
    slots.throttled(1.0)
    assert (slots.live, slots.ceiling) == (4, 4)
    assert granted(slots, [0, 1, 2, 3, 4], 1.5) == [0, 1, 2, 3]


def test_one_stream_is_tried_however_much_is_refused() -> None:
    slots = StreamSlots(25, 25.0)
    slots.throttled(-10.0)
    for attempt in range(60):
        now = attempt * 2.5 - 5.5
        assert slots.acquire(attempt, now)
        assert not slots.acquire("another", now)
        slots.throttled(now)
        slots.release(attempt, now)
        slots.cancel("another")
        assert slots.ceiling == 1
    assert slots.opens_per_second == 0.5


def test_a_rate_below_the_floor_stays_what_it_is() -> None:
    slots = StreamSlots(2, 0.1)
    slots.throttled(0.0)
    assert slots.opens_per_second == 0.1


def test_both_bounds_grow_back_step_by_step_after_a_quiet_time() -> None:
    slots = StreamSlots(20, 20.0)
    for moment in range(10):
        slots.throttled(float(moment))
    assert (slots.ceiling, slots.opens_per_second) == (1, 0.5)
    last, steps = 9.0, []
    for second in range(1, 20):
        slots.acquire("somebody", last + second)
        steps.append((slots.ceiling, slots.opens_per_second))
    assert steps[: int(QUIET_SECONDS) - 1] == [(1, 0.5)] * (int(QUIET_SECONDS) - 1)
    growing = steps[int(QUIET_SECONDS) - 1 :]
    assert growing[:3] == [(3, 2.5), (5, 4.5), (7, 6.5)]
    assert growing[-1] == (20, 20.0)


def test_a_long_silence_brings_the_bounds_back_in_one_call() -> None:
    slots = StreamSlots(25, 25.0)
    slots.throttled(0.0)
    assert slots.acquire("a", 1e6)
    assert (slots.ceiling, slots.opens_per_second) == (25, 25.0)


def test_another_refusal_stops_the_growth() -> None:
    slots = filled(3, limit=10)
    slots.throttled(0.0)
    slots.acquire("a", QUIET_SECONDS + 0.5)
    assert slots.ceiling == 4
    slots.throttled(QUIET_SECONDS + 0.6)
    slots.release("a", QUIET_SECONDS + 0.6)
    slots.acquire("a", 2 * QUIET_SECONDS)
    assert slots.ceiling == 3


@pytest.mark.parametrize("quota", [1, 6, 24])
def test_a_quota_below_the_setting_is_used_up_and_seldom_overstepped(quota: int) -> None:
    """30 sessions want streams for two minutes; the service takes `quota` of them."""
    slots = StreamSlots(25, 25.0)
    asks_at = {key: key * 0.01 for key in range(30)}
    accepted: set[int] = set()
    refusals = 0
    used_seconds = 0.0
    for step in range(12_000):
        now = step * 0.01
        used_seconds += 0.01 * len(accepted)
        for key, at in asks_at.items():
            if at > now or key in accepted:
                continue
            asks_at[key] = now + ASKING_SECONDS
            if not slots.acquire(key, now):
                continue
            if len(accepted) < quota:
                accepted.add(key)
                slots.opened(key, now)
            else:
                refusals += 1
                slots.throttled(now)
                slots.release(key, now)
                asks_at[key] = now + 2.0
    assert used_seconds > 0.95 * quota * 120
    assert refusals < 120


def test_after_a_minute_of_refusals_all_sessions_have_streams_soon() -> None:
    """20 sessions whose streams are refused for 60 s; each waits up to 20 s after a failure."""
    slots = StreamSlots(25, 25.0)
    asks_at = {key: key * 0.02 for key in range(20)}
    served: dict[int, float] = {}
    attempts = 0
    now = 0.0
    while len(served) < 20:
        now += 0.01
        assert now < 120
        for key, at in asks_at.items():
            if at > now or key in served:
                continue
            asks_at[key] = now + ASKING_SECONDS
            if not slots.acquire(key, now):
                continue
            attempts += 1
            if now < 60:
                slots.throttled(now)
                slots.release(key, now)
                asks_at[key] = now + 10.0
            else:
                served[key] = now
                slots.opened(key, now)
    assert now < 60 + 20
    assert attempts < 60, "while all is refused, one tries every other second"


# At random

LIMIT, RATE = 4, 3.0


@dataclass
class Wish:
    """`faithful`: it has never been silent for so long that its place could be taken away."""

    asked_at: float
    faithful: bool = True


class SlotsMachine(RuleBasedStateMachine):
    """Sessions ask, go away silently, give back, fail; the service accepts and refuses; time passes.

    The model is who waits, in the order of first asking, and who has a slot.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slots = StreamSlots(LIMIT, RATE)
        self.now = 100.0
        self.queue: dict[int, Wish] = {}
        self.live: set[int] = set()
        self.grants: list[float] = []
        self.refused_at = -math.inf
        self.names = 0

    def ask(self, key: int) -> bool:
        self.slots.advance(self.now)
        free = self.slots.ceiling - self.slots.live
        earlier = takewhile(lambda other: other != key, self.queue)
        served_first = [wish for wish in map(self.queue.__getitem__, earlier) if self.is_here(wish)]
        got = self.slots.acquire(key, self.now)
        assert got or key not in self.live
        if got and key not in self.live:
            assert len(served_first) < free, "somebody who was there before was passed over"
            self.queue.pop(key, None)
            self.live.add(key)
            self.grants.append(self.now)
        elif not got:
            wish = self.queue.setdefault(key, Wish(self.now))
            wish.faithful = self.is_here(wish)
            wish.asked_at = self.now
        return got

    def is_here(self, wish: Wish) -> bool:
        return wish.faithful and self.now - wish.asked_at <= CLAIM_SECONDS

    @rule(wait=st.floats(0.0, 8.0))
    def time_passes(self, wait: float) -> None:
        self.now += wait

    @rule(wait=st.floats(0.0, 0.3))
    def a_moment_passes(self, wait: float) -> None:
        self.now += wait

    @rule()
    def a_new_session_asks(self) -> None:
        self.names += 1
        self.ask(self.names)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def one_asks_again(self, data: st.DataObject) -> None:
        self.ask(data.draw(st.integers(1, self.names)))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), refused=st.booleans())
    def a_stream_ends(self, data: st.DataObject, refused: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.live)))
        if refused:
            self.slots.throttled(self.now)
            self.refused_at = self.now
            assert self.slots.ceiling <= max(1, self.slots.live)
        self.slots.release(key, self.now)
        self.live.discard(key)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def a_stream_is_accepted(self, data: st.DataObject) -> None:
        self.slots.opened(data.draw(st.sampled_from(sorted(self.live))), self.now)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def one_gives_up_its_place(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.queue)))
        self.slots.cancel(key)
        del self.queue[key]

    @rule(data=st.data())
    def who_keeps_asking_is_served(self, data: st.DataObject) -> None:
        """No starvation: others end their streams or have gone silently, and whatever was refused before."""
        faithful = st.lists(st.sampled_from(sorted(self.queue)), unique=True) if self.queue else st.just([])
        wanting = data.draw(faithful)
        for _ in range(60 + 8 * len(wanting)):
            if not wanting:
                return
            self.now += ASKING_SECONDS
            for key in sorted(self.live):
                self.slots.release(key, self.now)
            self.live.clear()
            wanting = [key for key in wanting if not self.ask(key)]
        raise AssertionError("somebody never got a stream")

    @invariant()
    def bounds_hold(self) -> None:
        assert self.slots.live == len(self.live) <= LIMIT
        assert 1 <= self.slots.ceiling <= LIMIT
        assert 0.5 <= self.slots.opens_per_second <= RATE
        assert self.slots.waiting <= len(self.queue)
        recent = [moment for moment in self.grants if moment > self.now - 0.9999]
        assert len(recent) <= RATE

    @invariant()
    def a_quiet_time_restores_the_ramp(self) -> None:
        if self.now - self.refused_at >= QUIET_SECONDS + 12.0:
            self.slots.advance(self.now)
            assert (self.slots.ceiling, self.slots.opens_per_second) == (LIMIT, RATE)

    def teardown(self) -> None:
        """Nothing leaks: with every stream and every wish gone, all is as it was."""
        for key in self.live:
            self.slots.release(key, self.now)
        for key in self.queue:
            self.slots.cancel(key)
        assert (self.slots.live, self.slots.waiting) == (0, 0)


TestSlotsAtRandom = SlotsMachine.TestCase
TestSlotsAtRandom.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
