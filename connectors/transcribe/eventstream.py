"""The event-stream encoding (`application/vnd.amazon.eventstream`): messages to bytes and back.

Layout, all integers big-endian::

    total length u32 | headers length u32 | CRC-32 of these 8 bytes | headers | payload | CRC-32 of all before

A header is ``name length u8 | name | type u8 | value``; ten types exist. Python has fewer, so the integer
widths and the timestamp get wrappers: `Int8`, `Int16`, `Int32`, `Int64`, `Timestamp`; `bool`, `bytes`,
`str` and `uuid.UUID` stand for themselves.

`encode_message` writes one message, `MessageDecoder` reads them from bytes cut anywhere. The decoder checks
the prelude as soon as it is there, so a lying length is found before the decoder waits for it, and keeps no
more than was fed to it. After an error the bytes that follow have no meaning: the decoder stays failed, drops
them and repeats the error.

Source: "Event stream encoding" in https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html.
Limits are those of AWS's clients: 128 KiB headers, 16 MiB payload, 32,767 bytes per header value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID
from zlib import crc32

from connectors.transcribe.errors import (
    ChecksumError,
    EventStreamError,
    HeaderError,
    MessageLengthError,
    ProtocolError,
)

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
MAX_HEADER_VALUE_BYTES = 32 * 1024 - 1
MAX_HEADER_NAME_BYTES = 255
PRELUDE_BYTES = 12
OVERHEAD_BYTES = 16

_PRELUDE = struct.Struct(">III")
_LENGTHS = struct.Struct(">II")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")

TYPE_TRUE, TYPE_FALSE, TYPE_INT8, TYPE_INT16, TYPE_INT32, TYPE_INT64 = range(6)
TYPE_BYTES, TYPE_STRING, TYPE_TIMESTAMP, TYPE_UUID = range(6, 10)


@dataclass(frozen=True, slots=True)
class Int8:
    """A header value of type 2."""

    value: int


@dataclass(frozen=True, slots=True)
class Int16:
    """A header value of type 3."""

    value: int


@dataclass(frozen=True, slots=True)
class Int32:
    """A header value of type 4."""

    value: int


@dataclass(frozen=True, slots=True)
class Int64:
    """A header value of type 5."""

    value: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A header value of type 8: milliseconds since the Unix epoch."""

    milliseconds: int


HeaderValue: TypeAlias = bool | Int8 | Int16 | Int32 | Int64 | bytes | str | Timestamp | UUID


@dataclass(frozen=True, slots=True)
class Message:
    """One event-stream message. The payload may be patient data and is hidden, as are the header values."""

    headers: Mapping[str, HeaderValue] = field(repr=False)
    payload: bytes = field(repr=False)


# Writing -----------------------------------------------------------------------


