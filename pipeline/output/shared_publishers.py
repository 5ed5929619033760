"""The worker process's publishers, one per output partition that it owns; and how they deliver."""

from __future__ import annotations

import threading
import time

from connectors.kafka.delivery import AtLeastOnce, Delivery, ExactlyOnce
from pipeline.output.encoding import OutputEncoder
from pipeline.output.partition_publisher import OutputPartition, PartitionPublisher
from pipeline.settings import EXACTLY_ONCE, JobSettings

_IDLE_SECONDS = 600.0
"""A partition without outputs for so long may have moved to another worker; its publisher is closed."""

_PUBLISHERS: dict[tuple[str, int], PartitionPublisher] = {}
_LOCK = threading.Lock()


def publisher_for(settings: JobSettings, partition: int) -> PartitionPublisher:
    """The process's publisher of this output partition; a new one in place of one that failed."""
    key = (settings.job_id, partition)
    with _LOCK:
        _close_idle()
        publisher = _PUBLISHERS.get(key)
        if publisher is None or publisher.closed:
            publisher = _PUBLISHERS[key] = _open(settings, partition)
        publisher.used_at = time.monotonic()
        return publisher


def _close_idle() -> None:
    now = time.monotonic()
    for key, publisher in list(_PUBLISHERS.items()):
        if now - publisher.used_at > _IDLE_SECONDS:
            del _PUBLISHERS[key]
            publisher.close()


def _open(settings: JobSettings, partition: int) -> PartitionPublisher:
    place = OutputPartition(
        finals_topic=settings.topics.finals,
        sessions_topic=settings.topics.sessions,
        progress_topic=settings.topics.progress,
        partition=partition,
        count=settings.finals_partitions,
        retention_seconds=settings.progress_retention_seconds,
        masked_topic=settings.topics.masked,
    )
    delivery = _delivery(settings, partition)
    return PartitionPublisher(
        place,
        delivery,
        OutputEncoder(settings.topics, settings.serdes),
        delivery_seconds=settings.kafka.delivery_timeout_seconds,
    )


def _delivery(settings: JobSettings, partition: int) -> Delivery:
    topics, count = settings.topics, settings.finals_partitions
    if settings.delivery == EXACTLY_ONCE:
        return ExactlyOnce(
            settings.kafka,
            topic=topics.finals,
            markers_topic=topics.progress,
            partition=partition,
            count=count,
            transactional_id=f"{settings.sink_id}-{partition}",
        )
    return AtLeastOnce(
        settings.kafka, topic=topics.finals, markers_topic=topics.progress, partition=partition, count=count
    )
