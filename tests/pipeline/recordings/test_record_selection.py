"""What people write to say which records they mean."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.recordings.record_selection import parse_moment, parse_offsets, session_filter, session_patterns


def test_sessions_by_name_and_pattern() -> None:
    patterns = session_patterns(["a, b-*", "c?"])
    assert patterns == ("a", "b-*", "c?")
    wanted = session_filter(patterns)
    keys = [b"a", b"ab", b"b-1", b"c1", b"c12", None, b"\xff"]
    assert [wanted(key) for key in keys] == [True, False, True, True, False, False, False]
    assert session_filter(())(None)


def test_offsets() -> None:
    assert parse_offsets(["0:100-199,2:5-", "1:7-7"]) == {0: (100, 200), 2: (5, None), 1: (7, 8)}


@pytest.mark.parametrize("text", ["", "0", "0:1", "0:5-4", "a:1-2", "0:1-2,0:3-4"])
def test_no_offsets(text: str) -> None:
    with pytest.raises(SettingsError, match="--offsets"):
        parse_offsets([text])


def test_moments() -> None:
    assert parse_moment(None, "--from", 1000) is None
    assert [parse_moment(text, "--from", 1000) for text in ("90", "1:30", "0:01:30", "0.5")] == [
        91000
    ] * 3 + [1500]
    assert parse_moment("2026-03-01T08:00:00Z", "--to", 1000) == 1_772_352_000_000
    with pytest.raises(SettingsError, match="--to"):
        parse_moment("soon", "--to", 1000)
