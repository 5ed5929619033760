"""The replayer's clock: each record at its time from the beginning, whatever held it up before."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.kafka.records import KafkaRecord
from pipeline.audio.playback import UNPACED
from pipeline.errors import SettingsError
from pipeline.recordings.replay_plan import Planned
from pipeline.recordings.replayer import Replayer, Target


class Clock:
    """Time that passes only when it is waited for, or when a send takes some."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stop_at: float | None = None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.stop_at is not None and self.now >= self.stop_at


class Broker:
    """Takes what a `BulkSender` would; `slow`: seconds that the send of record number n takes."""

    def __init__(self, clock: Clock, slow: dict[int, float] | None = None) -> None:
        self.clock, self.slow, self.sent = clock, slow or {}, []  # type: ignore[var-annotated]

    def prepare(self, _topic: str) -> None:
        """Nothing is to be known."""

    def send(self, _topic: str, _key: Any, _value: Any, headers: Any, **where: Any) -> None:
        self.sent.append((round(self.clock.now - 100, 6), headers, where))
        self.clock.now += self.slow.get(len(self.sent) - 1, 0.0)

    def flush(self) -> None:
        """All is acknowledged."""


def planned(*dues: float, partition: int = 0) -> list[Planned]:
    header = (("a", b"1"), ("null", None))
    return [
        Planned(due, KafkaRecord("t", partition, n, 5000 + n, 0, b"k", b"v", header))
        for n, due in enumerate(dues)
    ]


def replay(
    clock: Clock, broker: Broker, records: list[Planned], speed: float = 1.0, **target: Any
) -> Replayer:
    replayer = Replayer(broker, Target("t", 1, **target), speed, wait=clock.wait, clock=clock)  # type: ignore[arg-type]
    replayer.run(records)
    return replayer


def times(broker: Broker) -> list[float]:
    return [at for at, _, _ in broker.sent]


@pytest.mark.parametrize(
    ("speed", "expected"), [(1.0, [0, 0.1, 0.3]), (2.0, [0, 0.05, 0.15]), (UNPACED, [0, 0, 0])]
)
def test_speed(speed: float, expected: list[float]) -> None:
    clock = Clock()
    broker = Broker(clock)
    replay(clock, broker, planned(0, 0.1, 0.3), speed)
    assert times(broker) == expected


def test_a_delay_is_caught_up_and_does_not_stay() -> None:
    clock = Clock()
    broker = Broker(clock, {1: 0.25})
    summary = replay(clock, broker, planned(0, 0.1, 0.2, 0.3, 0.4, 0.5)).summary
    assert times(broker) == [0, 0.1, 0.35, 0.35, 0.4, 0.5]
    assert summary.lateness_ms(1.0) == pytest.approx(150, abs=0.2)
    assert summary.lateness_ms(0.5) == pytest.approx(0.1)


def test_an_hour_of_small_delays_does_not_drift() -> None:
    clock = Clock()
    dues = [n * 0.1 for n in range(36_000)]
    broker = Broker(clock, dict.fromkeys(range(36_000), 0.003))
    replay(clock, broker, planned(*dues))
    assert times(broker)[-1] == pytest.approx(3599.9)


def test_what_is_kept_and_what_is_not() -> None:
    clock = Clock()
    broker = Broker(clock)
    summary = replay(clock, broker, planned(0), keep_timestamps=True, added_headers=(("b", b"2"),)).summary
    replay(clock, broker, planned(0), keep_headers=False, keep_partitions=False)
    assert [(headers, where) for _, headers, where in broker.sent] == [
        ((("a", b"1"), ("null", b""), ("b", b"2")), {"partition": 0, "timestamp_ms": 5000}),
        ((), {"partition": None, "timestamp_ms": None}),
    ]
    assert summary.emptied_headers == 1


def test_a_partition_that_the_topic_has_not() -> None:
    clock = Clock()
    with pytest.raises(SettingsError, match="at least 4"):
        replay(clock, Broker(clock), planned(0, partition=3))


def test_stopped() -> None:
    clock = Clock()
    clock.stop_at = 100.15
    broker = Broker(clock)
    replay(clock, broker, planned(0, 0.1, 0.2, 0.3))
    assert times(broker) == [0, 0.1]
