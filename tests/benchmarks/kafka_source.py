"""`make bench`: records a second through the Kafka source and through a bare kafka-python loop, in one run.

A real broker on this machine holds 3,200-byte records (100 ms of 16 kHz speech) of 20 sessions in 4
partitions. Ours is the source's DoFn as Beam drives it, bundle after bundle, down to the grouped elements;
the other is a loop around `consumer.poll()` with the same client settings, which touches every value. The two
take turns, and each reads everything. `--profile` shows where our time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from kafka import TopicPartition

from connectors.kafka.client import ClientConfig
from connectors.kafka.publisher import Publisher
from connectors.kafka.reading.partition_range import PartitionRange
from connectors.kafka.reading.restrictions import PartitionTracker
from connectors.kafka.reading.shared_consumer import shared_consumer
from connectors.kafka.source import _ReadPartition
from connectors.kafka.source_options import SourceOptions
from deploy.local.kafka import KafkaBroker

TOPIC = "bench"
PARTITIONS = 4
SESSIONS = 20
RECORD_BYTES = 3_200


class _Tracker(PartitionTracker):
    """What Beam's view adds for the DoFn."""

    def defer_remainder(self) -> None:
        split = self.try_split(0)
        assert split is not None
        self.residual = split[1]


def fill(config: ClientConfig, records: int) -> None:
    publisher = Publisher(config)
    sent = [
        publisher.send(TOPIC, b"session-%d" % (number % SESSIONS), os.urandom(RECORD_BYTES), [])
        for number in range(records)
    ]
    publisher.wait(sent)
    publisher.close()


def ends(config: ClientConfig) -> dict[TopicPartition, int]:
    consumer = config.consumer()
    places = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    found: dict[TopicPartition, int] = consumer.end_offsets(places)
    consumer.close()
    return found


def through_the_source(config: ClientConfig, stops: dict[TopicPartition, int]) -> Callable[[], int]:
    read = _ReadPartition(SourceOptions(config, (TOPIC,)))

    def run() -> int:
        left = {place: PartitionRange(0, stop, stop) for place, stop in stops.items() if stop}
        estimators = {place: ManualWatermarkEstimator(None) for place in left}
        records = 0
        while left:
            for place, restriction in list(left.items()):
                tracker = _Tracker(restriction)
                element = (place.topic, place.partition, 0, restriction.stop, restriction.stop)
                for output in read.process(element, None, tracker, estimators[place]):
                    records += len(output.value[1])
                left[place] = getattr(tracker, "residual", restriction)
                if left[place] is restriction:
                    del left[place]
        shared_consumer(config).close()
        return records

    return run


def through_a_bare_loop(config: ClientConfig, stops: dict[TopicPartition, int]) -> Callable[[], int]:
    def run() -> int:
        consumer = config.consumer()
        consumer.assign(list(stops))
        consumer.seek_to_beginning()
        records = size = 0
        while records < sum(stops.values()):
            for batch in consumer.poll(timeout_ms=1000, max_records=5_000).values():
                for record in batch:
                    size += len(record.value)
                records += len(batch)
        assert size == records * RECORD_BYTES
        consumer.close()
        return records

    return run


def measure(config: ClientConfig, rounds: int) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """(records a second, CPU microseconds a record) of ours and of the other, round by round."""
    stops = ends(config)
    runs = through_the_source(config, stops), through_a_bare_loop(config, stops)
    for number in range(rounds + 1):
        rates = []
        for run in runs:
            began, began_cpu = time.perf_counter(), time.process_time()
            records = run()
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
            rates.append((records / seconds, cpu_seconds / records * 1e6))
            assert records == sum(stops.values())
        if number:  # the first warms up
            yield rates[0], rates[1]


def profile(config: ClientConfig) -> None:
    run = through_the_source(config, ends(config))
    run()
    profiler = cProfile.Profile()
    profiler.runcall(run)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--profile", action="store_true", help="profile our side instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka") as broker:
        broker.create_topics({TOPIC: PARTITIONS})
        config = ClientConfig.build(broker.bootstrap_servers)
        fill(config, arguments.records)
        if arguments.profile:
            profile(config)
            return
        rates = list(measure(config, arguments.rounds))
    ratios = [ours[0] / bare[0] for ours, bare in rates]
    figures: dict[str, Any] = {
        "records_per_second": round(statistics.median(ours[0] for ours, _ in rates)),
        "bare_records_per_second": round(statistics.median(bare[0] for _, bare in rates)),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "cpu_us": round(statistics.median(ours[1] for ours, _ in rates), 1),
        "bare_cpu_us": round(statistics.median(bare[1] for _, bare in rates), 1),
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    lines = (
        "Kafka source, records of 3,200 bytes: {records_per_second:,} records/s, {cpu_us} µs of CPU each",
        "bare kafka-python loop:               {bare_records_per_second:,} records/s, {bare_cpu_us} µs",
        "ratio {ratio:.2f} (rounds: {ratios})",
    )
    print(*(line.format(**figures) for line in lines), sep="\n")


if __name__ == "__main__":
    main()
