"""The fake log answers reads as `audio_log` and `live_session` do."""

from __future__ import annotations

import random

from pipeline.engine.commands import ReadLog
from tests.pipeline.builders import chunk
from tests.simulation.fake_log import FakeLog
from tests.simulation.producer import Write

LOTS = 10**6


def log_of(*sessions: str) -> FakeLog:
    """One record a second, from second 1, by the session named."""
    writes = [Write(float(at), name, 0, at, chunk(at)) for at, name in enumerate(sessions, start=1)]
    return FakeLog(random.Random(3), writes)  # noqa: S311


def read(log: FakeLog, start: int, end: int | None, now: float, max_bytes: int = LOTS) -> list[int]:
    found = log.read("a", ReadLog(1, start, end, max_bytes), now)
    return [entry.chunk.sequence for entry in found.entries if entry.chunk is not None]


def test_what_the_clock_has_not_reached_is_not_there() -> None:
    log = log_of("a", "a", "a")
    assert [log.count(now) for now in (0.5, 1.0, 2.5, 9.0)] == [0, 1, 2, 3]
    assert read(log_of("a", "a", "a"), 0, None, 2.0) == [1, 2]


def test_a_read_finds_one_session_s_records_of_its_range() -> None:
    log = log_of("a", "b", "a", "b", "a")
    offsets = [record.offset for record in log.of_session("a")]
    assert read(log, offsets[1], None, 9.0) == [3, 5]
    assert read(log, 0, offsets[2], 9.0) == [1, 3]
    assert read(log, offsets[2] + 1, None, 9.0) == []


def test_a_read_is_bounded_and_says_where_to_go_on() -> None:
    log = log_of("a", "a", "a")
    offsets = [record.offset for record in log.of_session("a")]
    one = len(chunk(0).payload)
    part = log.read("a", ReadLog(1, 0, offsets[2] + 1, 2 * one), 9.0)
    assert (len(part.entries), part.next_offset, part.complete) == (2, offsets[2], False)
    rest = log.read("a", ReadLog(2, part.next_offset, offsets[2] + 1, one // 2), 9.0)
    assert (len(rest.entries), rest.next_offset, rest.complete) == (1, offsets[2] + 1, True)


def test_a_read_to_the_end_is_complete_when_it_finds_nothing_more() -> None:
    log = log_of("a", "b")
    found = log.read("a", ReadLog(1, 0, None, LOTS), 9.0)
    assert not found.complete
    assert log.read("a", ReadLog(2, found.next_offset, None, LOTS), 9.0).complete
    beyond = log.read("a", ReadLog(3, 10_000, 10_005, LOTS), 9.0)
    assert (beyond.next_offset, beyond.complete) == (10_000, False), "not written yet"
