"""The container of Ogg Opus chunks (RFC 3533, RFC 7845): is the payload one whole stream, and at which rate
is it to be decoded?

libsndfile decodes Opus, but it passes over pages that are missing or damaged, and over a stream that breaks
off, without a word; and it picks the rate of its output by a field of the stream's head. Both are settled
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from pipeline.elements import INVALID_CHUNK, UNDECODABLE_AUDIO
from pipeline.errors import ChunkRejected

_MARK = b"OggS"
_HEADER_BYTES = 27  # then one byte for the size of each segment, then the segments
_FIRST, _LAST = 0x02, 0x04  # header type flags
_CHECKSUM = slice(22, 26)

_HEAD_MARK = b"OpusHead"
_HEAD_AT = _HEADER_BYTES + 1  # the head is alone on the first page, in one segment
_HEAD_BYTES = 19
_INPUT_RATE = slice(_HEAD_AT + 12, _HEAD_AT + 16)  # what the encoder was fed; binds no decoder


@dataclass(frozen=True, slots=True)
class _Page:
    data: bytes
    begins: bool
    ends: bool
    serial: bytes
    number: int


def begins(payload: bytes) -> bool:
    """Whether an Ogg stream begins here; a continuation has no such page."""
    return payload.startswith(_MARK) and len(payload) > _HEADER_BYTES and bool(payload[5] & _FIRST)


def prepared(payload: bytes, rate: int) -> bytes:
    """The whole stream `payload` as if `rate` hertz had been its encoder's input.

    Raises ChunkRejected when the payload is not exactly one Ogg Opus stream, undamaged, from its first page
    to its last.
    """
    if not payload.startswith(_HEAD_MARK, _HEAD_AT) or len(payload) < _HEAD_AT + _HEAD_BYTES:
        raise ChunkRejected(INVALID_CHUNK, "the payload is an Ogg stream, but not of Opus; encode it as Opus")
    first, *others = _pages(payload)
    if not others or not others[-1].ends:
        raise _broken("its last page is missing")
    for number, page in enumerate(others, first.number + 1):
        if page.number != number or page.serial != first.serial or page.begins:
            raise _broken("a page is missing, or of another stream")
    return _with_input_rate(first.data, rate) + payload[len(first.data) :]


def _pages(payload: bytes) -> Iterator[_Page]:
    at = 0
    while at < len(payload):
        header = payload[at : at + _HEADER_BYTES]
        if not header.startswith(_MARK) or len(header) < _HEADER_BYTES:
            raise _broken("something else follows a page")
        size = _HEADER_BYTES + header[26] + sum(payload[at + _HEADER_BYTES : at + _HEADER_BYTES + header[26]])
        data = payload[at : at + size]
        if len(data) < size or _checksum(data) != data[_CHECKSUM]:
            raise _broken("a page is cut or damaged")
        number = int.from_bytes(header[18:22], "little")
        yield _Page(data, bool(header[5] & _FIRST), bool(header[5] & _LAST), header[14:18], number)
        at += size


def _broken(how: str) -> ChunkRejected:
    return ChunkRejected(UNDECODABLE_AUDIO, f"the payload is not one whole Ogg Opus stream: {how}")


def _with_input_rate(page: bytes, rate: int) -> bytes:
    changed = bytearray(page)
    changed[_INPUT_RATE] = rate.to_bytes(4, "little")
    changed[_CHECKSUM] = _checksum(changed)
    return bytes(changed)


_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _checksum(page: bytes | bytearray) -> bytes:
    """Ogg's CRC-32 as a page stores it: zlib's polynomial with the bits of every byte the other way round,
    and without zlib's complements at start and end.
    """
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    register = crc32(blank.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return register.to_bytes(4, "big").translate(_REVERSED_BITS)
