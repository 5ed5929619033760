"""Polls that do not return, over a scripted consumer. Real ones: `tests/integration/test_stuck_reads.py`."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

import pytest

from connectors.kafka.watched_consumer import CallWatch


@dataclass(eq=False)
class ScriptedConsumer:
    """Its poll waits until it is closed, as kafka-python's does once its thread has lost the call."""

    given_up: bool = False
    closes: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    close_hangs: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def poll(self, patient_words: str = "") -> None:
        assert self.closed.wait(10), f"nobody closed it {patient_words}"

    def close(self, autocommit: bool, timeout_ms: int) -> None:
        assert not autocommit
        assert timeout_ms > 0
        self.closes += 1
        if self.close_hangs:
            assert self.released.wait(10)
        self.closed.set()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def polling(watch: CallWatch, consumer: ScriptedConsumer, seconds: float) -> threading.Thread:
    """A thread inside a poll that is watched."""
    inside = threading.Event()

    def poll() -> None:
        with watch.over(consumer, seconds):
            inside.set()
            consumer.poll("PATIENT-WORDS")

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    assert inside.wait(5)
    return thread


def test_a_poll_that_is_overdue_is_ended_by_closing_its_consumer_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, consumer = Clock(), ScriptedConsumer()
    watch = CallWatch(3600, clock)
    thread = polling(watch, consumer, 30.0)
    clock.now += 29.9
    watch.end_overdue()
    assert not consumer.given_up
    clock.now += 0.2
    with caplog.at_level(logging.ERROR):
        watch.end_overdue()
        watch.end_overdue()
    thread.join(5)
    assert not thread.is_alive()
    assert consumer.given_up
    assert consumer.closes == 1
    [record] = caplog.records
    assert "test_watched_consumer.py" in record.getMessage(), "tells where the poll waits"
    assert "PATIENT-WORDS" not in record.getMessage()


def test_a_poll_that_returned_is_not_looked_at_again() -> None:
    clock, consumer = Clock(), ScriptedConsumer()
    watch = CallWatch(3600, clock)
    with watch.over(consumer, 1.0):
        pass
    with pytest.raises(OSError, match="broken"), watch.over(consumer, 1.0):
        raise OSError("broken")
    clock.now += 10
    watch.end_overdue()
    assert not consumer.given_up


def test_a_consumer_that_cannot_be_closed_does_not_hold_up_the_others() -> None:
    clock, stubborn, other = Clock(), ScriptedConsumer(close_hangs=True), ScriptedConsumer()
    watch = CallWatch(3600, clock)
    held_up = polling(watch, stubborn, 1.0)
    clock.now += 2
    watch.end_overdue()
    thread = polling(watch, other, 1.0)
    clock.now += 2
    watch.end_overdue()
    thread.join(5)
    assert not thread.is_alive()
    assert held_up.is_alive()
    stubborn.released.set()
    held_up.join(5)


def test_the_watch_looks_by_itself() -> None:
    consumer = ScriptedConsumer()
    thread = polling(CallWatch(0.02), consumer, 0.05)
    thread.join(5)
    assert not thread.is_alive()
    assert consumer.given_up
