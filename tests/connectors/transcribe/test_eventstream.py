"""The event-stream codec against documented vectors, botocore's decoder and arbitrary cuts."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.transcribe import eventstream
from connectors.transcribe.errors import (
    ChecksumError,
    EventStreamError,
    HeaderError,
    MessageLengthError,
)
from connectors.transcribe.eventstream import (
    MAX_PAYLOAD_BYTES,
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    Message,
    MessageDecoder,
    Timestamp,
    decode_headers,
    decode_message,
    encode_headers,
    encode_message,
    frame,
)

# The signed end frame printed in the developer guide (which calls it an event of the server).
GOLDEN = base64.b64decode(
    "AAAAUwAAAEP1RHpYBTpkYXRlCAAAAWiXUkMLEDpjaHVuay1zaWduYXR1cmUGACCt6Zy+uymwEK2SrLp/zVBI5eGn83jdBwCaRUBJA+eaDafqjqI="
)
UUID_VALUE = UUID("01234567-89ab-cdef-0123-456789abcdef")

# value, its bytes in a header named "n": 01 6e, the type, the value
HEADER_VECTORS: list[tuple[HeaderValue, str]] = [
    (True, "01 6e 00"),
    (False, "01 6e 01"),
    (Int8(-2), "01 6e 02 fe"),
    (Int16(0x0102), "01 6e 03 0102"),
    (Int32(-1), "01 6e 04 ffffffff"),
    (Int64(2**40), "01 6e 05 0000010000000000"),
    (b"\x00\xff", "01 6e 06 0002 00ff"),
    ("é", "01 6e 07 0002 c3a9"),
    (Timestamp(1_548_726_977_291), "01 6e 08 000001689752430b"),
    (UUID_VALUE, "01 6e 09 0123456789abcdef0123456789abcdef"),
]

values: st.SearchStrategy[HeaderValue] = st.one_of(
    st.booleans(),
    st.integers(-(2**7), 2**7 - 1).map(Int8),
    st.integers(-(2**15), 2**15 - 1).map(Int16),
    st.integers(-(2**31), 2**31 - 1).map(Int32),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.binary(max_size=80),
    st.text(max_size=40),
    st.integers(-(2**63), 2**63 - 1).map(Timestamp),
    st.uuids(),
)
names = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) <= 255)
messages = st.builds(Message, st.dictionaries(names, values, max_size=6), st.binary(max_size=300))


def encoded(message: Message) -> bytes:
    return encode_message(message.headers, message.payload)


def test_golden_vector_both_ways() -> None:
    message = decode_message(GOLDEN)
    assert message.headers[":date"] == Timestamp(1_548_726_977_291)
    signature = message.headers[":chunk-signature"]
    assert isinstance(signature, bytes)
    assert signature.hex().startswith("ade99cbebb29b010")
    assert message.payload == b""
    assert encoded(message) == GOLDEN


@pytest.mark.parametrize(("value", "hex_bytes"), HEADER_VECTORS, ids=lambda item: str(item)[:24])
def test_each_header_type_has_its_documented_bytes(value: HeaderValue, hex_bytes: str) -> None:
    block = bytes.fromhex(hex_bytes)
    assert encode_headers({"n": value}) == block
    decoded = decode_headers(block)
    assert decoded == {"n": value}
    assert type(decoded["n"]) is type(value)


@given(st.lists(messages, max_size=4))
def test_round_trip_whole(sent: list[Message]) -> None:
    decoder = MessageDecoder()
    assert decoder.receive_data(b"".join(map(encoded, sent))) == sent
    assert decoder.at_boundary


@given(messages, messages)
def test_round_trip_byte_by_byte(first: Message, second: Message) -> None:
    decoder = MessageDecoder()
    received = []
    for byte in encoded(first) + encoded(second):
        received += decoder.receive_data(bytes((byte,)))
    assert received == [first, second]


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_round_trip_cut_anywhere(sent: list[Message], data: st.DataObject) -> None:
    wire = b"".join(map(encoded, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    decoder = MessageDecoder()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        decoder.feed(wire[start:end])
        received += list(decoder)
    assert received == sent


@given(messages, messages)
def test_trailing_part_of_a_message_is_kept_and_visible(first: Message, second: Message) -> None:
    tail = encoded(second)
    decoder = MessageDecoder()
    assert decoder.receive_data(encoded(first) + tail[:-1]) == [first]
    assert not decoder.at_boundary
    assert decoder.buffered_bytes == len(tail) - 1
    assert decoder.receive_data(tail[-1:]) == [second]
    assert decoder.at_boundary


@given(messages)
def test_botocore_decodes_what_we_encode(message: Message) -> None:
    oracle = EventStreamBuffer()
    oracle.add_data(encoded(message))
    decoded = next(iter(oracle))
    assert decoded.payload == message.payload
    assert decoded.headers == as_botocore(message.headers)


@given(st.lists(messages, min_size=1, max_size=2))
def test_botocore_and_we_agree_at_every_split_point(sent: list[Message]) -> None:
    wire = b"".join(map(encoded, sent))
    for cut in range(len(wire) + 1):
        decoder, oracle = MessageDecoder(), EventStreamBuffer()
        for part in (wire[:cut], wire[cut:]):
            decoder.feed(part)
            oracle.add_data(part)
            ours, theirs = list(decoder), list(oracle)
            assert [message.payload for message in ours] == [event.payload for event in theirs]
            assert [as_botocore(message.headers) for message in ours] == [event.headers for event in theirs]
        assert decoder.at_boundary


def as_botocore(headers: Mapping[str, HeaderValue]) -> dict[str, Any]:
    return {name: _as_botocore(value) for name, value in headers.items()}


def _as_botocore(value: HeaderValue) -> Any:
    match value:
        case Timestamp(milliseconds):
            return milliseconds
        case Int8(number) | Int16(number) | Int32(number) | Int64(number):
            return number
        case UUID():
            return value.bytes
    return value


@given(messages, st.data())
def test_no_changed_byte_goes_unnoticed(message: Message, data: st.DataObject) -> None:
    wire = bytearray(encoded(message))
    position = data.draw(st.integers(0, len(wire) - 1))
    wire[position] ^= data.draw(st.integers(1, 255))
    decoder = MessageDecoder()
    decoder.feed(bytes(wire))
    with pytest.raises(EventStreamError):
        decoder.next_message()


# Garbage --------------------------------------------------------------------------------------------------


def sealed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with right lengths and checksums, whatever the headers are."""
    lengths = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    body = lengths + crc32(lengths).to_bytes(4, "big") + headers + payload
    return body + crc32(body).to_bytes(4, "big")


