"""Read a compacted topic as what it stands for: the last value of each key."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError, ReadFailed, UnknownTopic

_POLL_MS = 500
_POLL_RECORDS = 5_000
_STALL_SECONDS = 20.0
"""So long without progress, reading fails, retryably."""


@dataclass(frozen=True, slots=True)
class Table:
    """`values` by partition and key; `end_offsets`: by partition, how far was read."""

    values: dict[int, dict[bytes, bytes]] = field(repr=False)
    end_offsets: dict[int, int]


def read_table(
    config: ClientConfig, topic: str, partitions: Collection[int] | None = None, *, setting: str
) -> Table:
    """The topic's content as it is now, of these partitions or of all; transactions under way are left out.

    `setting` is where the topic's name comes from, for the message of UnknownTopic. Raises
    KafkaConnectorError; ReadFailed and BrokerUnreachable are retryable.
    """
    consumer = config.consumer(max_partition_fetch_bytes=4 * 1024 * 1024)
    try:
        known = consumer.partitions_for_topic(topic)
        if not known:
            raise UnknownTopic(topic, setting, config.bootstrap_servers)
        places = [
            TopicPartition(topic, number) for number in sorted(known if partitions is None else partitions)
        ]
        return _read(consumer, places)
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        consumer.close()


def _read(consumer: Any, places: list[TopicPartition]) -> Table:
    consumer.assign(places)
    starts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
    for place, start in starts.items():
        consumer.seek(place, start)
    table = Table(
        {place.partition: {} for place in places}, {place.partition: ends[place] for place in places}
    )
    missing = [place for place in places if starts[place] < ends[place]]
    progressed_at, reached = time.monotonic(), dict(starts)
    while missing:
        for place, records in consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS).items():
            _enter(table.values[place.partition], records)
        position = {place: consumer.position(place) or 0 for place in places}
        if position != reached:
            reached, progressed_at = position, time.monotonic()
        elif time.monotonic() - progressed_at > _STALL_SECONDS:
            raise _stalled(missing[0])
        missing = [place for place in missing if position[place] < ends[place]]
    return table


def _enter(values: dict[bytes, bytes], records: list[Any]) -> None:
    for record in records:
        if record.value is None:
            values.pop(record.key, None)
        elif record.key is not None:
            values[record.key] = record.value


def _stalled(place: TopicPartition) -> KafkaConnectorError:
    return ReadFailed(place.topic, place.partition, f"no progress for {_STALL_SECONDS:.0f} s")
