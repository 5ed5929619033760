"""What a run tells of sessions beside their words."""

from __future__ import annotations

from deploy.local.testing.run import Heard, letters_line
from pipeline.output.output_values import final_of, session_ended_of
from pipeline.output.transcripts import Transcripts
from tests.pipeline.final_records import a_final_record, a_session_ended_record
from tests.pipeline.letters.test_letter_selection import a_letter


def test_what_explains_a_session_is_told_without_its_words() -> None:
    gap = {"start_time": 1.0, "end_time": 2.0, "reason": "MISSING_SEQUENCE"}
    final = final_of(a_final_record("cut", [("melanoma", 0, 1)]))
    ends = [a_session_ended_record("whole"), a_session_ended_record("holed") | {"gaps": [gap]}]
    heard = Heard(
        Transcripts([final, *map(session_ended_of, ends)]),
        (
            a_letter(1, key=b"refused", reason="SESSION_REFUSED", value=None, session_id="refused"),
            a_letter(2, key=b"cut", reason="LATE_CHUNK"),
            a_letter(3, key=b"cut", reason="LATE_CHUNK"),
            a_letter(4, key=None, reason="MISSING_KEY"),
        ),
    )
    assert heard.remarks() == {
        "holed": ["audio is missing: 1 gap(s)"],
        "cut": ["no SessionEnded came", "dead letters: 2 LATE_CHUNK"],
        "refused": ["dead letters: 1 SESSION_REFUSED"],
    }
    assert letters_line(heard.dead_letters) == (
        "4 records or sessions became dead letters: 2 LATE_CHUNK, 1 MISSING_KEY, 1 SESSION_REFUSED"
    )
    assert letters_line(()) is None
    assert "melanoma" not in repr(heard)
