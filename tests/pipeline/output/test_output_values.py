"""Values of the pipeline through their Avro records, and through JSON lines, and back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord
from pipeline.elements import DeadLetter, FinalTranscript, PartialTranscript, SessionSummary
from pipeline.errors import ChunkRejected
from pipeline.output.output_values import dead_letter_of, final_of, partial_of, session_ended_of
from pipeline.output.outputs import dead_letter_record, final_record, partial_record, session_ended_record
from pipeline.output.transcript_text import final_json, partial_json, session_ended_json
from tests.pipeline.output.test_outputs import (
    FINALS,
    MILLISECONDS,
    PARTIALS,
    RECORDS,
    SUMMARIES,
    through_avro,
)


@given(FINALS)
def test_a_final_comes_back_from_avro_and_from_json(final: FinalTranscript) -> None:
    assert final_of(through_avro("final_transcript", final_record(final))) == final
    assert final_of(json.loads(final_json(final))) == final


@given(PARTIALS)
def test_a_partial_comes_back_from_avro_and_from_json(partial: PartialTranscript) -> None:
    record = partial_record(partial)
    assert partial_record(partial_of(through_avro("partial_transcript", record))) == record
    assert partial_record(partial_of(json.loads(partial_json(partial)))) == record


@given(SUMMARIES, MILLISECONDS)
def test_an_end_comes_back_from_avro_and_from_json(summary: SessionSummary, ended_at_ms: int) -> None:
    record = session_ended_record(summary, ended_at_ms)
    for ended in (
        session_ended_of(through_avro("session_ended", record)),
        session_ended_of(json.loads(session_ended_json(summary, ended_at_ms))),
    ):
        assert ended.ended_at_ms == ended_at_ms
        assert session_ended_record(ended.summary, ended_at_ms) == record


@given(RECORDS, st.none() | st.text(max_size=5), MILLISECONDS)
def test_a_dead_letter_comes_back_with_the_original(
    record: KafkaRecord, session_id: str | None, failed_at_ms: int
) -> None:
    letter = DeadLetter(record, "DECODE", ChunkRejected("NOT_AVRO", "why"), session_id, failed_at_ms)
    read = dead_letter_of(through_avro("dead_letter", dead_letter_record(letter)))
    assert read.record == record._replace(timestamp_type=0)
    assert (read.stage, read.session_id, read.failed_at_ms) == ("DECODE", session_id, failed_at_ms)
    assert (read.rejection.error_class, read.rejection.reason) == ("NOT_AVRO", "why")
