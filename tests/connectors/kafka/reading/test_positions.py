"""Start and stop as people write them, and the sentences for what cannot be used."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.errors import InvalidPosition
from connectors.kafka.reading.positions import Position, parse_start, parse_stop, parse_timestamp_ms

MOMENT_MS = 1_772_348_400_000
SPELLINGS = [
    "1772348400000",
    "2026-03-01T07:00:00Z",
    "2026-03-01T07:00Z",
    "2026-03-01T08:00:00+01:00",
    "2026-03-01T07:00:00.000Z",
]


@pytest.mark.parametrize("text", ["earliest", "latest", "committed"])
def test_a_start_by_name(text: str) -> None:
    assert parse_start(text) == Position(text)


@pytest.mark.parametrize("moment", SPELLINGS)
def test_a_moment(moment: str) -> None:
    assert parse_start(f"timestamp:{moment}") == Position("timestamp", MOMENT_MS)
    assert parse_stop(moment) == parse_stop(f"timestamp:{moment}") == Position("timestamp", MOMENT_MS)


def test_the_end() -> None:
    assert parse_stop("end") == Position("end")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("newest", "expected one of earliest, latest, committed, timestamp:MOMENT"),
        ("2026-03-01T07:00Z", "timestamp:MOMENT"),
        ("end", "expected one of"),
        ("timestamp", "expected one of"),
        ("timestamp:", "no point in time"),
        ("timestamp:yesterday", "no point in time"),
        ("timestamp:2026-03-01T07:00:00", "time zone"),
        ("timestamp:1969-12-31T23:59:59Z", "before 1970"),
        ("timestamp:1772348400000000000", "no number of milliseconds"),
        ("timestamp:-5", "no point in time"),
    ],
)
def test_an_unusable_start_is_told_with_its_setting(text: str, told: str) -> None:
    with pytest.raises(InvalidPosition) as caught:
        parse_start(text, "--start-from")
    assert str(caught.value).startswith("--start-from: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "earliest", "the end", "timestamp:soon", "2026-13-01T00:00Z"])
def test_an_unusable_stop_is_told_with_its_setting(text: str) -> None:
    with pytest.raises(InvalidPosition, match="--stop-at"):
        parse_stop(text, "--stop-at")


@given(st.datetimes(min_value=dt.datetime(1971, 1, 1), timezones=st.timezones()))
def test_iso_and_milliseconds_say_the_same_moment(moment: dt.datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset.microseconds:
        return
    expected_ms = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    assert parse_timestamp_ms(moment.isoformat()) == expected_ms
    assert parse_timestamp_ms(str(expected_ms)) == expected_ms


@given(st.text(max_size=40))
def test_any_text_is_a_position_or_told(text: str) -> None:
    for parse in (parse_start, parse_stop):
        with contextlib.suppress(InvalidPosition):
            assert isinstance(parse(text), Position)
