"""Read Kafka topics as an unbounded Beam source: a splittable DoFn with one element per partition.

    Impulse -> discover: (topic, partition, start, stop, log end) each -> Reshuffle -> read: (key, [records])

The restriction of a partition's reader is a range of offsets; its only split is the source's own checkpoint,
so that a partition is read by one worker at a time. A bundle is one read of the process's shared consumer
(`shared_consumer`): it waits for data, hands over what is there, and defers the rest at once, because
runners pass a bundle's output on only when the bundle ends. Deferring by a delay is no alternative: the
Flink runner cuts sub-second delays to 0. What is left of a live topic counts as what is in the log, so that
runners can scale by the backlog.

The discovery is a splittable DoFn too: its restriction is what has been found, so that a restored job neither
forgets a partition nor finds one twice. It lists again at each interval; a partition that was not there at
start is read from its earliest record.

The records of one read are grouped by key, so that a busy session costs one element, and carry the smallest
of their timestamps. A partition's watermark follows the newest read and, once the end of the log is reached,
the clock; the discovery holds it at its last listing, for records of partitions that are not found yet.

Offsets are committed to the consumer group, when one is named, as the runner finalizes bundles
(`commit_gate`): for lag tools and for a start without a checkpoint. The position itself is in the runner's
checkpoints.
"""

# Beam's own functions are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics.metric import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints import KV
from apache_beam.utils.timestamp import Duration, Timestamp

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, LostOffsets
from connectors.kafka.metering import Counter, Distribution
from connectors.kafka.observers import tell
from connectors.kafka.reading.drain_requests import left_metadata
from connectors.kafka.reading.feed import Batch
from connectors.kafka.reading.offsets import find_topics, group_offsets, resolve
from connectors.kafka.reading.partition_range import UNBOUNDED
from connectors.kafka.reading.positions import COMMITTED, EARLIEST, Position, parse_start
from connectors.kafka.reading.restrictions import (
    DiscoveryRestrictions,
    Listed,
    Partition,
    PartitionRestrictions,
    Reached,
)
from connectors.kafka.reading.shared_consumer import shared_consumer
from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from connectors.kafka.source_options import SourceOptions

_LOG = logging.getLogger(__name__)

_LATE_SECONDS = 5.0
"""On an idle partition the watermark stays this far behind the clock, for records on their way."""
_DEFER_SLACK_SECONDS = 0.2
"""Beam subtracts what the bundle still takes, and the Flink runner cuts the rest to whole seconds."""
_GAUGE_SECONDS = 1.0
_LEAVING_SECONDS = 0.2  # between two looks whether the last offset of a partition is committed


class ReadFromKafka(beam.PTransform):
    """Yields `(key, [KafkaRecord.as_tuple(), ...])` per key and read, in the partition's order; key b"" for
    none. Tombstones (value None), headers, timestamps and their type are kept.

        from connectors.kafka.client import ClientConfig
        from connectors.kafka.records import KafkaRecord
        from connectors.kafka.source import ReadFromKafka

        def values(element):
            key, records = element
            return [KafkaRecord.from_tuple(fields).value for fields in records]

        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | ReadFromKafka(
                    ClientConfig.build("localhost:9092"),
                    topic_pattern=r"audio-.*",
                    start="timestamp:2026-03-01T08:00:00Z",
                    stop_at="end",
                    group_id="replay",
                )
                | beam.FlatMap(values)
                | beam.Map(handle)
            )

    With `stop_at` the source ends. On Flink a job with checkpoints ends with its sources only if
    `--shutdown_sources_after_idle_ms=0` says so: otherwise Beam keeps the sources alive for ever.

    Metrics, namespace `kafka_source`: records, bytes, polls, empty_polls, lost_offsets, partitions_found,
    discovery_failures, lag_ms, poll_ms, lag_records.
    """

    def __init__(self, config: ClientConfig, topics: Iterable[str] = (), **options: Any) -> None:
        """`options` are the fields of SourceOptions. Raises InvalidPosition, and ValueError for others."""
        super().__init__()
        self._options = SourceOptions(config, tuple(topics), **options)

    def expand(self, pbegin: Any) -> Any:
        return (
            pbegin
            | "Start" >> beam.Impulse()
            | "DiscoverPartitions" >> beam.ParDo(_DiscoverPartitions(self._options))
            | "SpreadPartitions" >> beam.Reshuffle()
            | "ReadPartition" >> beam.ParDo(_ReadPartition(self._options)).with_output_types(KV[bytes, Any])
        )


_KNOWN = beam.DoFn.RestrictionParam(DiscoveryRestrictions())
_TRACKER = beam.DoFn.RestrictionParam(PartitionRestrictions())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


