"""What is in a recording, and the example's."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kafka.recordings.recording import RecordingReader, RecordingWriter
from connectors.kafka.records import KafkaRecord
from deploy.local.recordings import load_recordings
from deploy.local.testing.example import EXPECTED, NAMES, make_recording
from deploy.local.testing.expected import read_expected
from deploy.local.testing.recorded import read_recorded
from pipeline.errors import SettingsError
from schemas.serde import SingleObjectSerde
from schemas.serdes import SerdeSettings


def chunk(session: str, sequence: int, partition: int, *, last: bool = False) -> KafkaRecord:
    value = {
        "session_id": session,
        "sequence": sequence,
        "payload": bytes(3200),
        "sample_rate_hertz": 16_000,
        "end_of_session": last,
    }
    encoded = SingleObjectSerde("audio_chunk").encode(value)
    return KafkaRecord("audio", partition, sequence, 1_790_000_000_000, 0, session.encode(), encoded)


def recording(path: Path, *records: KafkaRecord) -> Path:
    writer = RecordingWriter.create(path, {"topic": "audio"})
    for record in records:
        writer.write(record)
    writer.finish()
    return path


def test_sessions_are_those_that_have_audio(tmp_path: Path) -> None:
    junk = KafkaRecord("audio", 4, 0, 1_790_000_000_000, 0, b"junk", b"no chunk")
    path = recording(
        tmp_path / "some.avro", chunk("a", 0, 0), chunk("b", 0, 2, last=True), chunk("a", 1, 0), junk
    )
    found = read_recorded(path, SerdeSettings())
    assert (found.records, found.sessions, found.unended) == (4, ("a", "b"), ("a",))
    assert (found.partitions, found.longest_seconds) == (5, pytest.approx(0.2))


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no records"):
        read_recorded(recording(tmp_path / "empty.avro"), SerdeSettings())


def test_the_example_is_the_same_each_time_and_its_expected_finals_are_its_sessions(tmp_path: Path) -> None:
    contents = []
    for name in ("one.avro", "two.avro"):
        make_recording(tmp_path / name)
        with RecordingReader(tmp_path / name) as reader:
            contents.append(list(reader))
    assert contents[0] == contents[1]
    found = read_recorded(tmp_path / "one.avro", SerdeSettings())
    assert sorted(found.sessions) == sorted(NAMES)
    assert not found.unended
    expected = read_expected(EXPECTED.read_text(encoding="utf-8"))
    assert sorted(expected) == sorted(NAMES)
    lengths = {one.name: one.duration_seconds for one in load_recordings()}
    for name, session in expected.items():
        assert session.segments
        assert 0 < (session.segments[-1].end_time or 0) <= lengths[name]
