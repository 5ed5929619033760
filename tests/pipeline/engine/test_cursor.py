"""The cursor through its Avro schema and back: what Beam state keeps is what the engine had."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import schemas
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.engine.cursor import SessionCursor, SessionStatus
from pipeline.engine.timeline import Position
from schemas.serde import SingleObjectSerde

SERDE = SingleObjectSerde("session_cursor")
LONGS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=20)
SECONDS = st.floats(0, 1e6)

SETTINGS = st.builds(
    SessionSettings,
    language_code=TEXTS,
    specialty=TEXTS,
    type=TEXTS,
    vocabulary_name=st.none() | TEXTS,
    show_speaker_label=st.booleans(),
    enable_channel_identification=st.booleans(),
    content_identification_type=st.none() | TEXTS,
)
CURSORS = st.builds(
    SessionCursor,
    version=LONGS,
    status=st.sampled_from(SessionStatus),
    partition=st.integers(0, 2**31 - 1),
    resume=st.builds(Position, LONGS, LONGS, LONGS),
    channel_end_times=st.dictionaries(st.sampled_from(["", "ch_0", "ch_1"]), SECONDS),
    next_segment_index=LONGS,
    format=st.builds(AudioFormat, st.integers(8000, 48_000), st.sampled_from([1, 2])),
    settings=SETTINGS,
    opened_offset=LONGS,
    origin_ms=st.none() | st.integers(-(2**63), 2**63 - 1),
    chunks=LONGS,
    streams=LONGS,
    retries=LONGS,
    gaps=st.lists(st.tuples(SECONDS, SECONDS, TEXTS), max_size=4).map(tuple),
)


@given(CURSORS)
def test_a_cursor_survives_its_way_through_state(cursor: SessionCursor) -> None:
    assert SessionCursor.from_record(SERDE.decode(SERDE.encode(cursor.to_record()))) == cursor


@given(CURSORS)
def test_a_cursor_s_record_has_every_field_of_the_schema_and_no_other(cursor: SessionCursor) -> None:
    assert set(cursor.to_record()) == {field["name"] for field in schemas.load("session_cursor")["fields"]}
