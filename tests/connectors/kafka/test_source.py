"""The parts of the source that need no runner: grouping, watermark, end of a bounded replay, options."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import InvalidPosition
from connectors.kafka.reading.feed import Batch
from connectors.kafka.records import KafkaRecord
from connectors.kafka.source import (
    SourceOptions,
    _advance,
    _grouped,
    _until,
    _watermark_after,
)

CONFIG = ClientConfig.build("localhost:9092")


def record(offset: int, key: bytes | None, timestamp_ms: int = 0) -> KafkaRecord:
    return KafkaRecord("t", 0, offset, timestamp_ms, 0, key, b"v")


def test_one_element_per_key_in_order_at_the_smallest_timestamp() -> None:
    batch = [record(1, b"b", 5000), record(2, b"a", 3000), record(3, b"b", 4000), record(4, None, 1)]
    elements = list(_grouped(batch))
    assert [(e.value[0], [fields[2] for fields in e.value[1]]) for e in elements] == [
        (b"b", [1, 3]),
        (b"a", [2]),
        (b"", [4]),
    ]
    assert elements[0].timestamp == Timestamp(4)


def test_a_record_without_a_timestamp_counts_as_now() -> None:
    before = Timestamp.now()
    [element] = _grouped([record(1, b"k", -1)])
    assert element.timestamp >= before


def test_a_replay_stops_at_its_end() -> None:
    batch = Batch([record(offset, b"k") for offset in (3, 4, 5)], 8)
    assert [r.offset for r in _until(batch, 5).records] == [3, 4]
    assert _until(batch, 5).next_offset == 5
    assert _until(batch, 8) is batch


def test_the_watermark_follows_the_newest_read_and_never_goes_back() -> None:
    watermark = ManualWatermarkEstimator(None)
    for timestamp_ms, expected in ((5000, 5), (7000, 7), (6000, 7)):
        batch = Batch([record(1, b"k", timestamp_ms + 500), record(2, b"k", timestamp_ms)], 3, 9)
        _advance(watermark, _watermark_after(batch, 100.0))
        assert watermark.current_watermark() == Timestamp(expected)


@pytest.mark.parametrize(
    ("next_offset", "log_end", "expected"),
    [(9, 9, Timestamp(95)), (0, 0, Timestamp(95)), (8, 9, None), (0, None, None)],
)
def test_the_clock_moves_the_watermark_only_at_the_end_of_the_log(
    next_offset: int, log_end: int | None, expected: Timestamp | None
) -> None:
    assert _watermark_after(Batch([], next_offset, log_end), 100.0) == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"start": "committed"}, "group_id"),
        ({"start": "newest"}, "expected one of earliest"),
        ({"stop_at": "soon"}, "expected one of end"),
        ({"topics": ()}, "either topics or topic_pattern"),
        ({"topic_pattern": "a.*"}, "either topics or topic_pattern"),
        ({"topics": (), "topic_pattern": "("}, "regular expression"),
        ({"on_lost_offsets": "ignore"}, "fail or skip"),
        ({"discovery_interval_seconds": 0.5}, "at least 1"),
        ({"max_records_per_bundle": 0}, "at least 1"),
        ({"max_bytes_per_bundle": 0}, "at least 1"),
    ],
)
def test_unusable_options_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, InvalidPosition), match=told):
        SourceOptions(CONFIG, **{"topics": ("t",), **options})
