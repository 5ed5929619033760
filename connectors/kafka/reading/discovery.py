"""Which topics and partitions have been found: the state of discovery, which survives a restore.

Kafka numbers a topic's partitions from 0 and only ever adds to them, so a topic and its number of
partitions say everything. The state grows and never shrinks: a topic that a listing misses, because a broker
did not answer or because somebody deleted it, is not found a second time when it comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownTopics:
    """(topic, number of partitions) of what was handed on; `listed`: whether there was a listing at all."""

    listed: bool = False
    topics: tuple[tuple[str, int], ...] = ()

    def new_in(self, found: Mapping[str, int]) -> list[tuple[str, int]]:
        """(topic, partition) of what is not known yet, sorted."""
        known = dict(self.topics)
        return [
            (topic, partition)
            for topic in sorted(found)
            for partition in range(known.get(topic, 0), found[topic])
        ]

    def with_found(self, found: Mapping[str, int]) -> KnownTopics:
        """What is known after a listing."""
        merged = dict(self.topics)
        for topic, partitions in found.items():
            merged[topic] = max(partitions, merged.get(topic, 0))
        return KnownTopics(True, tuple(sorted(merged.items())))

    def to_bytes(self) -> bytes:
        """JSON, so that another version of this class reads it from a savepoint."""
        return json.dumps({"listed": self.listed, "topics": self.topics}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> KnownTopics:
        """What `to_bytes` wrote."""
        fields = json.loads(data)
        return cls(fields["listed"], tuple((topic, partitions) for topic, partitions in fields["topics"]))


def matching(pattern: str, topics: Mapping[str, int]) -> dict[str, int]:
    """The topics whose whole name matches the regular expression."""
    compiled = re.compile(pattern)
    return {topic: partitions for topic, partitions in topics.items() if compiled.fullmatch(topic)}
