"""Outputs through their Avro schemas and back, and the headers beside them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord
from connectors.transcribe.model import MedicalAlternative, MedicalEntity, MedicalItem
from pipeline.elements import (
    LOST_OFFSETS,
    DeadLetter,
    FinalTranscript,
    Gap,
    PartialTranscript,
    SessionSettings,
    SessionSummary,
    SourceRange,
)
from pipeline.engine.session import END_OF_SESSION, REJECTED, SESSION_TIMEOUT
from pipeline.errors import ChunkRejected
from pipeline.output.outputs import (
    cloud_event_headers,
    dead_letter_record,
    final_record,
    partial_record,
    session_ended_record,
)
from schemas.serde import SingleObjectSerde

TEXTS = st.text(max_size=12)
LONGS = st.integers(0, 2**62)
SECONDS = st.floats(0, 1e5)
MAYBE_TEXT = st.none() | TEXTS
CONFIDENCE = st.none() | st.floats(0, 1, width=32)
ITEMS = st.builds(
    MedicalItem,
    start_time=SECONDS,
    end_time=SECONDS,
    type=st.sampled_from(["pronunciation", "punctuation", "speaker-change"]),
    content=TEXTS,
    confidence=CONFIDENCE,
    speaker=MAYBE_TEXT,
    vocabulary_filter_match=st.booleans(),
)
ENTITIES = st.builds(
    MedicalEntity,
    start_time=SECONDS,
    end_time=SECONDS,
    category=TEXTS,
    content=TEXTS,
    confidence=CONFIDENCE,
)
ALTERNATIVES = st.lists(
    st.builds(
        MedicalAlternative,
        transcript=TEXTS,
        items=st.lists(ITEMS, max_size=3).map(tuple),
        entities=st.lists(ENTITIES, max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
SOURCES = st.builds(SourceRange, TEXTS, st.integers(0, 1000), LONGS, LONGS)
MILLISECONDS = st.integers(0, 4_102_444_800_000)

FINALS = st.builds(
    FinalTranscript,
    session_id=TEXTS,
    result_id=TEXTS,
    segment_index=st.integers(0, 2**31 - 1),
    channel_id=MAYBE_TEXT,
    start_time=SECONDS,
    end_time=SECONDS,
    alternatives=ALTERNATIVES,
    settings=st.builds(
        SessionSettings,
        language_code=TEXTS,
        specialty=TEXTS,
        type=TEXTS,
        content_identification_type=MAYBE_TEXT,
    ),
    sample_rate_hertz=st.integers(8000, 48_000),
    source=SOURCES,
    stream_id=TEXTS,
    request_id=MAYBE_TEXT,
    started_at_ms=st.none() | MILLISECONDS,
    phi_masked=st.booleans(),
)
PARTIALS = st.builds(
    PartialTranscript,
    session_id=TEXTS,
    result_id=TEXTS,
    channel_id=MAYBE_TEXT,
    start_time=SECONDS,
    end_time=SECONDS,
    alternatives=ALTERNATIVES,
    stream_id=TEXTS,
    superseded=st.booleans(),
)
SUMMARIES = st.builds(
    SessionSummary,
    session_id=TEXTS,
    reason=st.sampled_from([END_OF_SESSION, SESSION_TIMEOUT, REJECTED]),
    segments=st.integers(0, 2**31 - 1),
    chunks=LONGS,
    audio_seconds=SECONDS,
    gaps=st.lists(st.builds(Gap, SECONDS, SECONDS, st.just(LOST_OFFSETS)), max_size=3),
    streams=st.integers(0, 2**31 - 1),
    retries=st.integers(0, 2**31 - 1),
    source=SOURCES,
)
HEADERS = st.lists(st.tuples(TEXTS, st.none() | st.binary(max_size=12)), max_size=4).map(tuple)
RECORDS = st.builds(
    KafkaRecord,
    topic=TEXTS,
    partition=st.integers(0, 1000),
    offset=LONGS,
    timestamp_ms=st.just(-1) | MILLISECONDS,
    timestamp_type=st.sampled_from([0, 1]),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
    headers=HEADERS,
)


def through_avro(schema: str, record: dict[str, Any]) -> dict[str, Any]:
    serde = SingleObjectSerde(schema)
    return serde.decode(serde.encode(record))


def to_ms(moment: dt.datetime | None) -> int | None:
    if moment is None:
        return None
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


@given(FINALS)
def test_a_final_keeps_everything_in_its_record(final: FinalTranscript) -> None:
    read = through_avro("final_transcript", final_record(final))
    assert to_ms(read.pop("started_at")) == final.started_at_ms
    alternatives = read.pop("alternatives")
    for found, given_ in zip(alternatives, final.alternatives, strict=True):
        assert found["transcript"] == given_.transcript
        assert [MedicalItem(**item) for item in found["items"]] == list(given_.items)
        assert [MedicalEntity(**entity) for entity in found["entities"]] == list(given_.entities)
    assert SourceRange(**read.pop("source")) == final.source
    for name in ("language_code", "specialty", "type", "content_identification_type"):
        assert read.pop(name) == getattr(final.settings, name)
    assert read == {name: getattr(final, name) for name in read}


@given(PARTIALS)
def test_a_partial_carries_its_best_alternative(partial: PartialTranscript) -> None:
    read = through_avro("partial_transcript", partial_record(partial))
    best = partial.alternatives[0] if partial.alternatives else MedicalAlternative("")
    assert read.pop("transcript") == best.transcript
    assert [MedicalItem(**item) for item in read.pop("items")] == list(best.items)
    assert read == {name: getattr(partial, name) for name in read}


@given(SUMMARIES, MILLISECONDS)
def test_a_summary_keeps_its_counts_and_gaps(summary: SessionSummary, ended_at_ms: int) -> None:
    read = through_avro("session_ended", session_ended_record(summary, ended_at_ms))
    assert to_ms(read.pop("ended_at")) == ended_at_ms
    assert [Gap(**gap) for gap in read.pop("gaps")] == list(summary.gaps)
    assert SourceRange(**read.pop("source")) == summary.source
    assert read == {name: getattr(summary, name) for name in read}


@given(RECORDS, st.sampled_from(["DECODE", "VALIDATE", "TRANSCRIBE"]), MAYBE_TEXT, MILLISECONDS)
def test_a_dead_letter_holds_the_original_byte_for_byte(
    record: KafkaRecord, stage: str, session_id: str | None, failed_at_ms: int
) -> None:
    letter = DeadLetter(record, stage, ChunkRejected("NOT_AVRO", "the reason"), session_id, failed_at_ms)
    read = through_avro("dead_letter", dead_letter_record(letter))
    assert (read["key"], read["value"]) == (record.key, record.value)
    assert [(h["key"], h["value"]) for h in read["headers"]] == list(record.headers)
    assert (read["topic"], read["partition"], read["offset"], read["timestamp_ms"]) == (
        *(record.topic, record.partition, record.offset, record.timestamp_ms),
    )
    assert (read["stage"], read["error_class"], read["message"]) == (stage, "NOT_AVRO", "the reason")
    assert (read["session_id"], to_ms(read["failed_at"])) == (session_id, failed_at_ms)


def test_cloud_events_attributes_are_those_of_the_kafka_binding() -> None:
    headers = cloud_event_headers("s/3", "medstream.FinalTranscript", ("audio", 7), {})
    assert headers == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"s/3"),
        ("ce_type", b"medstream.FinalTranscript"),
        ("ce_source", b"/kafka/audio/7"),
        ("content-type", b"avro/binary"),
    ]


@pytest.mark.parametrize("name", ["traceparent", "tracestate"])
def test_the_trace_of_the_audio_is_passed_on(name: str) -> None:
    headers = cloud_event_headers("s/3", "medstream.FinalTranscript", ("audio", 7), {name: b"00-ab-cd-01"})
    assert dict(headers)[name] == b"00-ab-cd-01"
