"""Records to chunks: every reason for a dead letter, and nothing of the bytes in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.kafka.records import KafkaRecord
from pipeline import elements
from pipeline.audio.decoding import ChunkDecoder, session_id_of
from pipeline.errors import ChunkRejected
from schemas.errors import RegistryUnavailable
from schemas.registry_settings import RegistrySettings
from schemas.serde import SingleObjectSerde
from schemas.serdes import SerdeSettings
from schemas.wire import VALUE_SCHEMA_ID_HEADER, prefix
from tests.encoders import encode, tone
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry, guid_of
from tests.pipeline.builders import (
    CHUNK_SAMPLES,
    RATE,
    SECRET_AUDIO,
    STEREO,
    audio_record,
    chunk_record,
    kafka_record,
)

DECODER = ChunkDecoder()
GOOD = SingleObjectSerde("audio_chunk").encode(chunk_record())
FLAC = encode(tone(440, CHUNK_SAMPLES, RATE), "FLAC", RATE)
NO_FLAC_SAMPLES = encode(b"", "FLAC", RATE)


def with_fingerprint(fingerprint: bytes) -> bytes:
    return GOOD[:2] + fingerprint + GOOD[10:]


BAD: list[tuple[str, KafkaRecord]] = [
    (elements.MISSING_KEY, kafka_record(value=chunk_record(), key=None)),
    (elements.MISSING_KEY, kafka_record(value=chunk_record(), key=b"")),
    (elements.MISSING_KEY, kafka_record(value=chunk_record(), key=b"\xff\xfe")),
    (elements.MISSING_VALUE, kafka_record(value=None)),
    (elements.KEY_MISMATCH, kafka_record(value=chunk_record(), key=b"session-2")),
    (elements.NOT_AVRO, kafka_record(value=b"")),
    (elements.NOT_AVRO, kafka_record(value=b"RIFF" + SECRET_AUDIO)),
    (elements.UNKNOWN_SCHEMA, kafka_record(value=with_fingerprint(b"\x01\x02\x03\x04\x05\x06\x07\x08"))),
    (elements.MALFORMED_RECORD, kafka_record(value=GOOD[:5])),
    (elements.MALFORMED_RECORD, kafka_record(value=GOOD[:-1])),
    (elements.MALFORMED_RECORD, kafka_record(value=GOOD + SECRET_AUDIO)),
    (elements.UNSUPPORTED_ENCODING, kafka_record(value=chunk_record(encoding="UNKNOWN"))),
    (elements.INVALID_CHUNK, kafka_record(value=chunk_record(encoding="FLAC", payload=SECRET_AUDIO))),
    (elements.INVALID_CHUNK, kafka_record(value=chunk_record(encoding="FLAC", payload=NO_FLAC_SAMPLES))),
    (elements.UNDECODABLE_AUDIO, kafka_record(value=chunk_record(encoding="FLAC", payload=FLAC[:-1]))),
    (elements.INVALID_CHUNK, kafka_record(value=chunk_record(sample_rate_hertz=44))),
]


@pytest.mark.parametrize(("error_class", "record"), BAD)
def test_an_unusable_record_is_rejected_by_its_class(error_class: str, record: KafkaRecord) -> None:
    with pytest.raises(ChunkRejected) as rejected:
        DECODER.decode(record)
    assert rejected.value.error_class == error_class
    assert SECRET_AUDIO.decode() not in str(rejected.value)
    assert rejected.value.__cause__ is None


def test_the_reason_for_an_unknown_schema_names_its_fingerprint() -> None:
    with pytest.raises(ChunkRejected, match="0102030405060708"):
        DECODER.decode(kafka_record(value=with_fingerprint(bytes(range(1, 9)))))


def test_a_good_record_is_decoded_whole() -> None:
    decoded = DECODER.decode(audio_record(3, media_offset_ms=300, attributes={"device": "m1"}))
    assert (decoded.session_id, decoded.sequence, decoded.media_offset_ms) == ("session-1", 3, 300)
    assert decoded.attributes == {"device": "m1"}


def test_flac_arrives_as_pcm_of_the_declared_format() -> None:
    pcm = tone(440, 2 * CHUNK_SAMPLES, RATE)
    flac = encode(pcm, "FLAC", RATE, 2)
    decoded = DECODER.decode(audio_record(3, encoding="FLAC", payload=flac, channels=2))
    assert (decoded.payload, decoded.format, decoded.samples) == (pcm, STEREO, CHUNK_SAMPLES)


@pytest.mark.parametrize("encoding", ["PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW"])
def test_an_end_marker_needs_no_audio_in_any_encoding(encoding: str) -> None:
    decoded = DECODER.decode(audio_record(3, encoding=encoding, payload=b"", end_of_session=True))
    assert (decoded.samples, decoded.end_of_session) == (0, True)


def test_a_flac_stream_without_samples_may_end_a_session() -> None:
    fields = {"encoding": "FLAC", "payload": NO_FLAC_SAMPLES, "end_of_session": True}
    assert DECODER.decode(audio_record(3, **fields)).samples == 0


def test_the_bad_records_of_a_batch_stay_at_their_places() -> None:
    records = [audio_record(0), kafka_record(1, value=b"junk"), audio_record(2)]
    found = list(DECODER.entries(records))
    assert [e.offset for e in found] == [0, 1, 2]
    assert [e.chunk is None for e in found] == [False, True, False]
    assert found[1].rejection is not None
    assert found[1].rejection.error_class == elements.NOT_AVRO


def test_the_session_is_the_key_in_utf_8() -> None:
    assert session_id_of(kafka_record(key="visite-é".encode())) == "visite-é"


@given(st.binary(max_size=200), st.sampled_from(["any", "marker", "ours"]))
def test_any_bytes_give_a_chunk_or_a_rejection_and_never_another_error(value: bytes, prefix: str) -> None:
    heads = {"any": b"", "marker": GOOD[:2], "ours": GOOD[:10]}
    for found in DECODER.entries([kafka_record(5, value=heads[prefix] + value)]):
        assert (found.chunk is None) != (found.rejection is None)


@given(st.integers(0, 2**40), st.binary(max_size=64).map(lambda half: half + half), st.booleans())
def test_what_a_producer_encodes_is_what_is_decoded(sequence: int, payload: bytes, end: bool) -> None:
    fields: dict[str, Any] = {"payload": payload, "end_of_session": end or not payload}
    decoded = DECODER.decode(audio_record(sequence, **fields))
    assert (decoded.sequence, decoded.payload) == (sequence, payload)
    assert decoded.end_of_session == fields["end_of_session"]


# With a registry


@pytest.fixture
def registry() -> Iterator[tuple[FakeRegistry, ChunkDecoder]]:
    fake = FakeRegistry()
    fake.add("audio-value", schemas.load("audio_chunk"))
    fake.add("audio-value", schemas.load("final_transcript"))
    with LocalHttp(fake) as server:
        settings = SerdeSettings(RegistrySettings((server.url,), deadline_seconds=0.2))
        yield fake, ChunkDecoder(settings.reader("audio_chunk"))


def test_producers_with_a_registry_are_read_in_all_their_formats(
    registry: tuple[FakeRegistry, ChunkDecoder],
) -> None:
    _, decoder = registry
    body = GOOD[10:]
    guid = b"\x01" + guid_of(json.dumps(schemas.load("audio_chunk"))).bytes
    with_header = kafka_record(value=body)._replace(headers=((VALUE_SCHEMA_ID_HEADER, guid),))
    for record in (kafka_record(value=GOOD), kafka_record(value=prefix(1) + body), with_header):
        assert decoder.decode(record).session_id == "session-1"


@pytest.mark.parametrize(
    ("error_class", "value"),
    [
        (elements.UNKNOWN_SCHEMA, prefix(9) + GOOD[10:]),
        (elements.UNKNOWN_SCHEMA, prefix(2) + GOOD[10:]),
        (elements.UNKNOWN_SCHEMA, with_fingerprint(bytes(8))),
        (elements.MALFORMED_RECORD, prefix(1) + GOOD[10:-1]),
        (elements.MALFORMED_RECORD, prefix(1)[:3]),
        (elements.NOT_AVRO, b"RIFF" + SECRET_AUDIO),
    ],
)
def test_with_a_registry_unusable_records_are_rejected_by_the_same_classes(
    registry: tuple[FakeRegistry, ChunkDecoder], error_class: str, value: bytes
) -> None:
    with pytest.raises(ChunkRejected) as rejected:
        registry[1].decode(kafka_record(value=value))
    assert rejected.value.error_class == error_class
    assert SECRET_AUDIO.decode() not in str(rejected.value)


def test_a_registry_that_is_away_rejects_no_record(registry: tuple[FakeRegistry, ChunkDecoder]) -> None:
    fake, decoder = registry
    fake.failures = [503] * 100
    with pytest.raises(RegistryUnavailable):
        list(decoder.entries([kafka_record(value=prefix(1) + GOOD[10:])]))
    fake.failures = []
    assert decoder.decode(kafka_record(value=prefix(1) + GOOD[10:])).session_id == "session-1"


def test_without_a_registry_its_format_is_named_with_the_option() -> None:
    with pytest.raises(ChunkRejected, match="--schema-registry-url"):
        DECODER.decode(kafka_record(value=prefix(1) + GOOD[10:]))
