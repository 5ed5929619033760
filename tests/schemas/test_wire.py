"""Every way a value can name its writer's schema, byte by byte."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedRecord, UndecodableRecord, UnknownWireFormat
from schemas.wire import MARKER, describe, looks_registered, prefix, split

GUID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


def test_the_prefix_is_a_zero_and_the_id_big_endian() -> None:
    assert prefix(258) == b"\x00\x00\x00\x01\x02"


@given(st.integers(0, 2**32 - 1), st.binary())
def test_a_prefix_is_read_back(schema_id: int, body: bytes) -> None:
    assert split(prefix(schema_id) + body, None, "R") == (schema_id, 5)


def test_a_guid_may_stand_before_the_record() -> None:
    assert split(b"\x01" + GUID.bytes + b"record", None, "R") == (GUID, 17)


def test_a_fingerprint_is_read_as_it_stands() -> None:
    assert split(MARKER + b"12345678" + b"record", None, "R") == (b"12345678", 10)


@pytest.mark.parametrize("value", [b"record", prefix(7) + b"record", MARKER + b"12345678", b""])
def test_a_header_wins_and_the_value_is_the_record_alone(value: bytes) -> None:
    assert split(value, b"\x01" + GUID.bytes, "R") == (GUID, 0)
    assert split(value, prefix(9), "R") == (9, 0)


@pytest.mark.parametrize("value", [b"", b"\x02", b"RIFF", b"\xc3", b"\xc3\x02" + bytes(20)])
def test_other_formats_are_told(value: bytes) -> None:
    with pytest.raises(UnknownWireFormat, match=f"{len(value)} bytes"):
        split(value, None, "R")
    with pytest.raises(UnknownWireFormat):
        split(b"record", value, "R")


@pytest.mark.parametrize(
    "value", [b"\x00", prefix(1)[:4], b"\x01" + GUID.bytes[:15], MARKER, MARKER + b"1234567"]
)
def test_what_ends_within_its_head_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedRecord):
        split(value, None, "R")


def test_a_header_holds_an_id_and_nothing_else() -> None:
    with pytest.raises(MalformedRecord, match="follow the id"):
        split(b"", prefix(1) + b"x", "R")


@given(st.binary(max_size=40), st.none() | st.binary(max_size=20))
def test_any_bytes_have_a_writer_or_an_error_of_ours(value: bytes, header: bytes | None) -> None:
    try:
        _, start = split(value, header, "R")
    except UndecodableRecord:
        return
    assert 0 <= start <= len(value)


def test_a_missing_registry_is_only_suspected_where_one_may_help() -> None:
    assert looks_registered(b"anything", prefix(1))
    assert looks_registered(prefix(1) + b"record", None)
    assert not looks_registered(b"RIFF", None)
    assert not looks_registered(b"", None)


def test_keys_are_described_by_kind() -> None:
    assert describe(7) == "id 7"
    assert describe(GUID) == f"GUID {GUID}"
    assert describe(b"\x01\xff") == "fingerprint 01ff"
