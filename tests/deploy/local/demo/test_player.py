"""Pacing: chunks leave when they are due, on a clock of the test's own."""

from __future__ import annotations

import pytest

from deploy.local.demo.playback import Chunk, plan_sessions, play_order
from deploy.local.demo.player import play
from deploy.local.recordings import Recording


class FakeTime:
    """A clock that only `wait` and `work` move."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.now = 100.0
        self.stop_at = stop_at

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now >= self.stop_at


class Refused(Exception):
    pass


class FakeFuture:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def get(self, timeout: float) -> None:  # noqa: ARG002
        if self.error:
            raise self.error


class FakeProducer:
    """Takes records, each at a price in time; refuses the one numbered `refuse`."""

    def __init__(self, time: FakeTime, cost_seconds: float = 0.0, refuse: int | None = None) -> None:
        self.time, self.cost_seconds, self.refuse = time, cost_seconds, refuse
        self.sent: list[tuple[float, str, bytes, bytes]] = []
        self.flushed = 0

    def send(self, topic: str, value: bytes, key: bytes) -> FakeFuture:
        self.sent.append((self.time.now - 100.0, topic, key, value))
        self.time.now += self.cost_seconds
        return FakeFuture(Refused() if self.refuse == len(self.sent) - 1 else None)

    def flush(self, timeout: float) -> None:  # noqa: ARG002
        self.flushed += 1


def chunks(seconds: float = 0.5) -> list[Chunk]:
    recording = Recording("a", "A", "UROLOGY", "DICTATION", 8_000, bytes(round(seconds * 16_000)), "")
    return list(play_order(plan_sessions([recording], 1, "run"), 1.0, 0))


def run(producer: FakeProducer, time: FakeTime, played: list[str]) -> float:
    return play(
        chunks(),
        producer,
        "audio",
        lambda record: b"%d" % record["sequence"],
        clock=time.clock,
        wait=time.wait,
        on_sent=lambda chunk: played.append(chunk.session_id),
    )


def test_every_chunk_leaves_when_due_keyed_by_its_session() -> None:
    time = FakeTime()
    producer, played = FakeProducer(time), []
    late = run(producer, time, played)
    assert [round(at, 6) for at, *_ in producer.sent] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert {record[1:3] for record in producer.sent} == {("audio", b"a-run")}
    assert [value for *_, value in producer.sent] == [b"0", b"1", b"2", b"3", b"4"]
    assert played == ["a-run"] * 5
    assert late == pytest.approx(0.0, abs=1e-9)
    assert producer.flushed == 1


def test_a_slow_send_does_not_shift_what_follows_and_is_reported() -> None:
    time = FakeTime()
    producer = FakeProducer(time, cost_seconds=0.15)
    late = run(producer, time, [])
    assert [round(at, 6) for at, *_ in producer.sent] == [0.1, 0.25, 0.4, 0.55, 0.7]
    assert late == pytest.approx(0.2)


def test_stop_ends_playback_at_once_and_flushes_what_was_sent() -> None:
    time = FakeTime(stop_at=100.3)
    producer = FakeProducer(time)
    run(producer, time, [])
    assert len(producer.sent) == 2
    assert producer.flushed == 1


def test_a_chunk_the_broker_refused_is_an_error() -> None:
    time = FakeTime()
    with pytest.raises(Refused):
        run(FakeProducer(time, refuse=3), time, [])