@beam.DoFn.unbounded_per_element()
class _DiscoverPartitions(beam.DoFn):
    """One listing per bundle. The first resolves the start: a restart before the first checkpoint resolves it
    anew, a later one does not.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._found = Counter("kafka_source", "partitions_found")
        self._failures = Counter("kafka_source", "discovery_failures")

    def process(self, _: bytes, tracker: Any = _KNOWN, watermark: Any = _WATERMARK) -> Iterator[Any]:
        options, known, now = self._options, tracker.current_restriction(), time.time()
        draining = known.listed and options.drain_request is not None
        found: dict[str, int] | None
        try:
            found = find_topics(options.config, options.topics, options.topic_pattern)
            new = known.new_in(found)
            partitions = self._resolved(new, known.listed, now)
        except KafkaConnectorError as error:
            if not known.listed:
                raise
            self._failures.inc()
            _LOG.warning("Could not look for new partitions: %s", error)
            found, partitions = None, []
        # A drain is complete when every partition is left: also one that was added since the listing before.
        last = not self._goes_on(now) or (draining and found is not None)
        if not tracker.try_claim(Listed(known.with_found(found or {}), last)):
            return
        # Records of a partition that is new were written since the listing before.
        since = watermark.current_watermark()
        yield from (TimestampedValue(partition, since) if since else partition for partition in partitions)
        self._found.inc(len(partitions))
        if found is not None:
            _advance(watermark, Timestamp.of(now - _LATE_SECONDS))
        if not last:
            interval = options.discovery_interval_seconds or 0
            tracker.defer_remainder(Duration.of(interval + _DEFER_SLACK_SECONDS))

    def _resolved(self, new: list[tuple[str, int]], listed: bool, now: float) -> list[Partition]:
        options = self._options
        start = Position(EARLIEST) if listed else parse_start(options.start)
        stop = None if self._is_to_come(options.stop, now) else options.stop
        resolved = resolve(options.config, new, start, stop, options.group_id)
        needed = options.start_no_later() if start.kind == COMMITTED and options.start_no_later else {}
        if listed and new:
            names = ", ".join(f"{topic}-{partition}" for topic, partition in new)
            _LOG.warning("Found new partitions: %s", names)
        return [
            (
                *(place.topic, place.partition, min(offsets.start, needed.get(place, offsets.start))),
                *(offsets.stop, offsets.log_end),
            )
            for place, offsets in resolved
        ]

    def _goes_on(self, now: float) -> bool:
        stop = self._options.stop
        if self._options.discovery_interval_seconds is None:
            return False
        return stop is None or self._is_to_come(stop, now)

    @staticmethod
    def _is_to_come(stop: Position | None, now: float) -> bool:
        return stop is not None and stop.timestamp_ms is not None and stop.timestamp_ms > now * 1000


@beam.DoFn.unbounded_per_element()
class _ReadPartition(beam.DoFn):
    """One read per bundle. Beam wants the finalizer before the restriction among the parameters."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._stop = options.stop
        self._lag_shown_at = 0.0
        self._records = Counter("kafka_source", "records")
        self._bytes = Counter("kafka_source", "bytes")
        self._polls = Counter("kafka_source", "polls")
        self._empty_polls = Counter("kafka_source", "empty_polls")
        self._lost = Counter("kafka_source", "lost_offsets")
        self._lag_ms = Distribution("kafka_source", "lag_ms")
        self._poll_ms = Distribution("kafka_source", "poll_ms")
        self._lag_records = Metrics.gauge("kafka_source", "lag_records")

    def process(
        self,
        element: Partition,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        watermark: Any = _WATERMARK,
    ) -> Iterator[Any]:
        topic, partition, start = element[0], element[1], tracker.current_restriction().start
        stop = tracker.current_restriction().stop
        if start >= stop:
            return
        request_id = self._options.drain_request
        if request_id is not None:
            self._leave(topic, partition, request_id, finalizer, tracker)
            return
        batch = _until(self._read(topic, partition, start, stop), stop)
        batch, ended = self._until_moment(batch, stop)
        if not tracker.try_claim(Reached(batch.next_offset, batch.log_end)):
            return
        yield from _grouped(batch.records)
        self._measure(batch, (topic, str(partition)))
        if self._options.group_id is not None:
            # Also when nothing was read: a finalizer that a restart swallowed would leave a lag for ever.
            group = group_offsets(self._options.config, self._options.group_id)
            finalize = group.bundle_ended(topic, partition, start, batch.next_offset)
            if finalize is not None:
                finalizer.register(finalize)
        _advance(watermark, _watermark_after(batch, time.time()))
        ended = ended or batch.next_offset >= stop
        del batch  # this frame may live on: see `shared_consumer`
        if not ended:
            tracker.defer_remainder()
            return
        tracker.try_claim(Reached(stop))
        shared_consumer(self._options.config).release(topic, partition)

    def _leave(self, topic: str, partition: int, request_id: str, finalizer: Any, tracker: Any) -> None:
        """Read no further: end when the offset is committed, which takes some rounds of finalizers."""
        offset, stop = tracker.current_restriction().start, tracker.current_restriction().stop
        if self._options.group_id is not None:
            group = group_offsets(self._options.config, self._options.group_id)
            if not group.left(topic, partition, offset, left_metadata(request_id)):
                time.sleep(_LEAVING_SECONDS)
                tracker.try_claim(Reached(offset))
                finalizer.register(group.bundle_ended(topic, partition, offset, offset, leaving=True))
                tracker.defer_remainder()
                return
        tracker.try_claim(Reached(stop))
        shared_consumer(self._options.config).release(topic, partition)

    def _read(self, topic: str, partition: int, offset: int, stop: int) -> Batch:
        options = self._options
        began = time.monotonic()
        try:
            return shared_consumer(options.config).read(
                topic,
                partition,
                offset,
                max_records=min(options.max_records_per_bundle, stop - offset),
                max_bytes=options.max_bytes_per_bundle,
                min_interval_seconds=options.poll_timeout_ms / 1000,
                idle_seconds=options.idle_poll_timeout_ms / 1000,
            )
        except LostOffsets as lost:
            end, place = min(lost.end_offset, stop), (topic, str(partition))
            if options.on_lost_offsets != "skip":
                tell("kafka_source.lost_offsets", end - lost.first_offset, place)  # the bundle's are dropped
                raise
            self._lost.inc(end - lost.first_offset, *place)
            fields = {"topic": topic, "partition": partition}
            _LOG.warning("%s Going on behind the gap.", lost, extra=fields)
            return Batch([], end)
        finally:
            self._polls.inc()
            self._poll_ms.update(round((time.monotonic() - began) * 1000))

    def _until_moment(self, batch: Batch, stop: int) -> tuple[Batch, bool]:
        """The part of the batch before a moment that was to come when the job started, and whether that has
        come.
        """
        moment = self._stop.timestamp_ms if self._stop is not None else None
        if moment is None or stop != UNBOUNDED:
            return batch, False
        for number, record in enumerate(batch.records):
            if record.timestamp_ms >= moment:
                return replace(batch, records=batch.records[:number], next_offset=record.offset), True
        is_over = time.time() * 1000 > moment + _LATE_SECONDS * 1000
        return batch, is_over and _is_at_end(batch)

    def _measure(self, batch: Batch, place: tuple[str, str]) -> None:
        now = time.time()
        if batch.records:
            self._records.inc(len(batch.records), *place)
            self._bytes.inc(batch.size_bytes, *place)
            if batch.records[0].timestamp_ms != NO_TIMESTAMP:
                self._lag_ms.update(max(0, round(now * 1000) - batch.records[0].timestamp_ms))
        else:
            self._empty_polls.inc()
        if now - self._lag_shown_at > _GAUGE_SECONDS:
            self._lag_shown_at = now
            self._lag_records.set(shared_consumer(self._options.config).lag_records())