header_like = st.lists(
    st.builds(
        lambda name, kind, rest: bytes((len(name),)) + name + bytes((kind,)) + rest,
        st.binary(max_size=4),
        st.integers(0, 12),
        st.one_of(
            st.binary(max_size=20), st.binary(max_size=20).map(lambda b: len(b).to_bytes(2, "big") + b)
        ),
    ),
    max_size=4,
).map(b"".join)
preludes = st.tuples(
    st.integers(0, 2**32 - 1) | st.integers(0, 200), st.integers(0, 2**32 - 1) | st.integers(0, 99)
)
garbage = st.one_of(
    st.binary(max_size=200),
    st.builds(sealed, st.binary(max_size=60) | header_like, st.binary(max_size=20)),
    st.builds(
        lambda lengths, rest: _with_crc(lengths[0].to_bytes(4, "big") + lengths[1].to_bytes(4, "big")) + rest,
        preludes,
        st.binary(max_size=100),
    ),
    messages.map(encoded),
)


def _with_crc(data: bytes) -> bytes:
    return data + crc32(data).to_bytes(4, "big")


@given(st.lists(garbage, max_size=4), st.data())
@settings(max_examples=300)
def test_garbage_raises_our_errors_only_in_pieces_of_any_size(
    parts: list[bytes], data: st.DataObject
) -> None:
    wire = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    decoder = MessageDecoder()
    failed = False
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        try:
            decoder.feed(wire[start:end])
            for message in decoder:
                encoded(message)
        except EventStreamError:
            failed = True
    if failed:
        with pytest.raises(EventStreamError):
            decoder.next_message()
    assert decoder.buffered_bytes <= len(wire)


@given(st.binary(max_size=100) | header_like)
@settings(max_examples=300)
def test_header_blocks_of_any_kind_raise_header_errors_only(block: bytes) -> None:
    try:
        headers = decode_headers(block)
    except HeaderError:
        return
    assert encode_headers(headers) == block


@given(header_like, st.binary(max_size=20))
@settings(max_examples=300)
def test_what_we_decode_botocore_decodes_alike(headers: bytes, payload: bytes) -> None:
    wire = sealed(headers, payload)
    try:
        message = decode_message(wire)
    except EventStreamError:
        return
    oracle = EventStreamBuffer()
    oracle.add_data(wire)
    decoded = next(iter(oracle))
    assert (decoded.headers, decoded.payload) == (as_botocore(message.headers), message.payload)


# Memory and effort ----------------------------------------------------------------------------------------


def test_a_long_message_is_waited_for_without_its_memory() -> None:
    """A length within the limits is believed, but nothing is allocated before it comes."""
    lengths = (16 + MAX_PAYLOAD_BYTES).to_bytes(4, "big") + bytes(4)
    decoder = MessageDecoder()
    tracemalloc.start()
    try:
        decoder.feed(_with_crc(lengths) + bytes(1000))
        assert decoder.next_message() is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert decoder.buffered_bytes == 1012


