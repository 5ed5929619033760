"""Sends the demo's chunks to the input topic when they are due, as a telephony gateway or a recorder would.

Time is kept against a start on the monotonic clock: a late chunk does not push back those after it. The
clock, the wait and the producer come from outside; `open_producer` makes the real one, a plain kafka-python
producer, since a producer of audio needs nothing of medstream but the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from deploy.local.demo.playback import Chunk


class Producer(Protocol):
    """The part of kafka-python's KafkaProducer that the player uses."""

    def send(self, topic: str, value: bytes, key: bytes) -> Any: ...

    def flush(self, timeout: float) -> None: ...


Encode = Callable[[dict[str, Any]], bytes]
Wait = Callable[[float], bool]
"""Waits so many seconds; True means: stop playing. `threading.Event.wait` is one."""

FLUSH_SECONDS = 10.0


def open_producer(bootstrap_servers: str) -> Any:
    """A kafka-python producer that keeps the order of a key and waits for all in-sync replicas."""
    from kafka import KafkaProducer

    return KafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id="medstream-demo-player",
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
    )


def play(
    chunks: Iterable[Chunk],
    producer: Producer,
    topic: str,
    encode: Encode,
    *,
    clock: Callable[[], float],
    wait: Wait,
    on_sent: Callable[[Chunk], None],
) -> float:
    """Sends every chunk at its time, keyed by session id; returns how many seconds late the latest one was.

    Ends early, without an error, when `wait` says stop. A chunk the broker refuses raises the producer's
    error.
    """
    start = clock()
    latest_seconds = 0.0
    sent = []
    for chunk in chunks:
        delay = start + chunk.due_seconds - clock()
        latest_seconds = max(latest_seconds, -delay)
        if wait(max(0.0, delay)):
            break
        sent.append(producer.send(topic, value=encode(chunk.record), key=chunk.session_id.encode()))
        on_sent(chunk)
    producer.flush(timeout=FLUSH_SECONDS)
    for future in sent:
        future.get(timeout=FLUSH_SECONDS)
    return latest_seconds
