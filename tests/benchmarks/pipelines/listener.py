"""A consumer of finals that notes how long each took from the service, and how late its audio was there.

librdkafka, `read_committed`, in a thread of the benchmark's own process, which has little else to do.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from schemas.serde import SingleObjectSerde
from tests.benchmarks.pipelines.quick_service import moment_of


@dataclass(frozen=True, slots=True)
class Heard:
    """One final: when the service sent it and when it was here (Unix), and where in the audio it ends."""

    session_id: str
    sent_at: float
    arrived_at: float
    end_seconds: float

    @property
    def delay_ms(self) -> float:
        return 1000 * (self.arrived_at - self.sent_at)


class Listener:
    """Reads `topic` from its beginning until `close`."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self.heard: list[Heard] = []
        self._serde = SingleObjectSerde("final_transcript")
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"listener-of-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()

    def wait(self, condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout_seconds:.0f} s still waiting for {what}")
            time.sleep(0.05)

    def between(self, since: float, until: float) -> list[Heard]:
        """The finals that the service sent in that time (Unix)."""
        return [heard for heard in list(self.heard) if since <= heard.sent_at < until]

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(100, timeout=0.05):
                if message.error() is None:
                    self._note(self._serde.decode(message.value()), time.time())

    def _note(self, final: dict[str, Any], now: float) -> None:
        sent_at = moment_of(final["alternatives"][0]["items"][0]["content"])
        if sent_at is not None:
            self.heard.append(Heard(final["session_id"], sent_at, now, final["end_time"]))


def quantile(values: Sequence[float], share: float) -> float:
    """0 of too few values."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