def test_what_follows_an_error_is_not_kept() -> None:
    decoder = MessageDecoder()
    decoder.feed(bytes(12))
    with pytest.raises(EventStreamError):
        decoder.next_message()
    before = decoder.buffered_bytes
    for _ in range(100):
        decoder.feed(bytes(10_000))
    assert decoder.buffered_bytes == before


def test_what_was_taken_is_not_kept() -> None:
    wire = encode_message({}, bytes(100_000))
    decoder = MessageDecoder()
    tracemalloc.start()
    try:
        for _ in range(50):
            decoder.feed(wire[:50])
            assert decoder.next_message() is None
            decoder.feed(wire[50:] + wire[:50])
            assert decoder.next_message() is not None
            decoder.feed(wire[50:])
            assert decoder.next_message() is not None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # of ten millions
    finally:
        tracemalloc.stop()
    assert decoder.at_boundary


def test_byte_by_byte_is_no_more_than_a_look_at_each_byte() -> None:
    """A decoder that looked again at what it has would need hours for this message."""
    payload = bytes(1024 * 1024)
    decoder = MessageDecoder()
    found = None
    for byte in encode_message({"n": True}, payload):
        decoder.feed(bytes((byte,)))
        found = decoder.next_message()
    assert found is not None
    assert found.payload == payload


def test_many_messages_at_once_are_taken_one_by_one() -> None:
    """Nor may the rest be copied for each message."""
    decoder = MessageDecoder()
    decoder.feed(GOLDEN * 50_000)
    assert sum(1 for _ in decoder) == 50_000


def test_a_lying_length_is_found_in_the_prelude_already() -> None:
    decoder = MessageDecoder()
    decoder.feed((0x00FFFFFF).to_bytes(4, "big") + GOLDEN[4:12])
    with pytest.raises(ChecksumError, match="prelude"):
        decoder.next_message()


def test_an_error_stays() -> None:
    decoder = MessageDecoder()
    decoder.feed(GOLDEN[:-1] + b"\x00")
    with pytest.raises(ChecksumError) as first:
        decoder.next_message()
    decoder.feed(GOLDEN)
    with pytest.raises(ChecksumError) as second:
        decoder.next_message()
    assert second.value is first.value


@pytest.mark.parametrize(
    ("total_bytes", "headers_bytes"),
    [(15, 0), (20, 5), (16 + 131_073, 131_073), (16 + 16 * 1024 * 1024 + 1, 0), (2**32 - 1, 2**32 - 1)],
)
def test_impossible_lengths_are_refused_before_their_bytes_arrive(
    total_bytes: int, headers_bytes: int
) -> None:
    lengths = total_bytes.to_bytes(4, "big") + headers_bytes.to_bytes(4, "big")
    decoder = MessageDecoder()
    decoder.feed(lengths + crc32(lengths).to_bytes(4, "big"))
    with pytest.raises(MessageLengthError):
        decoder.next_message()


@pytest.mark.parametrize(
    "block",
    [
        "01 6e 0a",  # type 10 does not exist
        "01 6e 00 01 6e 01",  # repeated
        "00 00",  # no name
        "05 6e 00",  # the name reaches beyond
        "01 6e",  # no type
        "01 6e 04 ffff",  # half a number
        "01 6e 07 0005 6e",  # half a string
        "01 6e 07 0001 ff",  # not UTF-8
        "01 6e 09 0123",  # half a UUID
    ],
)
def test_malformed_header_blocks_are_refused(block: str) -> None:
    with pytest.raises(HeaderError):
        decode_message(frame(bytes.fromhex(block), b""))


@pytest.mark.parametrize(
    "headers",
    [
        {"": True},
        {"n" * 256: True},
        {"n": Int8(128)},
        {"n": Int64(2**63)},
        {"n": b"x" * 32_768},
        {"n": datetime.now(UTC)},
    ],
    ids=["empty", "long-name", "int8", "int64", "long-value", "no-such-type"],
)
def test_what_cannot_be_encoded_is_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(HeaderError):
        encode_message(headers, b"")


def test_limits_hold_when_writing() -> None:
    with pytest.raises(MessageLengthError, match="payload"):
        encode_message({}, bytes(eventstream.MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(MessageLengthError, match="headers"):
        encode_message({f"h{number}": b"x" * 32_767 for number in range(5)}, b"")


def test_decode_message_takes_exactly_one() -> None:
    for data in (GOLDEN[:-1], GOLDEN + b"\x00", b""):
        with pytest.raises(EventStreamError):
            decode_message(data)


def test_repr_hides_content() -> None:
    assert "words" not in repr(Message({"n": "words"}, b"words"))
