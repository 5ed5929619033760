"""The Avro object container file of recorded records, as bytes: header, blocks, checksum. Pure.

    header   "Obj" 01 | metadata: map of bytes | sync marker (16 bytes)
    block    records: long | bytes: long | the compressed records | sync marker
    https://avro.apache.org/docs/1.12.0/specification/#object-container-files

Any Avro library reads it. Three entries of the metadata are ours: `medstream.records` and `medstream.sha256`
are written when the file is complete and have a fixed length, so that the header keeps its own. The checksum
is SHA-256 of all blocks and then of the header with zeros in the checksum's place. `medstream.range` says,
as JSON, what was to be recorded.

A block of the codec zstandard carries its own checksum (that of the Zstandard frame), so damage is found
before any record of the block is given out. Deflate has none: there damage may be found only by what no
longer fits, at the latest by the checksum at the end of the file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

import zstandard
from fastavro import parse_schema, schemaless_reader, schemaless_writer

import schemas
from connectors.kafka.records import CREATE_TIME, LOG_APPEND_TIME, NO_TIMESTAMP, KafkaRecord
from schemas.codec import schema_fingerprint

ZSTANDARD, DEFLATE, UNCOMPRESSED = "zstandard", "deflate", "null"
CODECS = (ZSTANDARD, DEFLATE)
RECORDS_ENTRY, CHECKSUM_ENTRY, RANGE_ENTRY = "medstream.records", "medstream.sha256", "medstream.range"

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
BLOCK_BYTES = 256 * 1024
"""A block is closed when its records have so many bytes before compression."""
MAX_BLOCK_BYTES = 256 * 1024 * 1024
"""A larger block is taken for damage; Kafka's own limit of a record is far below."""
_COUNT_DIGITS, _CHECKSUM_DIGITS = 20, 64
_MAX_VARINT_BYTES = 10
_ZSTANDARD_LEVEL, _DEFLATE_LEVEL = 3, 6

_SCHEMA: Any = parse_schema(schemas.load("recorded_record"))
_FINGERPRINT = schema_fingerprint(schemas.load("recorded_record"))
_HEADER: Any = parse_schema(
    {
        "type": "record",
        "name": "org.apache.avro.file.Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": len(MAGIC)}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": SYNC_BYTES}},
        ],
    }
)
_TIMESTAMP_TYPES = {
    CREATE_TIME: "CREATE_TIME",
    LOG_APPEND_TIME: "LOG_APPEND_TIME",
    NO_TIMESTAMP: "NO_TIMESTAMP",
}
_TIMESTAMP_NUMBERS = {name: number for number, name in _TIMESTAMP_TYPES.items()}


class Damage(ValueError):
    """Bytes that are no container; the message says what is wrong, without any of them."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a container says of itself."""

    metadata: Mapping[str, bytes] = field(repr=False)
    sync: bytes

    @property
    def codec(self) -> str:
        return self.metadata.get("avro.codec", b"null").decode("ascii", "replace")

    @property
    def records(self) -> int | None:
        """Number of records of a complete recording; None while it is not complete, or of another maker."""
        digits = self.metadata.get(RECORDS_ENTRY, b"")
        return int(digits) if digits.isdigit() else None

    @property
    def checksum(self) -> str | None:
        """SHA-256 in hexadecimal; None while the recording is not complete, or of another maker."""
        text = self.metadata.get(CHECKSUM_ENTRY, b"").decode("ascii", "replace")
        return text if text.strip("0-") else None

    @property
    def is_ours(self) -> bool:
        """Whether medstream wrote it, so that without a checksum it is not complete."""
        return CHECKSUM_ENTRY in self.metadata

    def completed(self, records: int, checksum: str) -> Header:
        """The header of the same length with these entries."""
        entries = {
            RECORDS_ENTRY: f"{records:0{_COUNT_DIGITS}}".encode(),
            CHECKSUM_ENTRY: checksum.rjust(_CHECKSUM_DIGITS, "0").encode(),
        }
        return Header({**self.metadata, **entries}, self.sync)

    def to_bytes(self) -> bytes:
        out = BytesIO()
        schemaless_writer(out, _HEADER, {"magic": MAGIC, "meta": dict(self.metadata), "sync": self.sync})
        return out.getvalue()


