"""Calls from many threads reach the loop, each once, in the order of its thread, with few wake-ups."""

from __future__ import annotations

import asyncio
import threading

from pipeline.worker.loop_calls import LoopCalls, calls_of


class CountingLoop:
    """What `LoopCalls` uses of a loop; it runs when the test says so."""

    def __init__(self) -> None:
        self.woken: list[object] = []

    def call_soon_threadsafe(self, callback: object) -> None:
        self.woken.append(callback)

    def run(self) -> None:
        woken, self.woken = self.woken, []
        for callback in woken:
            callback()  # type: ignore[operator]


def test_one_wake_up_for_all_that_come_before_the_loop_runs() -> None:
    loop, done = CountingLoop(), list[int]()
    calls = LoopCalls(loop)  # type: ignore[arg-type]
    for number in range(100):
        calls.call(lambda number=number: done.append(number))
    assert len(loop.woken) == 1
    loop.run()
    assert done == list(range(100))


def test_a_call_made_while_the_loop_runs_wakes_it_again() -> None:
    loop, done = CountingLoop(), list[str]()
    calls = LoopCalls(loop)  # type: ignore[arg-type]
    calls.call(lambda: calls.call(lambda: done.append("second")))
    loop.run()
    assert (done, len(loop.woken)) == ([], 1)
    loop.run()
    assert done == ["second"]


def test_every_call_of_every_thread_is_made_in_its_order() -> None:
    threads, each = 8, 2_000
    loop = asyncio.new_event_loop()
    done: list[tuple[int, int]] = []
    calls = calls_of(loop)
    assert calls_of(loop) is calls

    def hand_in(thread: int) -> None:
        for number in range(each):
            calls.call(lambda number=number: done.append((thread, number)))

    workers = [threading.Thread(target=hand_in, args=(n,)) for n in range(threads)]
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    calls.call(loop.stop)
    runner.join(20)
    loop.close()
    assert len(done) == threads * each
    for thread in range(threads):
        assert [number for where, number in done if where == thread] == list(range(each))
