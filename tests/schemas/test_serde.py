"""The serde against Avro's official vectors, and its behaviour on every kind of broken bytes."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from fastavro import parse_schema
from fastavro.validation import validate
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.errors import (
    MalformedRecord,
    NotSingleObjectEncoded,
    RecordDoesNotMatch,
    SchemaError,
    UndecodableRecord,
    UnknownFingerprint,
    UnknownSchema,
)
from schemas.serde import SingleObjectSerde, schema_fingerprint

# apache/avro, share/test/data/messageV1: written by the Java implementation.
MESSAGE_V1_SCHEMA = {
    "type": "record",
    "namespace": "org.apache.avro",
    "name": "TestMessage",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
MESSAGE_V1 = bytes.fromhex("c301a92de1f8a242f53d540842696c6c0412646f675f6c6f766572126361745f686174657200")
MESSAGE_V1_RECORD = {"id": 42, "name": "Bill", "tags": ["dog_lover", "cat_hater"]}

# apache/avro, share/test/data/schema-tests.txt.
EMPTY_RECORD_FINGERPRINTS = [
    ({"fields": [], "type": "record", "name": "foo"}, -4824392279771201922),
    ({"fields": [], "type": "record", "name": "foo", "namespace": "x.y"}, 5916914534497305771),
    ({"fields": [], "type": "record", "name": "a.b.foo", "namespace": "x.y"}, -4616218487480524110),
    ({"fields": [], "type": "record", "name": "foo", "doc": "Useful info"}, -4824392279771201922),
]

SECRET = "SYNTHETIC-PATIENT-WORDS"


def chunk(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "session_id": "session-1",
        "sequence": 7,
        "payload": b"\x01\x02" * 1600,
        "encoding": "PCM",
        "sample_rate_hertz": 16000,
    }
    return record | changes


@pytest.mark.parametrize(("schema", "expected"), EMPTY_RECORD_FINGERPRINTS)
def test_fingerprint_official_vectors(schema: dict[str, Any], expected: int) -> None:
    assert int.from_bytes(schema_fingerprint(schema), "little", signed=True) == expected


def test_official_message() -> None:
    serde = SingleObjectSerde(MESSAGE_V1_SCHEMA)
    assert serde.encode(MESSAGE_V1_RECORD) == MESSAGE_V1
    assert serde.decode(MESSAGE_V1) == MESSAGE_V1_RECORD


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_makes_a_serde_with_its_own_fingerprint(name: str) -> None:
    others = {SingleObjectSerde(other).fingerprint for other in schemas.names() if other != name}
    assert SingleObjectSerde(name).fingerprint not in others


def test_unknown_schema_names_the_known_ones() -> None:
    with pytest.raises(UnknownSchema, match="audio_chunk"):
        SingleObjectSerde("audio_chunks")


CHUNKS = st.fixed_dictionaries(
    {
        "session_id": st.text(max_size=40),
        "sequence": st.integers(0, 2**63 - 1),
        "payload": st.binary(max_size=400),
        "encoding": st.sampled_from(["PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW"]),
        "sample_rate_hertz": st.integers(8000, 48000),
        "channels": st.integers(1, 2),
        "captured_at": st.none() | st.datetimes(min_value=dt.datetime(1970, 1, 2), timezones=st.just(dt.UTC)),
        "media_offset_ms": st.none() | st.integers(0, 2**40),
        "end_of_session": st.booleans(),
        "settings": st.none()
        | st.fixed_dictionaries(
            {
                "specialty": st.none() | st.just("CARDIOLOGY"),
                "type": st.none() | st.just("DICTATION"),
                "language_code": st.none() | st.just("en-US"),
                "vocabulary_name": st.none() | st.text(max_size=10),
                "show_speaker_label": st.none() | st.booleans(),
                "enable_channel_identification": st.none() | st.booleans(),
                "content_identification_type": st.none() | st.just("PHI"),
            }
        ),
        "attributes": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    }
)


@given(CHUNKS)
def test_round_trip(record: dict[str, Any]) -> None:
    serde = SingleObjectSerde("audio_chunk")
    assert serde.decode(serde.encode(record)) == record


# fastavro reads an int of any length, so broken bytes can hold one beyond 32 bits; its user checks the range.
WIDENED = parse_schema(json.loads(json.dumps(schemas.load("audio_chunk")).replace('"int"', '"long"')))


@given(CHUNKS, st.data())
def test_broken_bytes_raise_or_decode_to_a_valid_record(record: dict[str, Any], data: st.DataObject) -> None:
    serde = SingleObjectSerde("audio_chunk")
    good = serde.encode(record)
    position = data.draw(st.integers(0, len(good) - 1))
    broken = (
        good[:position] + data.draw(st.binary(max_size=6)) + good[position + data.draw(st.integers(0, 6)) :]
    )
    try:
        decoded = serde.decode(broken)
    except UndecodableRecord:
        return
    assert validate(decoded, WIDENED, raise_errors=False)


@given(CHUNKS, st.data())
def test_every_cut_and_every_tail_is_refused(record: dict[str, Any], data: st.DataObject) -> None:
    serde = SingleObjectSerde("audio_chunk")
    good = serde.encode(record)
    with pytest.raises(UndecodableRecord):
        serde.decode(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(MalformedRecord, match="follow the record"):
        serde.decode(good + data.draw(st.binary(min_size=1, max_size=4)))


@pytest.mark.parametrize("value", [b"", b"\xc3", b"RIFF", b"\x00\x00\x00\x00\x01abc", SECRET.encode()])
def test_other_formats_are_named_as_such(value: bytes) -> None:
    with pytest.raises(NotSingleObjectEncoded) as caught:
        SingleObjectSerde("audio_chunk").decode(value)
    assert str(len(value)) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "header"), [(b"\x00\x00\x00\x00\x01abc", None), (SECRET.encode(), b"\x01" + bytes(16))]
)
def test_a_value_that_needs_a_registry_says_so(value: bytes, header: bytes | None) -> None:
    with pytest.raises(NotSingleObjectEncoded, match="--schema-registry-url"):
        SingleObjectSerde("audio_chunk").decode(value, header)


def test_unknown_fingerprint_tells_which_and_what_is_known() -> None:
    serde = SingleObjectSerde("audio_chunk")
    value = SingleObjectSerde(MESSAGE_V1_SCHEMA).encode(MESSAGE_V1_RECORD)
    with pytest.raises(UnknownFingerprint, match="a92de1f8a242f53d") as caught:
        serde.decode(value)
    assert caught.value.fingerprint == "a92de1f8a242f53d"
    assert f"AudioChunk {serde.fingerprint.hex()}" in str(caught.value)


def older_audio_chunk() -> dict[str, Any]:
    """A producer's version: some fields not yet there, one that we lack, an encoding newer than ours."""
    schema = copy.deepcopy(schemas.load("audio_chunk"))
    schema["fields"] = [
        f for f in schema["fields"] if f["name"] not in ("channels", "settings", "attributes")
    ]
    schema["fields"].append({"name": "device", "type": "string"})
    next(f for f in schema["fields"] if f["name"] == "encoding")["type"]["symbols"].append("G729")
    return schema