def encode_message(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """The message as bytes; raises `HeaderError` or `MessageLengthError` for what cannot be encoded."""
    return frame(encode_headers(headers), payload)


def frame(encoded_headers: bytes, payload: bytes) -> bytes:
    """The message around headers that are encoded already; for senders whose headers never change."""
    _check_lengths(len(encoded_headers), len(payload))
    lengths = _LENGTHS.pack(OVERHEAD_BYTES + len(encoded_headers) + len(payload), len(encoded_headers))
    head = lengths + _U32.pack(crc32(lengths)) + encoded_headers
    return b"".join((head, payload, _U32.pack(crc32(payload, crc32(head)))))


def encode_headers(headers: Mapping[str, HeaderValue]) -> bytes:
    """The header block in the mapping's order."""
    return b"".join(_encode_header(name, value) for name, value in headers.items())


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded_name = name.encode()
    if not 0 < len(encoded_name) <= MAX_HEADER_NAME_BYTES:
        raise HeaderError(
            f"a header name has {len(encoded_name)} bytes; 1 to {MAX_HEADER_NAME_BYTES} are allowed"
        )
    try:
        return bytes((len(encoded_name),)) + encoded_name + _encode_value(name, value)
    except struct.error:
        raise HeaderError(f"header {name!r}: the number does not fit {type(value).__name__}") from None


def _encode_value(name: str, value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case str():
            return _sized(TYPE_STRING, name, value.encode())
        case bytes():
            return _sized(TYPE_BYTES, name, value)
        case Timestamp(milliseconds):
            return struct.pack(">Bq", TYPE_TIMESTAMP, milliseconds)
        case UUID():
            return b"\x09" + value.bytes
        case Int8(number):
            return struct.pack(">Bb", TYPE_INT8, number)
        case Int16(number):
            return struct.pack(">Bh", TYPE_INT16, number)
        case Int32(number):
            return struct.pack(">Bi", TYPE_INT32, number)
        case Int64(number):
            return struct.pack(">Bq", TYPE_INT64, number)
    raise HeaderError(f"header {name!r}: no header type for {type(value).__name__}")


def _sized(header_type: int, name: str, value: bytes) -> bytes:
    if len(value) > MAX_HEADER_VALUE_BYTES:
        raise HeaderError(
            f"header {name!r} has {len(value)} bytes; at most {MAX_HEADER_VALUE_BYTES} are allowed"
        )
    return struct.pack(">BH", header_type, len(value)) + value


# Reading -----------------------------------------------------------------------


class MessageDecoder:
    """Bytes in, messages out: `feed` what arrived, then take `next_message` until it gives None."""

    __slots__ = ("_block", "_buffer", "_failure", "_headers", "_position")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._failure: ProtocolError | None = None
        # Most messages of a stream have the headers of the one before: the block is decoded once.
        self._block = b""
        self._headers: Mapping[str, HeaderValue] = MappingProxyType({})

    def feed(self, data: bytes) -> None:
        """Append received bytes; nothing is decoded yet."""
        if self._failure is not None:
            return
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next complete message, None when more bytes are needed; raises `EventStreamError`."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._decode()
        except EventStreamError as error:
            self._failure = error
            raise

    def receive_data(self, data: bytes) -> list[Message]:
        """`feed` and take every complete message. An error hides messages decoded before it in this call."""
        self.feed(data)
        return list(self)

    def __iter__(self) -> Iterator[Message]:
        while (message := self.next_message()) is not None:
            yield message

    @property
    def at_boundary(self) -> bool:
        """True when no part of a message is pending: a stream may only end here."""
        return self._position == len(self._buffer)

    @property
    def buffered_bytes(self) -> int:
        """Received bytes that no message was made of yet."""
        return len(self._buffer) - self._position

    def _decode(self) -> Message | None:
        buffer, start = self._buffer, self._position
        available = len(buffer) - start
        if available < PRELUDE_BYTES:
            return None
        total_bytes, headers_bytes = _check_prelude(buffer, start)
        if available < total_bytes:
            return None
        raw = bytes(memoryview(buffer)[start : start + total_bytes])
        self._position = start + total_bytes
        body_bytes = total_bytes - 4
        if crc32(memoryview(raw)[:body_bytes]) != _U32.unpack_from(raw, body_bytes)[0]:
            raise ChecksumError(f"the message CRC of an event-stream message of {total_bytes} bytes is wrong")
        headers_end = PRELUDE_BYTES + headers_bytes
        return Message(self._decode_headers(raw[PRELUDE_BYTES:headers_end]), raw[headers_end:body_bytes])

    def _decode_headers(self, block: bytes) -> Mapping[str, HeaderValue]:
        if block != self._block:
            self._headers = MappingProxyType(decode_headers(block))
            self._block = block
        return self._headers


def decode_message(data: bytes) -> Message:
    """Exactly one message from `data`; raises `EventStreamError` for less or more than one."""
    decoder = MessageDecoder()
    decoder.feed(data)
    message = decoder.next_message()
    if message is None or not decoder.at_boundary:
        raise MessageLengthError(f"{len(data)} bytes are not exactly one event-stream message")
    return message


def decode_headers(block: bytes) -> dict[str, HeaderValue]:
    """The headers of a complete header block, in order; raises `HeaderError`."""
    headers: dict[str, HeaderValue] = {}
    position, end = 0, len(block)
    try:
        while position < end:
            name_end = position + 1 + block[position]
            name = block[position + 1 : name_end].decode()
            if not name or name in headers:
                raise HeaderError(f"header name {name!r} is {'repeated' if name else 'empty'}")
            headers[name], position = _decode_value(block, name_end + 1, block[name_end])
    except (struct.error, IndexError, UnicodeDecodeError):
        raise HeaderError(f"the header block of {end} bytes is malformed near byte {position}") from None
    if position != end:
        raise HeaderError(f"the last header reaches beyond the header block of {end} bytes")
    return headers


def _decode_value(block: bytes, position: int, header_type: int) -> tuple[HeaderValue, int]:
    """The value at `position` and the position after it."""
    if header_type in (TYPE_STRING, TYPE_BYTES):
        start = position + 2
        end = start + _U16.unpack_from(block, position)[0]
        raw = block[start:end]
        return (raw.decode() if header_type == TYPE_STRING else raw), end
    if header_type in (TYPE_TRUE, TYPE_FALSE):
        return header_type == TYPE_TRUE, position
    if header_type == TYPE_UUID:
        if len(raw := block[position : position + 16]) < 16:
            raise IndexError
        return UUID(bytes=raw), position + 16
    try:
        layout, wrapper = _NUMBERS[header_type]
    except KeyError:
        raise HeaderError(f"header type {header_type} does not exist") from None
    return wrapper(layout.unpack_from(block, position)[0]), position + layout.size


_NUMBERS: dict[int, tuple[struct.Struct, type[Int8 | Int16 | Int32 | Int64 | Timestamp]]] = {
    TYPE_INT8: (struct.Struct(">b"), Int8),
    TYPE_INT16: (struct.Struct(">h"), Int16),
    TYPE_INT32: (struct.Struct(">i"), Int32),
    TYPE_INT64: (struct.Struct(">q"), Int64),
    TYPE_TIMESTAMP: (struct.Struct(">q"), Timestamp),
}


def _check_prelude(buffer: bytearray, start: int) -> tuple[int, int]:
    """Total and headers length, once checksum and limits hold."""
    total_bytes, headers_bytes, checksum = _PRELUDE.unpack_from(buffer, start)
    if crc32(buffer[start : start + 8]) != checksum:
        raise ChecksumError("the prelude CRC of an event-stream message is wrong")
    if total_bytes < OVERHEAD_BYTES + headers_bytes:
        raise MessageLengthError(
            f"a message of {total_bytes} bytes cannot hold {headers_bytes} bytes of headers"
        )
    _check_lengths(headers_bytes, total_bytes - headers_bytes - OVERHEAD_BYTES)
    return total_bytes, headers_bytes


def _check_lengths(headers_bytes: int, payload_bytes: int) -> None:
    if headers_bytes > MAX_HEADERS_BYTES:
        raise MessageLengthError(f"{headers_bytes} bytes of headers; at most {MAX_HEADERS_BYTES} are allowed")
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise MessageLengthError(
            f"a payload of {payload_bytes} bytes; at most {MAX_PAYLOAD_BYTES} are allowed"
        )
