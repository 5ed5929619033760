"""`make bench-replay`: recordings at size, and what replaying costs, on a broker of its own.

- `medstream replay --speed max` against a bare kafka-python producer with the same settings that sends the
  same records from memory, in turn in one run: records per second and the median of the ratios.
- `medstream record` of a large topic: records per second and the process's peak memory.
- Timing at speed 1: how late records were sent, and how far the times between the arrivals of a session's
  records, as a second recording has them of a topic with the broker's own clock (LogAppendTime), are from the
  first recording's. Timestamps are whole milliseconds, so 1 ms of it is rounding. The load of the machine is
  told beside it: above 0.5 it is mostly other processes that are measured.

All data is synthetic.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from connectors.kafka.client import ClientConfig
from connectors.kafka.recordings.recording import RecordingReader, RecordingWriter
from connectors.kafka.records import KafkaRecord
from deploy.local.kafka import KafkaBroker
from schemas.serde import SingleObjectSerde

PARTITIONS = 4
START_MS = 1_790_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="of the large topic, 200 bytes each")
    parser.add_argument(
        "--throughput-records", type=int, default=100_000, help="of each round against the producer"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60, help="of the replay at speed 1")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medstream-bench-") as folder:
        directory = Path(folder)
        with KafkaBroker(directory / "kafka") as broker:
            _timing(broker, directory, given.sessions, given.seconds)
            for size in (3200, 200):
                _throughput(broker, directory, given.throughput_records, size, given.rounds)
            _memory(broker, directory, given.records)


def _medstream(*arguments: object) -> tuple[dict[str, Any], float, int]:
    """The command's JSON (if it is any), seconds, and peak memory in bytes of the process."""
    began = time.monotonic()
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    told = json.loads(out) if out.startswith(b"{") else {}
    return told, time.monotonic() - began, usage.ru_maxrss * 1024


def _recording(path: Path, count: int, size: int) -> list[KafkaRecord]:
    chance, records = random.Random(1), []  # noqa: S311  # what does not compress
    values = [chance.randbytes(size) for _ in range(64)]
    writer = RecordingWriter.create(path, {"topic": "bench"}, overwrite=True)
    for number in range(count):
        key = b"session-%d" % (number % 100)
        record = KafkaRecord(
            "bench", number % PARTITIONS, number, START_MS + number // 10, 0, key, values[number % 64], ()
        )
        writer.write(record)
        records.append(record)
    writer.finish()
    return records


def _bare(broker: KafkaBroker, topic: str, records: list[KafkaRecord]) -> float:
    producer = ClientConfig.build(broker.bootstrap_servers).producer()
    producer.partitions_for(topic)
    began = time.monotonic()
    for record in records:
        producer.send(topic, record.value, record.key, partition=record.partition)
    producer.flush(120)
    seconds = time.monotonic() - began
    producer.close()
    return len(records) / seconds


def _throughput(broker: KafkaBroker, directory: Path, count: int, size: int, rounds: int) -> None:
    path = directory / f"throughput-{size}.avro"
    records, ratios, ours, others = _recording(path, count, size), [], [], []
    for number in range(rounds):
        topics = [f"bare-{size}-{number}", f"replay-{size}-{number}"]
        broker.create_topics(dict.fromkeys(topics, PARTITIONS))
        others.append(_bare(broker, topics[0], records))
        arguments = ["replay", path, "--topic", topics[1], "--speed", "max", "--json"]
        told, _, _ = _medstream(*arguments, "--bootstrap-servers", broker.bootstrap_servers)
        ours.append(told["records"] / told["seconds"])
        ratios.append(ours[-1] / others[-1])
        _delete(broker, topics)
    print(
        f"replay --speed max, {size} bytes: {statistics.median(ours):,.0f} records/s, bare "
        f"producer {statistics.median(others):,.0f}; ratio {statistics.median(ratios):.2f} of "
        f"{[round(ratio, 2) for ratio in ratios]}"
    )


def _delete(broker: KafkaBroker, topics: list[str]) -> None:
    admin = ClientConfig.build(broker.bootstrap_servers).admin()
    admin.delete_topics(topics)
    admin.close()


def _memory(broker: KafkaBroker, directory: Path, count: int) -> None:
    broker.create_topics({"large": PARTITIONS})
    producer = ClientConfig.build(broker.bootstrap_servers).producer()
    sent = []
    for number in range(count):
        sent.append(
            producer.send("large", bytes(200), b"session-%d" % (number % 100), partition=number % PARTITIONS)
        )
        if len(sent) == 20_000:
            for future in sent:
                future.get(60)
            sent = []
    producer.flush(120)
    producer.close()
    path = directory / "large.avro"
    _, seconds, peak = _medstream(
        "record", path, "--topic", "large", "--bootstrap-servers", broker.bootstrap_servers
    )
    with RecordingReader(path) as reader:
        found = reader.header.records
    print(f"record: {found:,} records in {seconds:.1f} s, {found / seconds:,.0f}/s, peak {peak / 1e6:.0f} MB")
    _, seconds, peak = _medstream("inspect", path, "--json")
    print(f"inspect: {seconds:.1f} s, peak {peak / 1e6:.0f} MB")
    broker.create_topics({"again": PARTITIONS})
    arguments = ["replay", path, "--topic", "again", "--speed", "max", "--json"]
    told, _, peak = _medstream(*arguments, "--bootstrap-servers", broker.bootstrap_servers)
    print(f"replay: {told['records']:,} records in {told['seconds']:.1f} s, peak {peak / 1e6:.0f} MB")


def _timing(broker: KafkaBroker, directory: Path, sessions: int, seconds: int) -> None:
    path, again = directory / "timing.avro", directory / "again.avro"
    serde, payload = SingleObjectSerde("audio_chunk"), random.Random(2).randbytes(3200)  # noqa: S311
    writer = RecordingWriter.create(path, {"topic": "timing"})
    for number in range(seconds * 10 * sessions):
        session, sequence = number % sessions, number // sessions
        name = f"session-{session}"
        record = {"session_id": name, "sequence": sequence, "payload": payload, "sample_rate_hertz": 16000}
        at = START_MS + sequence * 100 + session * 100 // sessions
        value = serde.encode(record)
        writer.write(KafkaRecord("timing", session % PARTITIONS, number, at, 0, name.encode(), value))
    writer.finish()
    broker.create_topics({"timing": PARTITIONS}, {"message.timestamp.type": "LogAppendTime"})
    load = os.getloadavg()[0]
    servers = ["--bootstrap-servers", broker.bootstrap_servers]
    told, _, peak = _medstream("replay", path, "--topic", "timing", "--json", *servers)
    _medstream("record", again, "--topic", "timing", *servers)
    errors = sorted(abs(one - other) for one, other in zip(_steps(path), _steps(again), strict=True))
    print(
        f"replay at speed 1, {sessions} sessions, {told['seconds']:.1f} s (load {load:.1f} before): "
        f"p99 {told['late_p99_ms']} ms late, all {told['late_max_ms']}; times between a session's arrivals "
        f"p50 {errors[len(errors) // 2]} ms, p99 {errors[len(errors) * 99 // 100]}, at most {errors[-1]}; "
        f"peak {peak / 1e6:.0f} MB"
    )


def _steps(path: Path) -> list[int]:
    times = defaultdict(list)
    with RecordingReader(path) as reader:
        for record in reader:
            times[record.key].append(record.timestamp_ms)
    return [later - earlier for key in sorted(times) for earlier, later in pairwise(times[key])]


if __name__ == "__main__":
    main()