def new_header(codec: str, sync: bytes, range_json: bytes) -> Header:
    """The header of a recording that is begun; `sync` are 16 random bytes."""
    metadata = {
        "avro.schema": _schema_json(),
        "avro.codec": codec.encode(),
        RANGE_ENTRY: range_json,
        RECORDS_ENTRY: b"-" * _COUNT_DIGITS,
        CHECKSUM_ENTRY: b"-" * _CHECKSUM_DIGITS,
    }
    return Header(metadata, sync)


def _schema_json() -> bytes:
    return json.dumps(schemas.load("recorded_record"), separators=(",", ":")).encode()


def read_header(file: BinaryIO) -> Header:
    """The header at the start of `file`; raises Damage."""
    try:
        found: Any = schemaless_reader(file, _HEADER, None)
    except Exception as error:  # whatever broken bytes provoke
        raise Damage(f"it has no header of an Avro container ({type(error).__name__})") from None
    if found["magic"] != MAGIC:
        raise Damage("it does not begin as an Avro container does")
    return Header(found["meta"], found["sync"])


def compress(codec: str, records: bytes) -> bytes:
    """The records of a block, compressed."""
    if codec == ZSTANDARD:
        return zstandard.ZstdCompressor(level=_ZSTANDARD_LEVEL, write_checksum=True).compress(records)
    if codec == DEFLATE:
        return zlib.compress(records, _DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)
    return records


def decompress(codec: str, data: bytes) -> bytes:
    """The records of a block; raises Damage."""
    try:
        if codec == ZSTANDARD:
            return _bounded(zstandard.ZstdDecompressor().stream_reader(data).read(_limit_of(data)))
        if codec == DEFLATE:
            return _bounded(zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data, MAX_BLOCK_BYTES + 1))
    except (zstandard.ZstdError, zlib.error):
        raise Damage(f"a block cannot be decompressed ({codec})") from None
    return data


def _limit_of(data: bytes) -> int:
    size = zstandard.get_frame_parameters(data).content_size
    known = size != zstandard.CONTENTSIZE_UNKNOWN
    if known and size > MAX_BLOCK_BYTES:
        raise Damage("a block is too large")
    return (size if known else MAX_BLOCK_BYTES) + 1


def _bounded(records: bytes) -> bytes:
    if len(records) > MAX_BLOCK_BYTES:
        raise Damage("a block is too large")
    return records


