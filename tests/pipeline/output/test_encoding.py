"""Outputs as Kafka records: keys, values that a plain reader understands, identities."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.elements import (
    FinalTranscript,
    PartialTranscript,
    SessionSettings,
    SessionSummary,
    SourceRange,
)
from pipeline.errors import ChunkRejected
from pipeline.output.encoding import OutputEncoder, now_ms
from pipeline.output.outputs import final_record, session_ended_record
from pipeline.settings import Topics
from schemas.errors import SchemaNotRegistered
from schemas.registry_settings import RegistrySettings
from schemas.serde import SingleObjectSerde
from schemas.serdes import SerdeSettings
from schemas.subjects import TOPIC_RECORD_NAME
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry
from tests.pipeline.builders import kafka_record, result, word

ENCODER = OutputEncoder()
SOURCE = SourceRange("audio", 2, 3, 9)
SPOKEN = result("r1", word("hello", 0.0, 0.5)).alternatives
FINAL = FinalTranscript(
    session_id="visite-é",
    result_id="r1",
    segment_index=4,
    channel_id=None,
    start_time=0.0,
    end_time=0.5,
    alternatives=SPOKEN,
    settings=SessionSettings(),
    sample_rate_hertz=8000,
    source=SOURCE,
    stream_id="stream",
)
PARTIAL = PartialTranscript("visite-é", "r1", None, 0.0, 0.5, SPOKEN, "stream")
SUMMARY = SessionSummary("visite-é", "END_OF_SESSION", 1, 2, 0.2, (), 1, 0, SOURCE)


def test_a_final_is_keyed_by_its_session_and_named_by_its_segment() -> None:
    key, value, headers = ENCODER.final(final_record(FINAL), {"traceparent": b"00-1-2-01"})
    assert key == "visite-é".encode()
    assert SingleObjectSerde("final_transcript").decode(value)["segment_index"] == 4
    found = dict(headers)
    assert found["ce_id"] == "visite-é/4".encode()
    assert found["ce_type"] == b"medstream.FinalTranscript"
    assert found["ce_source"] == b"/kafka/audio/2"
    assert found["traceparent"] == b"00-1-2-01"


def test_the_same_final_has_the_same_record_whenever_it_is_sent() -> None:
    assert ENCODER.final(final_record(FINAL), {}) == ENCODER.final(final_record(FINAL), {})


def test_a_partial_and_its_withdrawal_are_two_events() -> None:
    shown = ENCODER.partial(PARTIAL, ("audio", 2))
    withdrawn = ENCODER.partial(replace(PARTIAL, superseded=True), ("audio", 2))
    assert shown[0] == withdrawn[0] == "visite-é".encode()
    assert dict(shown[2])["ce_id"] != dict(withdrawn[2])["ce_id"]
    serde = SingleObjectSerde("partial_transcript")
    assert [serde.decode(value)["superseded"] for value in (shown[1], withdrawn[1])] == [False, True]


def test_the_end_of_a_session_says_when_it_was_noticed() -> None:
    ended_at_ms = now_ms()
    key, value, headers = ENCODER.session_ended(session_ended_record(SUMMARY, ended_at_ms), {})
    ended_at = SingleObjectSerde("session_ended").decode(value)["ended_at"].timestamp()
    assert key == "visite-é".encode()
    assert ended_at == pytest.approx(ended_at_ms / 1000)
    assert dict(headers)["ce_id"] == "visite-é/ended".encode()


def test_a_dead_letter_is_named_by_the_position_of_its_record() -> None:
    record = kafka_record(17, value=b"junk", key=b"\xff\x00", headers=[("a", None), ("a", b"x")])
    key, value, headers = ENCODER.dead_letter(record, "DECODE", ChunkRejected("NOT_AVRO", "why"), None)
    read = SingleObjectSerde("dead_letter").decode(value)
    assert key == b"\xff\x00"
    assert (read["key"], read["value"]) == (b"\xff\x00", b"junk")
    assert read["headers"] == [{"key": "a", "value": None}, {"key": "a", "value": b"x"}]
    assert dict(headers)["ce_id"] == b"audio/0/17"


def test_a_dead_letter_can_do_without_the_record_s_bytes() -> None:
    record = kafka_record(17, value=b"junk" * 1000, key=b"k", headers=[("a", b"x")])
    _, value, _ = ENCODER.dead_letter(record, "DECODE", ChunkRejected("NOT_AVRO", "why"), None)
    serde = SingleObjectSerde("dead_letter")
    short = serde.decode(ENCODER.shortened(value))
    assert (short["value"], short["headers"], short["key"], short["offset"]) == (None, [], b"k", 17)
    assert short["message"] == "why (its value of 4000 bytes, too large for this topic, is left out)"
    whole = serde.decode(value)
    assert {**short, "value": 0, "headers": 0, "message": 0} == {
        **whole,
        "value": 0,
        "headers": 0,
        "message": 0,
    }


def test_a_dead_letter_of_a_record_without_key_remembers_that_there_was_none() -> None:
    record = kafka_record(17, value=None, key=None)
    key, value, _ = ENCODER.dead_letter(record, "DECODE", ChunkRejected("MISSING_KEY", "why"), None)
    read = SingleObjectSerde("dead_letter").decode(value)
    assert key == b""
    assert (read["key"], read["value"]) == (None, None)


# With a registry

TOPICS = Topics("audio", "finals", "letters", partials="partials", sessions="sessions")


def encode_all(encoder: OutputEncoder) -> list[bytes]:
    rejection = ChunkRejected("NOT_AVRO", "no")
    return [
        encoder.final(final_record(FINAL), {})[1],
        encoder.partial(PARTIAL, ("audio", 2))[1],
        encoder.session_ended(session_ended_record(SUMMARY, 0), {})[1],
        encoder.dead_letter(kafka_record(value=b"x"), "DECODE", rejection, None)[1],
    ]


def test_with_a_registry_every_output_has_the_id_of_its_topic_s_subject() -> None:
    fake = FakeRegistry()
    with LocalHttp(fake) as server:
        registry = RegistrySettings((server.url,))
        encoded = encode_all(OutputEncoder(TOPICS, SerdeSettings(registry, auto_register=True)))
    assert list(fake.subjects) == ["finals-value", "partials-value", "sessions-value", "letters-value"]
    assert [value[:5] for value in encoded] == [bytes([0, 0, 0, 0, number]) for number in (1, 2, 3, 4)]
    assert encoded[0][5:] == encode_all(OutputEncoder())[0][10:]


def test_a_masked_final_has_the_subject_of_its_own_topic() -> None:
    fake = FakeRegistry()
    with LocalHttp(fake) as server:
        serdes = SerdeSettings(RegistrySettings((server.url,)), auto_register=True)
        encoder = OutputEncoder(replace(TOPICS, masked="masked"), serdes)
        encoder.final({**final_record(FINAL), "phi_masked": True}, {})
    assert list(fake.subjects) == ["masked-value"]


def test_subjects_may_be_named_after_topic_and_record() -> None:
    fake = FakeRegistry()
    with LocalHttp(fake) as server:
        serdes = SerdeSettings(RegistrySettings((server.url,)), TOPIC_RECORD_NAME, auto_register=True)
        OutputEncoder(TOPICS, serdes).final(final_record(FINAL), {})
    assert list(fake.subjects) == ["finals-medstream.FinalTranscript"]


def test_what_is_not_registered_is_not_written() -> None:
    with LocalHttp(FakeRegistry()) as server:
        encoder = OutputEncoder(TOPICS, SerdeSettings(RegistrySettings((server.url,))))
        with pytest.raises(SchemaNotRegistered, match="finals-value"):
            encoder.final(final_record(FINAL), {})


def test_subjects_need_topics() -> None:
    with pytest.raises(ValueError, match="topics"):
        OutputEncoder(serdes=SerdeSettings(RegistrySettings(("http://127.0.0.1:1",))))
