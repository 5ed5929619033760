"""A session's claim on a slot: asked for, granted, left; held until its stream has really ended."""

from __future__ import annotations

import threading
import time

from pipeline.worker.shared_slots import LATE_REFUSAL_SECONDS, SharedSlots, SlotClaim, SlotLevels


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def shared(max_live_streams: int = 1, clock: Clock | None = None) -> SharedSlots:
    return SharedSlots(max_live_streams, 1000.0, clock or Clock())


def streaming(slots: SharedSlots) -> SlotClaim:
    """A claim with a slot and an accepted stream in it."""
    claim = slots.claim()
    assert claim.ask()
    claim.stream_begins()
    claim.stream_opened()
    return claim


def test_a_claim_asks_until_it_has_its_slot_and_knows_how_long_that_took() -> None:
    clock = Clock()
    slots = shared(clock=clock)
    holder, waiting = slots.claim(), slots.claim()
    assert holder.ask()
    assert holder.ask()
    assert holder.waited_seconds == 0.0
    assert not waiting.ask()
    clock.now += 2.0
    assert not waiting.ask()
    assert slots.levels == SlotLevels(live=1, waiting=1, ceiling=1, longest_wait_seconds=2.0, slots=1)
    holder.leave()
    clock.now += 0.5
    assert waiting.ask()
    assert waiting.waited_seconds == 2.5


def test_a_claim_that_was_left_gets_nothing_any_more() -> None:
    slots = shared()
    claim = slots.claim()
    claim.leave()
    assert not claim.ask()
    assert slots.levels.live == 0


def test_who_leaves_the_queue_makes_way() -> None:
    slots = shared()
    holder, first, second = slots.claim(), slots.claim(), slots.claim()
    assert [claim.ask() for claim in (holder, first, second)] == [True, False, False]
    first.leave()
    holder.leave()
    assert second.ask()


def test_a_slot_comes_back_only_when_its_stream_has_ended() -> None:
    slots = shared()
    claim = streaming(slots)
    claim.leave()
    assert slots.levels.live == 1
    claim.stream_ended()
    assert slots.levels.live == 0


def test_a_slot_whose_stream_has_ended_is_kept_for_the_next_one_until_it_is_left() -> None:
    slots = shared()
    claim = streaming(slots)
    claim.stream_ended()
    assert slots.levels.live == 1
    claim.stream_begins()
    claim.leave()
    claim.leave()
    assert slots.levels.live == 1
    claim.stream_ended()
    assert slots.levels.live == 0


def test_the_new_claim_of_a_failed_session_waits_for_the_old_one_s_stream() -> None:
    slots = shared()
    failed = streaming(slots)
    failed.leave()
    again = slots.claim()
    assert not again.ask()
    failed.stream_ended()
    assert again.ask()


def refused(slots: SharedSlots) -> None:
    claim = slots.claim()
    assert claim.ask()
    claim.stream_begins()
    claim.stream_throttled()
    claim.stream_ended()
    claim.leave()


def test_a_throttled_opening_lowers_the_ceiling() -> None:
    slots = shared(5)
    streaming(slots)
    streaming(slots)
    refused(slots)
    assert (slots.levels.ceiling, slots.levels.live) == (2, 2)


def test_a_stream_that_is_accepted_and_refused_at_once_was_throttled_too() -> None:
    clock = Clock()
    slots = shared(5, clock)
    streaming(slots)
    claim = streaming(slots)
    clock.now += LATE_REFUSAL_SECONDS / 2
    claim.stream_throttled()
    assert slots.levels.ceiling == 1


def test_the_end_of_a_stream_at_the_service_s_limit_of_duration_is_no_throttling() -> None:
    clock = Clock()
    slots = shared(5, clock)
    claim = streaming(slots)
    clock.now += 14_400.0
    claim.stream_throttled()
    assert slots.levels.ceiling == 5


def test_a_rotated_stream_s_opening_can_be_throttled() -> None:
    clock = Clock()
    slots = shared(5, clock)
    claim = streaming(slots)
    clock.now += 14_400.0
    claim.stream_ended()
    claim.stream_begins()
    claim.stream_throttled()
    assert slots.levels.ceiling == 1


def test_levels_for_a_metric_come_once_a_second() -> None:
    clock = Clock()
    slots = shared(3, clock)
    assert slots.due_levels() == SlotLevels(0, 0, 3, 0.0, 3)
    clock.now += 0.9
    assert slots.due_levels() is None
    clock.now += 0.2
    streaming(slots)
    assert slots.due_levels() == SlotLevels(1, 0, 3, 0.0, 3)


def test_many_threads_share_few_slots_and_none_is_lost() -> None:
    slots = SharedSlots(3, 1e6)
    most, served = 0, 0
    lock = threading.Lock()

    def sessions() -> None:
        nonlocal most, served
        for _ in range(50):
            claim = slots.claim()
            while not claim.ask():
                time.sleep(0)
            claim.stream_begins()
            claim.stream_opened()
            with lock:
                most = max(most, slots.levels.live)
                served += 1
            time.sleep(0.001)
            claim.leave()
            claim.stream_ended()

    threads = [threading.Thread(target=sessions) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (served, most) == (400, 3)
    assert (slots.levels.live, slots.levels.waiting) == (0, 0)
