"""What a person and a program see of a dead letter, and that originals stay hidden until asked for."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.letters.letter_selection import by_reason
from pipeline.letters.letter_text import (
    hex_lines,
    json_lines,
    letter_line,
    letter_lines,
    letter_record,
    moment,
    reason_lines,
)
from tests.pipeline.letters.test_letter_selection import a_letter

SECRET = a_letter(
    7, value=b"secret words", message="the value\x1b[2J is no Avro", failed_at_ms=1_772_348_400_000
)


def test_the_original_is_shown_only_when_it_is_asked_for() -> None:
    hidden = [
        letter_line(SECRET),
        *letter_lines(SECRET, show_value=False),
        *json_lines([letter_record(SECRET, show_value=False)]),
        *reason_lines(by_reason([SECRET])),
    ]
    encoded = base64.b64encode(b"secret words").decode()
    assert not any("secret" in line or encoded in line for line in hidden)
    assert any("secret words" in line for line in letter_lines(SECRET, show_value=True))
    (line,) = json_lines([letter_record(SECRET, show_value=True)])
    assert base64.b64decode(json.loads(line)["value"]) == b"secret words"


def test_a_message_cannot_steer_the_terminal() -> None:
    shown = [letter_line(SECRET), *letter_lines(SECRET, show_value=True), *reason_lines(by_reason([SECRET]))]
    assert all(line.isprintable() for line in shown)


def test_one_line_has_position_time_reason_and_session() -> None:
    line = letter_line(SECRET)
    assert line.startswith("audio/0/7  2026-03-01T07:00:00Z  NOT_AVRO  s1  the value")
    assert moment(-1) == "-"


@given(st.binary(max_size=100))
def test_hexadecimal_holds_every_byte(data: bytes) -> None:
    lines = hex_lines(data)
    assert bytes.fromhex("".join(line[12:59] for line in lines if line.startswith("  0"))) == data
    assert hex_lines(None) == ["  (null)"]
