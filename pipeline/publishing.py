"""The Beam transform that publishes finals and ends of sessions, each once for every word.

Keyed by output partition, so that one worker owns a partition: its publisher (`partition_publisher`) numbers
the segments and leaves out what was published before. A bundle is done when Kafka has all of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.typehints import KV

from connectors.kafka.errors import DeliveryFailed, PartitionsChanged
from connectors.kafka.partitions import partition_for
from pipeline.observability.job_metrics import count, measure
from pipeline.output.partition_publisher import PartitionPublisher, Published
from pipeline.output.progress import SessionStep
from pipeline.output.shared_publishers import publisher_for
from pipeline.settings import JobSettings

_GRACE_SECONDS = 15.0
"""How much longer than Kafka's delivery timeout a bundle waits: to take a partition over, too."""


class KeyByOutputPartition(beam.DoFn):
    """Steps (`SessionStep.as_tuple`) to `(output partition, step)`."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def process(self, step: tuple[Any, ...]) -> Iterator[Any]:
        yield partition_for(step[0].encode(), self._partitions), step


class PublishFn(beam.DoFn):
    """See the module. Its state remembers for how many partitions it was written; that Beam keys it, too."""

    PARTITIONS = ReadModifyWriteStateSpec("partitions", VarIntCoder())

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self._under_way: list[tuple[PartitionPublisher, Future[Published]]] = []
        self._timeout_seconds = settings.kafka.delivery_timeout_seconds + _GRACE_SECONDS

    def start_bundle(self) -> None:
        self._under_way = []  # of a bundle that failed half-way

    def process(
        self,
        element: tuple[int, tuple[Any, ...]],
        partitions: Any = beam.DoFn.StateParam(PARTITIONS),  # noqa: B008 - Beam's way to declare state
    ) -> None:
        partition, fields = element
        self._check(partitions)
        publisher = publisher_for(self._settings, partition)
        self._under_way.append((publisher, publisher.submit(SessionStep.from_tuple(fields))))

    def _check(self, partitions: Any) -> None:
        expected, now = partitions.read(), self._settings.finals_partitions
        if expected is None:
            partitions.write(now)
        elif expected != now:
            raise PartitionsChanged(self._settings.topics.finals, expected, now)

    def finish_bundle(self) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        for publisher, future in self._under_way:
            try:
                published = future.result(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                cause = f"no answer within {self._timeout_seconds:.0f} s"
                error = DeliveryFailed(self._settings.topics.finals, cause)
                publisher.close(error)
                raise error from None
            _count(published)
        self._under_way = []


def _count(published: Published) -> None:
    if published.finals:
        count("finals", published.finals)
        measure("publish_ms", published.milliseconds)
    if published.skipped:
        count("finals_skipped", published.skipped)
    if published.trimmed:
        count("finals_trimmed", published.trimmed)
    if published.masked:
        count("finals_masked", published.masked)
    if published.masked_whole:
        count("finals_masked_whole", published.masked_whole)


class PublishSessions(beam.PTransform):
    """Steps of sessions (`SessionStep.as_tuple`) to the topics of finals, masked finals, ends, progress."""

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, steps: Any) -> Any:
        keyed = steps | "KeyByOutputPartition" >> beam.ParDo(
            KeyByOutputPartition(self._settings.finals_partitions)
        ).with_output_types(KV[int, Any])
        return keyed | "PublishSteps" >> beam.ParDo(PublishFn(self._settings))
