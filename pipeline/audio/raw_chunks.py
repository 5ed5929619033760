"""Chunks of producers that cannot write Avro: the payload is the record's value, the rest its headers. Pure.

A header has the name of its field of `AudioChunk` or of its settings (schemas/audio_chunk.avsc), and the
value as UTF-8 text: numbers in decimal, `true` or `false`, `captured_at` in microseconds since 1970 or as ISO
8601. `sequence` and `sample_rate_hertz` are needed; what else is left out has the schema's default, and the
session id is the record's key. `attributes.NAME` is an attribute. Other headers, and those without a value,
count as not there; of headers with one name the last counts.

Rejections name the header and what is expected there, never what was found: it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.kafka.records import KafkaRecord, RecordHeaders
from pipeline.elements import INVALID_CHUNK
from pipeline.errors import ChunkRejected

AVRO, RAW = "avro", "raw"
CHUNK_FORMATS = (AVRO, RAW)
ATTRIBUTE = "attributes."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_MAX_LONG, _MAX_INT = 2**63 - 1, 2**31 - 1
_ENCODINGS = ("PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW")

_Reader = Callable[[str], Any]
"""From a header's text to the field's value; raises ValueError with what is expected."""


def _text(text: str) -> str:
    return text


def _integer(largest: int) -> _Reader:
    def read(text: str) -> int:
        if _INTEGER.fullmatch(text) and abs(number := int(text)) <= largest:
            return number
        raise ValueError("an integer in decimal")

    return read


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValueError("true or false")


def _encoding(text: str) -> str:
    if text.upper() in _ENCODINGS:
        return text.upper()
    raise ValueError(f"one of {', '.join(_ENCODINGS)}")


def _moment(text: str) -> datetime:
    try:
        if _INTEGER.fullmatch(text):
            return _EPOCH + int(text) * _MICROSECOND
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("microseconds since 1970, or ISO 8601 with an offset from UTC")


FIELDS: Mapping[str, _Reader] = {
    "session_id": _text,
    "sequence": _integer(_MAX_LONG),
    "encoding": _encoding,
    "sample_rate_hertz": _integer(_MAX_INT),
    "channels": _integer(_MAX_INT),
    "captured_at": _moment,
    "media_offset_ms": _integer(_MAX_LONG),
    "end_of_session": _boolean,
}
SETTINGS: Mapping[str, _Reader] = {
    "specialty": _text,
    "type": _text,
    "language_code": _text,
    "vocabulary_name": _text,
    "show_speaker_label": _boolean,
    "enable_channel_identification": _boolean,
    "content_identification_type": _text,
}
_NEEDED = {
    "sequence": "the chunk's number within its session, from 0",
    "sample_rate_hertz": "the sample rate in hertz, 8000 to 48000",
}


def chunk_record(record: KafkaRecord) -> dict[str, Any]:
    """The record as one of the schema `audio_chunk`; without `session_id` where no header has it.

    Raises ChunkRejected (INVALID_CHUNK) for a header that is missing or cannot be read.
    """
    last = dict(record.headers)
    given = {name: value for name, value in last.items() if value or (value == b"" and _is_attribute(name))}
    for name, meaning in _NEEDED.items():
        if name not in given:
            raise ChunkRejected(INVALID_CHUNK, f"header {name} is missing: {meaning}, as text")
    attributes = {
        name.removeprefix(ATTRIBUTE): _read(name, value, _text)
        for name, value in given.items()
        if _is_attribute(name)
    }
    return {
        **_read_all(FIELDS, given),
        "payload": record.value or b"",
        "settings": _read_all(SETTINGS, given) or None,
        "attributes": attributes,
    }


def _is_attribute(name: str) -> bool:
    return name.startswith(ATTRIBUTE)


def _read_all(readers: Mapping[str, _Reader], given: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: _read(name, given[name], reader) for name, reader in readers.items() if name in given}


def _read(name: str, value: bytes, reader: _Reader) -> Any:
    try:
        return reader(value.decode("utf-8").strip())
    except UnicodeDecodeError:
        raise ChunkRejected(INVALID_CHUNK, f"header {name} is not text in UTF-8") from None
    except ValueError as expected:
        raise ChunkRejected(INVALID_CHUNK, f"header {name} is not {expected}") from None


def raw_value(chunk: Mapping[str, Any]) -> tuple[bytes, RecordHeaders]:
    """Value and headers of a record of the schema `audio_chunk`: the way back.

    `captured_at` is a moment, or microseconds since 1970.
    """
    fields = {name: chunk.get(name) for name in FIELDS} | dict(chunk.get("settings") or {})
    fields |= {f"{ATTRIBUTE}{name}": text for name, text in (chunk.get("attributes") or {}).items()}
    headers = [(name, _written(value)) for name, value in fields.items() if value is not None]
    return chunk["payload"], tuple(headers)


def _written(value: object) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, datetime):
        value = (value - _EPOCH) // _MICROSECOND
    return str(value).encode()


def renamed(record: KafkaRecord, session_id: str) -> KafkaRecord:
    """The record as one of another session: its key, and its header `session_id` where it has one."""
    name = session_id.encode()
    headers = tuple((header, name if header == "session_id" else value) for header, value in record.headers)
    return record._replace(key=name, headers=headers)
