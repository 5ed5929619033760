"""What the Kafka source is told: `SourceOptions`, checked when made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.drain_requests import DrainTopic, drain_watch
from connectors.kafka.reading.positions import COMMITTED, EARLIEST, Position, parse_start, parse_stop
from connectors.kafka.reading.shared_consumer import DEFAULT_MAX_BYTES

_MIN_DISCOVERY_SECONDS = 1.0

StartNoLater = Callable[[], Mapping[tuple[str, int], int]]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What to read and how to pace it."""

    config: ClientConfig
    topics: tuple[str, ...] = ()
    topic_pattern: str | None = None
    """Instead of topics: a regular expression for whole names; internal topics never match."""
    start: str = EARLIEST
    """earliest, latest, committed (of `group_id`; earliest where the group has no offset), or
    timestamp:MOMENT (`positions`). Partitions found later begin at their earliest record.
    """
    group_id: str | None = None
    start_no_later: StartNoLater | None = None
    """With committed: asked once for offsets, by topic and partition, that are to be read in any case, since
    what was done with them is not finished.
    """
    stop_at: str | None = None
    """None for a live topic; `end` to stop at the offsets that the partitions end with at start; a moment
    (`positions`) to stop before the first record that is not older, in each partition.
    """
    drain: DrainTopic | None = None
    """Where requests to drain are heard (`drain_requests`): then each partition stays where it is, its offset
    is committed to `group_id`, and the source ends.
    """
    discovery_interval_seconds: float | None = 10.0
    """How often to look for new partitions and topics; None: once, at start, as with `stop_at='end'`."""
    on_lost_offsets: str = "fail"
    """fail or skip, when retention removed records before they were read."""
    poll_timeout_ms: int = 100
    """A busy partition ends a bundle at most once in this time."""
    idle_poll_timeout_ms: int = 1_000
    """An idle partition ends a bundle at most once in this time, unless another one of the process has
    data.
    """
    max_records_per_bundle: int = 2_000
    max_bytes_per_bundle: int = DEFAULT_MAX_BYTES
    """Of keys, values and headers; a larger record is a bundle by itself."""

    def __post_init__(self) -> None:
        if bool(self.topics) == (self.topic_pattern is not None):
            raise ValueError("either topics or topic_pattern is needed")
        if self.topic_pattern is not None:
            try:
                re.compile(self.topic_pattern)
            except re.error as error:
                raise ValueError(f"topic_pattern is no regular expression: {error}") from None
        if parse_start(self.start).kind == COMMITTED and self.group_id is None:
            raise ValueError("start='committed' needs a group_id")
        if self.stop_at is not None:
            parse_stop(self.stop_at)
        if self.on_lost_offsets not in ("fail", "skip"):
            raise ValueError(f"on_lost_offsets is fail or skip, not {self.on_lost_offsets!r}")
        interval = self.discovery_interval_seconds
        if interval is not None and interval < _MIN_DISCOVERY_SECONDS:
            raise ValueError(f"discovery_interval_seconds is at least {_MIN_DISCOVERY_SECONDS:g}, or None")
        if self.max_records_per_bundle < 1 or self.max_bytes_per_bundle < 1:
            raise ValueError("max_records_per_bundle and max_bytes_per_bundle are at least 1")

    @property
    def drain_request(self) -> str | None:
        """The id of a request to drain, None as long as there is none."""
        return None if self.drain is None else drain_watch(self.config, self.drain).request_id

    @property
    def stop(self) -> Position | None:
        return None if self.stop_at is None else parse_stop(self.stop_at)