def _until(batch: Batch, stop: int) -> Batch:
    """The part of the batch before `stop`."""
    if batch.next_offset <= stop:
        return batch
    return replace(batch, records=[r for r in batch.records if r.offset < stop], next_offset=stop)


def _grouped(records: list[KafkaRecord]) -> Iterator[Any]:
    """One element per key, in the order of the keys' first records, at the smallest of their timestamps."""
    groups: dict[bytes, list[KafkaRecord]] = {}
    for record in records:
        groups.setdefault(record.key or b"", []).append(record)
    for key, group in groups.items():
        yield TimestampedValue((key, [record.as_tuple() for record in group]), _earliest(group))


def _earliest(records: list[KafkaRecord]) -> Timestamp:
    known = [record.timestamp_ms for record in records if record.timestamp_ms != NO_TIMESTAMP]
    return Timestamp(micros=min(known) * 1000) if known else Timestamp.now()


def _is_at_end(batch: Batch) -> bool:
    return batch.log_end is not None and batch.next_offset >= batch.log_end


def _watermark_after(batch: Batch, now: float) -> Timestamp | None:
    """None: an empty read of a partition whose end is not known, or not reached, says nothing."""
    if batch.records:
        return _earliest(batch.records)
    return Timestamp.of(now - _LATE_SECONDS) if _is_at_end(batch) else None


def _advance(watermark: Any, reached: Timestamp | None) -> None:
    """The watermark never goes back; a record older than it is late, which no stage here minds."""
    current = watermark.current_watermark()
    if reached is not None and (current is None or reached > current):
        watermark.set_watermark(reached)
