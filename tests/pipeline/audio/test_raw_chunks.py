"""Raw chunks are the chunks that Avro would have brought; what is wrong is told by the header's name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.kafka.records import KafkaRecord
from pipeline.audio.decoding import ChunkDecoder
from pipeline.audio.raw_chunks import ATTRIBUTE, FIELDS, RAW, SETTINGS, chunk_record, raw_value, renamed
from pipeline.elements import INVALID_CHUNK, KEY_MISMATCH, MISSING_VALUE, AudioChunk
from pipeline.errors import ChunkRejected
from pipeline.recordings.session_rename import SessionRenamer
from schemas.serde import SingleObjectSerde

DECODER, AVRO_DECODER = ChunkDecoder(chunk_format=RAW), ChunkDecoder()
NEEDED = {"sequence": b"7", "sample_rate_hertz": b"16000"}


def record(headers: dict[str, bytes | None], value: bytes | None = b"\1\0" * 8) -> KafkaRecord:
    return KafkaRecord("audio", 0, 7, 1_700_000_000_000, 0, b"visit-1", value, tuple(headers.items()))


def test_two_headers_are_enough() -> None:
    chunk = DECODER.decode(record(NEEDED))
    assert (chunk.session_id, chunk.sequence, chunk.payload) == ("visit-1", 7, b"\1\0" * 8)
    assert (chunk.format.sample_rate_hertz, chunk.format.channels) == (16_000, 1)
    assert (chunk.end_of_session, chunk.settings, chunk.attributes) == (False, None, {})
    assert (chunk.captured_at_ms, chunk.media_offset_ms) == (None, None)


def test_every_field_of_the_schema_has_its_header() -> None:
    fields = {field["name"]: field["type"] for field in schemas.load("audio_chunk")["fields"]}
    assert set(FIELDS) == set(fields) - {"payload", "settings", "attributes"}
    assert set(SETTINGS) == {field["name"] for field in fields["settings"][1]["fields"]}
    symbols = set(fields["encoding"]["symbols"]) - {"UNKNOWN"}
    for symbol in symbols:
        assert chunk_record(record({**NEEDED, "encoding": symbol.lower().encode()}))["encoding"] == symbol


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda text: text == text.strip()
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))
CHUNKS = st.fixed_dictionaries(
    {
        "session_id": st.just("visit-1"),
        "sequence": st.integers(0, 2**62),
        "payload": st.binary(min_size=0, max_size=12).map(lambda data: data * 4),
        "encoding": st.sampled_from(["PCM", "MULAW", "ALAW"]),
        "sample_rate_hertz": st.integers(8_000, 48_000),
        "channels": st.sampled_from([1, 2]),
        "captured_at": st.none() | MOMENTS,
        "media_offset_ms": st.none() | st.integers(-(2**40), 2**40),
        "end_of_session": st.just(True) | st.booleans(),
        "settings": st.none()
        | st.dictionaries(
            st.sampled_from(["specialty", "type", "vocabulary_name", "content_identification_type"]),
            TEXTS,
            min_size=1,
        )
        | st.dictionaries(
            st.sampled_from(["show_speaker_label", "enable_channel_identification"]),
            st.booleans(),
            min_size=1,
        ),
        "attributes": st.dictionaries(TEXTS, TEXTS, max_size=3),
    }
)


def outcome(decoder: ChunkDecoder, found: KafkaRecord) -> AudioChunk | str:
    try:
        chunk = decoder.decode(found)
    except ChunkRejected as rejection:
        return rejection.error_class
    chosen = {name: value for name, value in (chunk.settings or {}).items() if value is not None}
    return AudioChunk(
        *(chunk.session_id, chunk.sequence, chunk.payload, chunk.format, chunk.media_offset_ms),
        *(chunk.captured_at_ms, chunk.end_of_session, chosen, chunk.attributes),
    )


@given(CHUNKS)
def test_raw_and_avro_are_the_same_chunk(chunk: dict[str, Any]) -> None:
    value, headers = raw_value(chunk)
    raw = record(dict(headers), value)
    avro = raw._replace(value=SingleObjectSerde("audio_chunk").encode(chunk), headers=())
    assert outcome(DECODER, raw) == outcome(AVRO_DECODER, avro)


@given(MOMENTS, st.integers(-12, 14))
def test_a_moment_may_be_iso_8601(moment: datetime, hours: int) -> None:
    local = moment.astimezone(datetime.now(UTC).tzinfo).isoformat()
    shifted = (moment + timedelta(hours=hours)).replace(tzinfo=None).isoformat() + f"{hours:+03d}:00"
    for text in (local, shifted, moment.isoformat().replace("+00:00", "Z")):
        assert chunk_record(record({**NEEDED, "captured_at": text.encode()}))["captured_at"] == moment


WRONG: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no sequence": ({"sequence": None}, r"header sequence is missing: .* from 0"),
    "no rate": ({"sample_rate_hertz": None}, r"header sample_rate_hertz is missing: .*hertz"),
    "a number in words": ({"sequence": b"seven"}, "header sequence is not an integer in decimal"),
    "a fraction": ({"media_offset_ms": b"1.5"}, "header media_offset_ms is not an integer"),
    "a number in binary": ({"sequence": (7).to_bytes(8, "big")}, "header sequence is not an integer"),
    "other digits": ({"sequence": "٧".encode()}, "header sequence is not an integer"),
    "a number too large": ({"sequence": b"9999999999999999999"}, "header sequence is not an integer"),
    "no number": ({"channels": b" "}, "header channels is not an integer"),
    "an empty one": ({"sequence": b""}, "header sequence is missing"),
    "no boolean": ({"end_of_session": b"1"}, "header end_of_session is not true or false"),
    "an encoding": ({"encoding": b"MP3-secret"}, "header encoding is not one of PCM, FLAC, OGG_OPUS, MULAW"),
    "an unknown one": ({"encoding": b"UNKNOWN"}, "header encoding is not one of PCM"),
    "no moment": ({"captured_at": b"yesterday"}, "header captured_at is not microseconds since 1970, or ISO"),
    "no time zone": ({"captured_at": b"2026-03-01T08:00:00"}, "header captured_at .*offset from UTC"),
    "a moment too late": ({"captured_at": b"9" * 19}, "header captured_at is not"),
    "no text": ({"specialty": b"\xff\xfe"}, "header specialty is not text in UTF-8"),
    "an attribute": ({f"{ATTRIBUTE}ward": b"\xff"}, "header attributes.ward is not text in UTF-8"),
    "a rate": ({"sample_rate_hertz": b"44"}, "sample_rate_hertz 44 is outside"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_names_its_header_and_what_is_expected(case: str) -> None:
    headers, expected = WRONG[case]
    with pytest.raises(ChunkRejected, match=expected) as rejected:
        DECODER.decode(record({**NEEDED, **headers}))
    assert rejected.value.error_class == INVALID_CHUNK
    for value in headers.values():
        if value and value.strip() not in (b"", b"44", b"1"):
            assert value.decode("utf-8", "replace") not in str(rejected.value)


@given(st.dictionaries(st.sampled_from([*FIELDS, *SETTINGS, "attributes.a"]), st.binary(max_size=24)))
def test_whatever_the_headers_there_is_a_chunk_or_a_rejection(headers: dict[str, bytes]) -> None:
    found = outcome(DECODER, record({**NEEDED, **headers}))
    refusals = (INVALID_CHUNK, KEY_MISMATCH, "UNDECODABLE_AUDIO", "SAMPLE_RATE_MISMATCH")
    assert isinstance(found, AudioChunk) or found in refusals


def test_other_headers_are_left_alone_and_the_last_of_a_name_counts() -> None:
    found = record({**NEEDED, "traceparent": b"00-1", "x": b"\xff"})
    found = found._replace(headers=(("sequence", b"no"), *found.headers))
    assert DECODER.decode(found).sequence == 7


def test_a_header_without_a_value_is_none() -> None:
    """A replay sends null headers as empty ones."""
    optional = [*FIELDS, *SETTINGS]
    for nothing in (None, b""):
        found = record({**dict.fromkeys(optional, nothing), **NEEDED, "attributes.a": nothing})
        assert replace(DECODER.decode(found), attributes={}) == DECODER.decode(record(NEEDED))


def test_a_session_id_of_another_key_and_a_record_without_value_are_refused() -> None:
    for headers, value, expected in (
        ({"session_id": b"visit-2"}, b"", KEY_MISMATCH),
        ({}, None, MISSING_VALUE),
    ):
        with pytest.raises(ChunkRejected) as rejected:
            DECODER.decode(record({**NEEDED, "end_of_session": b"true", **headers}, value))
        assert rejected.value.error_class == expected


@pytest.mark.parametrize("headers", [{}, {"session_id": b"visit-1"}])
def test_a_renamed_record_is_the_same_chunk_of_another_session(headers: dict[str, bytes]) -> None:
    found = record({**NEEDED, **headers, "traceparent": b"00-1"})
    for new in (renamed(found, "other"), SessionRenamer(RAW).renamed(found, "other")):
        assert (new.key, new.value) == (b"other", found.value)
        assert new.header("traceparent") == b"00-1"
        assert DECODER.decode(new).session_id == "other"
