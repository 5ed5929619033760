"""Avro's Java implementation and ours: records both ways, and the fingerprints on the wire."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastavro import json_reader, parse_schema

import schemas
from connectors.kafka.recordings.recording import RecordingWriter
from connectors.kafka.records import KafkaRecord
from deploy.local.jars import ensure_jars
from deploy.local.java import java_executable
from schemas.serde import SingleObjectSerde, schema_fingerprint
from tests.schemas.avro_strategies import witnesses

LOCK = Path(__file__).with_name("avro-tools-1.12.1.lock")
NAMES = ("audio_chunk", "final_transcript")


@pytest.fixture(scope="module")
def jar() -> Path:
    return ensure_jars(LOCK)[0]


def avro_tools(jar: Path, *arguments: str | Path) -> bytes:
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command = [java_executable(), *options, "-jar", jar, *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout


def most(name: str) -> dict[str, Any]:
    """A record of the schema with as much in it as one record can have."""
    record: dict[str, Any] = witnesses(schemas.load(name))[-1]
    return record


@pytest.mark.parametrize("name", NAMES)
def test_java_reads_our_records_and_we_read_java_s(jar: Path, tmp_path: Path, name: str) -> None:
    serde = SingleObjectSerde(name)
    value = serde.encode(most(name))
    body, text, again = tmp_path / "body.avro", tmp_path / "record.json", tmp_path / "again.avro"
    body.write_bytes(value[10:])
    told = json.loads(avro_tools(jar, "fragtojson", "--schema-file", schemas.path(name), body))
    text.write_text(json.dumps(told))
    with text.open() as lines:
        assert list(json_reader(lines, parse_schema(schemas.load(name)))) == [serde.decode(value)]
    again.write_bytes(avro_tools(jar, "jsontofrag", "--schema-file", schemas.path(name), text))
    assert serde.decode(value[:10] + again.read_bytes()) == serde.decode(value)


def test_java_gives_every_schema_our_fingerprint(jar: Path) -> None:
    files = [schemas.path(name) for name in schemas.names()]
    told = avro_tools(jar, "fingerprint", "--fingerprint", "CRC-64-AVRO", *files).decode().split()
    assert told[::2] == [schema_fingerprint(schemas.load(name)).hex() for name in schemas.names()]


def test_java_reads_our_recordings(jar: Path, tmp_path: Path) -> None:
    path = tmp_path / "recording.avro"
    writer = RecordingWriter.create(path, {"topic": "audio"})
    for offset in range(3):
        writer.write(KafkaRecord("audio", 1, offset, 5, 0, b"s", None, (("h", None), ("i", b"1"))))
    writer.finish()
    told = [json.loads(line) for line in avro_tools(jar, "tojson", path).splitlines()]
    assert [(one["partition"], one["offset"], one["key"], one["value"]) for one in told] == [
        (1, offset, {"bytes": "s"}, None) for offset in range(3)
    ]
    assert told[0]["headers"] == [{"key": "h", "value": None}, {"key": "i", "value": {"bytes": "1"}}]