class BlockBuilder:
    """Collects records; `take` makes a block of them."""

    def __init__(self, header: Header) -> None:
        self._codec = header.codec
        self._sync = header.sync
        self._records = BytesIO()
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self._records.tell() >= BLOCK_BYTES

    def add(self, record: KafkaRecord) -> None:
        schemaless_writer(self._records, _SCHEMA, to_avro(record))
        self.count += 1

    def take(self) -> bytes:
        """The block, empty bytes when there is no record in it."""
        if not self.count:
            return b""
        data = compress(self._codec, self._records.getvalue())
        block = _long(self.count) + _long(len(data)) + data + self._sync
        self._records, self.count = BytesIO(), 0
        return block


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it is in the file, with what is in it."""

    raw: bytes = field(repr=False)
    count: int
    data: bytes = field(repr=False)


class BlockReader:
    """Reads the blocks that follow a header, and the records in them."""

    def __init__(self, header: Header) -> None:
        """Raises Damage for a schema or a codec that cannot be read."""
        self._codec = header.codec
        self._sync = header.sync
        if self._codec not in (*CODECS, UNCOMPRESSED):
            raise Damage(f"its codec is {self._codec}; {', '.join(CODECS)} can be read")
        self._writer, self._reader = _resolution(header)
        self._writers = parse_schema({"type": "array", "items": self._writer})
        self._readers = (
            None if self._reader is None else parse_schema({"type": "array", "items": self._reader})
        )

    def next_block(self, file: BinaryIO) -> Block | None:
        """The block that begins at the file's position, None at the end; raises Damage."""
        first = file.read(1)
        if not first:
            return None
        count, count_bytes = _read_long(file, first)
        size, size_bytes = _read_long(file, file.read(1))
        if count < 0 or not 0 <= size <= MAX_BLOCK_BYTES:
            raise Damage("a block has an impossible length")
        data, sync = file.read(size), file.read(SYNC_BYTES)
        if len(data) < size or len(sync) < SYNC_BYTES:
            raise Damage("it ends within a block")
        if sync != self._sync:
            raise Damage("a block does not end where it should")
        return Block(count_bytes + size_bytes + data + sync, count, data)

    def records(self, block: Block) -> Iterator[KafkaRecord]:
        """Its records; raises Damage at the first that cannot be one."""
        content = decompress(self._codec, block.data)
        try:
            # All at once, as an array of one block: a third of what a call for each record costs.
            body = BytesIO(_long(block.count) + content + b"\0" if block.count else b"\0")
            found: Any = schemaless_reader(body, self._writers, self._readers)
            whole = body.tell() == len(body.getbuffer())
            records = [from_avro(fields) for fields in found] if whole else None
        except Exception:
            records = None
        if records is None:
            yield from self._one_by_one(block, content)
        else:
            yield from records

    def _one_by_one(self, block: Block, content: bytes) -> Iterator[KafkaRecord]:
        """The records before the one that is none."""
        body = BytesIO(content)
        for _ in range(block.count):
            try:
                record = from_avro(schemaless_reader(body, self._writer, self._reader))
            except Exception as error:
                raise Damage(f"a record does not follow the schema ({type(error).__name__})") from None
            yield record
        raise Damage("a block holds more than its records")


def _resolution(header: Header) -> tuple[Any, Any]:
    """The schema that wrote the records, and ours if it is another one."""
    try:
        schema = json.loads(header.metadata["avro.schema"])
        if not isinstance(schema, dict) or schema.get("name", "").rpartition(".")[2] != "RecordedRecord":
            raise Damage("its records are others, not RecordedRecord")
        if schema_fingerprint(schema) == _FINGERPRINT:
            return _SCHEMA, None
        return parse_schema(schema), _SCHEMA
    except Damage:
        raise
    except Exception as error:
        raise Damage(f"its schema cannot be used ({type(error).__name__})") from None


def to_avro(record: KafkaRecord) -> dict[str, Any]:
    """The record in the form of the schema `recorded_record`."""
    return {
        "key": record.key,
        "value": record.value,
        "headers": [{"key": name, "value": value} for name, value in record.headers],
        "timestamp_ms": record.timestamp_ms,
        "timestamp_type": _TIMESTAMP_TYPES.get(record.timestamp_type, "UNKNOWN"),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def from_avro(fields: Any) -> KafkaRecord:
    """The record that `to_avro` took apart; an unknown type of timestamp becomes NO_TIMESTAMP."""
    return KafkaRecord(
        fields["topic"],
        fields["partition"],
        fields["offset"],
        fields["timestamp_ms"],
        _TIMESTAMP_NUMBERS.get(fields["timestamp_type"], NO_TIMESTAMP),
        fields["key"],
        fields["value"],
        tuple([(header["key"], header["value"]) for header in fields["headers"]])
        if fields["headers"]
        else (),
    )


def _long(number: int) -> bytes:
    """Avro's long of a number that is not negative."""
    rest, out = number << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_long(file: BinaryIO, first: bytes) -> tuple[int, bytes]:
    """The number that begins with the byte `first`, and all its bytes."""
    found = first
    while found and found[-1] & 0x80 and len(found) < _MAX_VARINT_BYTES:
        more = file.read(1)
        if not more:
            break
        found += more
    if not found or found[-1] & 0x80:
        raise Damage("it ends within a block")
    number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(found))
    return (number >> 1) ^ -(number & 1), found
