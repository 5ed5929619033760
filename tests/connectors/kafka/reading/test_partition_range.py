"""The range of offsets: split points, backlog, encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.reading.partition_range import UNBOUNDED, PartitionRange

OFFSETS = st.integers(0, 2**62)


@st.composite
def ranges(draw: st.DrawFn) -> PartitionRange:
    start = draw(OFFSETS)
    stop = draw(st.one_of(st.just(UNBOUNDED), st.integers(start, 2**62)))
    return PartitionRange(start, stop, draw(OFFSETS))


@given(ranges(), st.data())
def test_a_split_keeps_every_offset_once(whole: PartitionRange, data: st.DataObject) -> None:
    at, log_end = data.draw(st.integers(whole.start, whole.stop)), data.draw(OFFSETS)
    done, left = whole.split_at(at, log_end)
    assert (done.start, done.stop, left.start, left.stop) == (whole.start, at, at, whole.stop)
    assert left.is_bounded == whole.is_bounded
    assert left.log_end == log_end


@given(ranges())
def test_the_backlog_is_what_is_in_the_log(whole: PartitionRange) -> None:
    in_log = whole.log_end - whole.start
    assert whole.backlog_records == max(0, min(in_log, whole.stop - whole.start))


@given(ranges())
def test_a_range_survives_its_encoding(whole: PartitionRange) -> None:
    assert PartitionRange.from_bytes(whole.to_bytes()) == whole


def test_a_range_ends_behind_its_start() -> None:
    with pytest.raises(ValueError, match="behind"):
        PartitionRange(5, 4)
