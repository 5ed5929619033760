"""A consumer of the outputs that is none of ours: librdkafka, `read_committed`, from the beginning.

It keeps every record as it comes. Nothing is left out for having come before, nothing is put in order: what
exactly-once promises must hold of the records themselves.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from schemas.serde import SingleObjectSerde
from tests.integration.harness import Arrival, Session, Topics, words_of


class CommittedReader:
    """Reads in a thread of its own until `close`."""

    def __init__(self, bootstrap_servers: str, topics: Topics, partitions: int) -> None:
        self.finals: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.arrivals: list[Arrival] = []  # of each of `finals`
        self._serdes = {
            topics.finals: (self.finals, SingleObjectSerde("final_transcript")),
            topics.sessions: (self.ended, SingleObjectSerde("session_ended")),
        }
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"reader-of-{topics.finals}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,  # a broker that is killed is worth twenty lines a second to it
            }
        )
        places = [TopicPartition(t, p, OFFSET_BEGINNING) for t in self._serdes for p in range(partitions)]
        self._consumer.assign(places)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(100, timeout=0.05):
                if message.error() is None:
                    self._keep(message)

    def _keep(self, message: Any) -> None:
        found, serde = self._serdes[message.topic()]
        record = serde.decode(message.value())
        found.append(record)
        if found is self.finals:
            made_at = message.timestamp()[1] / 1000
            arrival = Arrival(record["session_id"], record["stream_id"], made_at, time.time())
            self.arrivals.append(arrival)

    def seconds_until_all_spoke(self, ids: Iterable[str], since: float, timeout_seconds: float) -> float:
        """Seconds from `since` (Unix) until each session had a final that was written after it."""
        wanted, deadline = set(ids), time.monotonic() + timeout_seconds
        while True:
            fresh = [arrival for arrival in list(self.arrivals) if arrival.made_at > since]
            missing = wanted - {arrival.session_id for arrival in fresh}
            if not missing:
                first: dict[str, float] = {}
                for arrival in fresh:
                    first.setdefault(arrival.session_id, arrival.arrived_at)
                return max(first[name] for name in wanted) - since
            assert time.monotonic() < deadline, f"no final of {sorted(missing)} in {timeout_seconds:.0f} s"
            time.sleep(0.05)

    def wait_ended(self, sessions: Sequence[Session], timeout_seconds: float) -> None:
        wanted, deadline = {session.id for session in sessions}, time.monotonic() + timeout_seconds
        while missing := wanted - {ended["session_id"] for ended in list(self.ended)}:
            assert time.monotonic() < deadline, f"no end of {sorted(missing)} in {timeout_seconds:.0f} s"
            time.sleep(0.1)


def assert_each_word_once(reader: CommittedReader, sessions: Sequence[Session]) -> None:
    """Every word once, in the order of the records, indexes without holes, one end that counts them."""
    finals: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for final in reader.finals:
        finals[final["session_id"]].append(final)
    for session in sessions:
        records = finals[session.id]
        spoken = [word.content.lower() for word in session.words]
        heard = words_of(records)
        assert heard == spoken, difference(records, heard, spoken)
        assert [record["segment_index"] for record in records] == list(range(len(records)))
        ends = [ended for ended in reader.ended if ended["session_id"] == session.id]
        assert [ended["segments"] for ended in ends] == [len(records)]


def difference(records: Sequence[dict[str, Any]], heard: Sequence[str], spoken: Sequence[str]) -> str:
    """Which words are missing or doubled, and the records around the first of them."""
    missing = [word for word in spoken if word not in set(heard)]
    doubled = sorted({word for word in heard if heard.count(word) > 1})
    place = next(n for n, pair in enumerate(zip_longest(heard, spoken)) if pair[0] != pair[1])
    count, near = 0, []
    for record in records:
        if abs(count - place) < 15:
            near.append(
                (
                    record["segment_index"],
                    record["start_time"],
                    record["end_time"],
                    record["stream_id"][:6],
                    words_of([record]),
                )
            )
        count += len(words_of([record]))
    return f"missing {missing}, doubled {doubled}\n" + "".join(f"{entry}\n" for entry in near)
