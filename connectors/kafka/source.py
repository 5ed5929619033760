"""Read Kafka topics as an unbounded Beam source: a splittable DoFn with one element per partition.

    Impulse -> one (topic, partition, start, stop) each -> Reshuffle -> read: (key, [record tuples])

The restriction is the partition's range of offsets; its only split is the source's own checkpoint, so that
a partition is read by one worker at a time. A bundle is one read of the process's shared consumer
(`shared_consumer`): it waits for data, hands over what is there, and defers the rest at once, because
runners pass a bundle's output on only when the bundle ends. Deferring by a delay is no alternative: the
Flink runner cuts sub-second delays to 0.

The records of one read are grouped by key, so that a busy session costs one element, and carry the smallest
of their timestamps. The watermark follows the newest read and, on an idle partition, the clock.

Offsets are committed to the consumer group, when one is named, as the runner finalizes bundles: a hint for
lag tools and for a start without a checkpoint. The position itself is in the runner's checkpoints.
"""

# Beam's own functions are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics.metric import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints import KV
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import LostOffsets
from connectors.kafka.offsets import EARLIEST, commit_later, list_partitions
from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from connectors.kafka.shared_consumer import Batch, shared_consumer

_LOG = logging.getLogger(__name__)

UNBOUNDED = 2**63 - 1
_IDLE_WATERMARK_SECONDS = 5.0
"""On an idle partition the watermark stays this far behind the clock, for records on their way."""

Partition = tuple[str, int, int, int]
"""topic, partition, first offset, end offset (UNBOUNDED for a live topic)"""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What to read and how to pace it."""

    config: ClientConfig
    topics: tuple[str, ...]
    start: str = EARLIEST
    """earliest, latest or committed (of `group_id`; earliest where the group has no offset)."""
    group_id: str | None = None
    stop_at: str | None = None
    """None for a live topic; `end` to stop at the offsets that the partitions end with at start."""
    on_lost_offsets: str = "fail"
    """fail or skip, when retention removed records before they were read."""
    poll_timeout_ms: int = 100
    """A busy partition ends a bundle at most once in this time."""
    idle_poll_timeout_ms: int = 1_000
    """An idle partition ends a bundle at most once in this time, unless another one of the process has
    data.
    """
    max_records_per_bundle: int = 2_000

    def __post_init__(self) -> None:
        if self.start == "committed" and self.group_id is None:
            raise ValueError("start='committed' needs a group_id")


class ReadFromKafka(beam.PTransform):
    """Yields `(key, [KafkaRecord.as_tuple(), ...])` per key and read, in the partition's order; key b"" for
    none.
    """

    def __init__(self, config: ClientConfig, topics: Iterable[str], **options: Any) -> None:
        """`options` are the fields of SourceOptions."""
        super().__init__()
        self._options = SourceOptions(config, tuple(topics), **options)

    def expand(self, pbegin: Any) -> Any:
        return (
            pbegin
            | "Start" >> beam.Impulse()
            | "ListPartitions" >> beam.ParDo(_ListPartitions(self._options))
            | "SpreadPartitions" >> beam.Reshuffle()
            | "ReadPartition" >> beam.ParDo(_ReadPartition(self._options)).with_output_types(KV[bytes, Any])
        )


class PartitionTracker(OffsetRestrictionTracker):
    """An offset range that only its own reader may split, at the position reached.

    A split elsewhere would give one session's audio to two workers.
    """

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None

    def is_bounded(self) -> bool:
        return bool(self.current_restriction().stop != UNBOUNDED)


class PartitionRestrictions(RestrictionProvider):
    """The range of offsets that ListPartitions resolved."""

    def initial_restriction(self, element: Partition) -> OffsetRange:
        _, _, start, stop = element
        return OffsetRange(start, max(start, stop))

    def create_tracker(self, restriction: OffsetRange) -> PartitionTracker:
        return PartitionTracker(restriction)

    def restriction_size(self, element: Partition, restriction: OffsetRange) -> int:  # noqa: ARG002
        size: int = restriction.size()
        return size

    def truncate(self, element: Partition, restriction: OffsetRange) -> OffsetRange | None:  # noqa: ARG002
        """Draining a live topic stops reading; a bounded replay is read to its end."""
        return restriction if restriction.stop != UNBOUNDED else None


class _ListPartitions(beam.DoFn):
    """Resolves the start once: a restart before the first checkpoint resolves it anew, a later one does
    not.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._options = options

    def process(self, _: bytes) -> Iterator[Partition]:
        options = self._options
        for place, start, end in list_partitions(
            options.config, options.topics, options.start, options.group_id
        ):
            yield place.topic, place.partition, start, end if options.stop_at == "end" else UNBOUNDED


_TRACKER = beam.DoFn.RestrictionParam(PartitionRestrictions())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


@beam.DoFn.unbounded_per_element()
class _ReadPartition(beam.DoFn):
    """One read per bundle. Beam wants the finalizer before the restriction among the parameters."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._records = Metrics.counter("kafka_source", "records")
        self._lost = Metrics.counter("kafka_source", "lost_offsets")

    def process(
        self,
        element: Partition,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        watermark: Any = _WATERMARK,
    ) -> Iterator[Any]:
        topic, partition, _, _ = element
        restriction = tracker.current_restriction()
        if restriction.start >= restriction.stop:
            tracker.try_claim(restriction.stop)
            return
        batch = _until(self._read(topic, partition, restriction.start), restriction.stop)
        if batch.next_offset > restriction.start and tracker.try_claim(batch.next_offset - 1):
            yield from _grouped(batch.records)
            self._records.inc(len(batch.records))
        if self._options.group_id is not None:
            # Also when nothing was read: a finalizer that a restart swallowed would leave a lag for ever.
            config, group = self._options.config, self._options.group_id
            finalizer.register(lambda: commit_later(config, group, topic, partition, batch.next_offset))
        _advance(watermark, batch.records)
        if batch.next_offset >= restriction.stop:
            tracker.try_claim(restriction.stop)
        else:
            tracker.defer_remainder()

    def _read(self, topic: str, partition: int, offset: int) -> Batch:
        options = self._options
        try:
            return shared_consumer(options.config).read(
                topic,
                partition,
                offset,
                max_records=options.max_records_per_bundle,
                min_interval_seconds=options.poll_timeout_ms / 1000,
                idle_seconds=options.idle_poll_timeout_ms / 1000,
            )
        except LostOffsets as lost:
            if options.on_lost_offsets != "skip":
                raise
            self._lost.inc(lost.end_offset - lost.first_offset)
            _LOG.warning("%s Going on behind the gap.", lost)
            return Batch([], lost.end_offset)


def _until(batch: Batch, stop: int) -> Batch:
    """The part of the batch before `stop`."""
    if batch.next_offset <= stop:
        return batch
    return Batch([record for record in batch.records if record.offset < stop], stop)


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


def _advance(watermark: Any, records: list[KafkaRecord]) -> None:
    """The watermark never goes back; a record older than it is late, which no stage here minds."""
    reached = _earliest(records) if records else Timestamp.of(time.time() - _IDLE_WATERMARK_SECONDS)
    current = watermark.current_watermark()
    if current is None or reached > current:
        watermark.set_watermark(reached)