def test_records_of_another_writer_schema_are_resolved() -> None:
    old = SingleObjectSerde(older_audio_chunk())
    record = {
        **chunk(),
        "device": "wall microphone",
        "captured_at": None,
        "media_offset_ms": 5,
        "end_of_session": True,
    }
    value = old.encode(record)
    with pytest.raises(UnknownFingerprint):
        SingleObjectSerde("audio_chunk").decode(value)
    decoded = SingleObjectSerde("audio_chunk", writer_schemas=[older_audio_chunk()]).decode(value)
    del record["device"]
    assert decoded == {**record, "channels": 1, "settings": None, "attributes": {}}


def test_what_any_release_wrote_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    value = SingleObjectSerde(older_audio_chunk()).encode({**chunk(), "device": "x"})
    monkeypatch.setattr(schemas, "released", lambda _name: {"0.0.1": older_audio_chunk()})
    assert SingleObjectSerde("audio_chunk").decode(value)["sequence"] == 7


def test_an_encoding_newer_than_the_reader_is_unknown_not_pcm() -> None:
    value = SingleObjectSerde(older_audio_chunk()).encode({**chunk(encoding="G729"), "device": "x"})
    reader = SingleObjectSerde("audio_chunk", writer_schemas=[older_audio_chunk()])
    assert reader.decode(value)["encoding"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (chunk(sequence=SECRET), "sequence"),
        (chunk(payload=SECRET), "payload"),
        (chunk(encoding=SECRET), "encoding"),
        (chunk(patient=SECRET), "patient"),
        ({"session_id": SECRET}, "missing"),
        (chunk(attributes={"note": [SECRET]}), "attributes"),
        (chunk(settings={"speciality": SECRET}), "settings"),
        (SECRET, "no record"),
    ],
)
def test_a_record_that_does_not_match_is_named_without_its_value(record: Any, named: str) -> None:
    with pytest.raises(RecordDoesNotMatch, match=named) as caught:
        SingleObjectSerde("audio_chunk").encode(record)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_errors_say_no_retry() -> None:
    assert not SchemaError.retryable
