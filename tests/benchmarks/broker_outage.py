"""A producer whose broker is stopped for a minute: how much memory it takes, and whether anything is lost.

    python -m tests.benchmarks.broker_outage --seconds 60

One thread publishes numbered records in bundles, as a worker does: a bundle that fails with a retryable error
is repeated, as the runner would. The broker is killed, stays away and comes back in its old directory. Then
every number has to be in the topic, and each at its first occurrence in order. Fails (exit code 1) when a
record is missing or out of order, or when memory grew by more than 64 MB above what it was before.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from kafka import KafkaConsumer

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.publisher import Publisher
from deploy.local.kafka import KafkaBroker

TOPIC = "outage"
RECORD_BYTES = 3_200
RECORDS_PER_SECOND = 2_000
BUNDLE_RECORDS = 10_000
"""32 MB, twice what may be in flight."""
STEADY_SECONDS = 10.0
MAX_GROWTH_BYTES = 64 * 1024 * 1024


class Writer:
    """Publishes as fast as it may, in bundles; `offered` numbers are those of finished bundles."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._stop = threading.Event()
        self.offered = 0
        self.failures: dict[str, int] = {}
        self.finished_at: list[float] = []
        self._thread = threading.Thread(target=self._run, name="writer")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                sent = [
                    self._publisher.send(TOPIC, b"k", b"%012d" % number + bytes(RECORD_BYTES - 12), [])
                    for number in range(self.offered, self.offered + BUNDLE_RECORDS)
                ]
                self._publisher.wait(sent)
            except KafkaConnectorError as error:
                if not error.retryable:
                    raise
                name = type(error).__name__
                self.failures[name] = self.failures.get(name, 0) + 1
                self._stop.wait(0.5)  # the runner's own pause is longer
                continue
            self.offered += BUNDLE_RECORDS
            self.finished_at.append(time.monotonic())
            self._stop.wait(began + BUNDLE_RECORDS / RECORDS_PER_SECOND - time.monotonic())


class Memory(threading.Thread):
    """Samples the resident size of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = 0
        self.start()

    def run(self) -> None:
        while True:
            self.highest = max(self.highest, resident_bytes())
            time.sleep(0.1)

    def reset(self) -> None:
        self.highest = resident_bytes()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the broker is away")
    seconds = parser.parse_args().seconds
    memory = Memory()
    with (
        tempfile.TemporaryDirectory(prefix="medstream-outage-") as directory,
        KafkaBroker(Path(directory) / "kafka") as broker,
    ):
        broker.create_topics({TOPIC: 1})
        publisher = Publisher(ClientConfig.build(broker.bootstrap_servers))
        writer = Writer(publisher)
        time.sleep(STEADY_SECONDS)
        before, base = writer.offered, memory.highest
        memory.reset()
        broker.kill()
        away_at = time.monotonic()
        time.sleep(seconds)
        broker.restart()
        back_at = time.monotonic()
        time.sleep(STEADY_SECONDS)
        writer.stop()
        publisher.close()
        growth = memory.highest - base
        found = read_all(broker, writer.offered)
    first = list(dict.fromkeys(found))
    missing = set(range(writer.offered)) - set(first)
    again = next((at for at in writer.finished_at if at > back_at), float("inf"))
    print(f"broker away for {back_at - away_at:.1f} s; {before} records before, {writer.offered} in all")
    print(f"resident {base / 2**20:.0f} MiB before, at most {growth / 2**20:+.1f} MiB more (limit 64)")
    print(f"bundles repeated: {writer.failures or 'none'}; acknowledged again {again - back_at:.1f} s after")
    print(f"missing {len(missing)}, doubled {len(found) - len(first)}, in order: {first == sorted(first)}")
    return int(bool(missing) or first != sorted(first) or growth > MAX_GROWTH_BYTES)


def read_all(broker: KafkaBroker, count: int) -> list[int]:
    """The numbers in the topic, until the last one offered, or for a minute."""
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    numbers: list[int] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not numbers or numbers[-1] < count - 1):
        for records in consumer.poll(timeout_ms=500, max_records=5_000).values():
            numbers += [int(record.value[:12]) for record in records]
    consumer.close()
    return numbers


if __name__ == "__main__":
    sys.exit(main())
