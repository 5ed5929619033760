"""Which partition of a topic a key belongs to."""

from __future__ import annotations

from kafka.partitioner.default import murmur2


def partition_for(key: bytes, count: int) -> int:
    """The partition of `count` that Kafka's own producers choose for the key: murmur2, as in Java."""
    return int((murmur2(key) & 0x7FFFFFFF) % count)
