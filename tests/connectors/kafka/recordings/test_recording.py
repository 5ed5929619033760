"""Recordings on disk: what is written is read again, whatever happens to the file in between."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.kafka.recordings.container import BLOCK_BYTES, CODECS, DEFLATE, ZSTANDARD
from connectors.kafka.recordings.errors import DamagedRecording, NotARecording, UnwritableRecording
from connectors.kafka.recordings.recording import RecordingReader, RecordingWriter, partial_path
from connectors.kafka.records import KafkaRecord

_OPTIONAL_BYTES = st.none() | st.binary(max_size=40)
RECORDS = st.builds(
    KafkaRecord,
    st.text(min_size=1, max_size=8),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(-1, 2**62),
    st.sampled_from([0, 1, -1]),
    _OPTIONAL_BYTES,
    _OPTIONAL_BYTES,
    st.lists(st.tuples(st.text(max_size=6), _OPTIONAL_BYTES), max_size=3).map(tuple),
)
PLACE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)


def record(offset: int, size: int = 100, partition: int = 0) -> KafkaRecord:
    value = random.Random(offset).randbytes(size)  # noqa: S311  # anything that does not compress
    return KafkaRecord("audio", partition, offset, 1000 + offset, 0, b"session", value, (("h", None),))


def write(path: Path, records: Iterable[KafkaRecord], codec: str = ZSTANDARD, **options: Any) -> Path:
    writer = RecordingWriter.create(path, {"topic": "audio"}, codec, **options)
    for one in records:
        writer.write(one)
    writer.finish()
    return path


def read(path: Path) -> list[KafkaRecord]:
    with RecordingReader(path) as reader:
        return list(reader)


def read_damaged(path: Path) -> tuple[list[KafkaRecord], DamagedRecording]:
    found: list[KafkaRecord] = []
    with RecordingReader(path) as reader:
        try:
            for one in reader:
                found.append(one)
        except DamagedRecording as error:
            return found, error
    raise AssertionError("no damage was found")


class TestRoundTrip:
    @PLACE
    @given(st.lists(RECORDS, max_size=20), st.sampled_from(CODECS))
    def test_what_was_written_is_read(self, tmp_path: Path, records: list[KafkaRecord], codec: str) -> None:
        path = write(tmp_path / "file.avro", records, codec, overwrite=True)
        assert read(path) == records

    def test_fastavro_reads_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "file.avro", map(record, range(50)), DEFLATE)
        with path.open("rb") as file:
            found = list(fastavro.reader(file))
        assert [one["offset"] for one in found] == list(range(50))
        assert found[0]["timestamp_type"] == "CREATE_TIME"

    def test_the_header_counts_and_tells_the_range(self, tmp_path: Path) -> None:
        with RecordingReader(write(tmp_path / "file.avro", map(record, range(5)))) as reader:
            assert (reader.header.records, reader.range) == (5, {"topic": "audio"})
            assert reader.header.checksum is not None

    def test_a_record_larger_than_a_block(self, tmp_path: Path) -> None:
        big = record(1, 3 * BLOCK_BYTES)
        assert read(write(tmp_path / "file.avro", [record(0), big, record(2)])) == [record(0), big, record(2)]


@pytest.fixture(scope="module", params=CODECS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of several blocks."""
    return write(
        tmp_path_factory.mktemp("whole") / "file.avro", [record(n, 4000) for n in range(200)], request.param
    )


class TestDamage:
    @PLACE
    @given(st.data())
    def test_a_cut_file_gives_a_prefix_and_one_error(
        self, whole: Path, tmp_path: Path, data: st.DataObject
    ) -> None:
        content = whole.read_bytes()
        start = RecordingReader(whole).position_bytes
        cut = tmp_path / "cut.avro"
        cut.write_bytes(content[: data.draw(st.integers(start, len(content) - 1))])
        found, error = read_damaged(cut)
        assert found == read(whole)[: len(found)]
        assert error.records == len(found)

    @PLACE
    @given(st.data())
    def test_a_changed_byte_is_found(self, whole: Path, tmp_path: Path, data: st.DataObject) -> None:
        content = bytearray(whole.read_bytes())
        with RecordingReader(whole) as reader:
            start, codec = reader.position_bytes, reader.header.codec
        place = data.draw(st.integers(start, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        bad = tmp_path / "bad.avro"
        bad.write_bytes(content)
        found, error = read_damaged(bad)
        if codec == ZSTANDARD:  # whose blocks have a checksum of their own
            assert found == read(whole)[: len(found)]
            assert error.position_bytes <= place

    @PLACE
    @given(st.data())
    def test_a_changed_header_is_never_taken_for_whole(
        self, whole: Path, tmp_path: Path, data: st.DataObject
    ) -> None:
        content = bytearray(whole.read_bytes())
        place = data.draw(st.integers(0, RecordingReader(whole).position_bytes - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        bad = tmp_path / "bad.avro"
        bad.write_bytes(content)
        try:
            reader = RecordingReader(bad)
        except NotARecording:
            return
        with reader:
            whole_again = reader.header.checksum is not None
            try:
                list(reader)
            except DamagedRecording:
                return
        assert not whole_again

    def test_what_is_before_the_damage_is_all_there(self, tmp_path: Path) -> None:
        records = [record(n, 4000) for n in range(200)]
        path = write(tmp_path / "file.avro", records)
        path.write_bytes(path.read_bytes()[:-1])
        found, error = read_damaged(path)
        assert len(found) > 100
        assert str(path) in str(error)
        assert f"after {len(found)} records" in str(error)

    def test_no_recording_at_all(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.write_bytes(b"RIFF....WAVE")
        with pytest.raises(NotARecording, match="medstream record"):
            RecordingReader(other)
        with pytest.raises(NotARecording, match="cannot be opened"):
            RecordingReader(tmp_path / "none")

    def test_a_container_of_other_records(self, tmp_path: Path) -> None:
        other = tmp_path / "other.avro"
        with other.open("wb") as file:
            fastavro.writer(file, {"type": "record", "name": "Other", "fields": []}, [{}])
        with pytest.raises(NotARecording, match="not RecordedRecord"):
            RecordingReader(other)


class TestAtomicAndResumed:
    def test_nothing_has_the_name_before_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "file.avro"
        writer = RecordingWriter.create(path, {})
        writer.write(record(0))
        assert not path.exists()
        writer.finish()
        assert [file.name for file in tmp_path.iterdir()] == ["file.avro"]
        assert path.stat().st_mode & 0o077 == 0

    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        path = write(tmp_path / "file.avro", [record(0)])
        with pytest.raises(UnwritableRecording, match="--overwrite"):
            RecordingWriter.create(path, {})
        assert read(path) == [record(0)]

    def test_two_writers_of_one_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file.avro"
        writer = RecordingWriter.create(path, {})
        with pytest.raises(UnwritableRecording, match="another process"):
            RecordingWriter.resume(path)
        writer.close()
        with pytest.raises(UnwritableRecording, match="--resume"):
            RecordingWriter.create(path, {})

    @PLACE
    @given(st.data())
    def test_resumed_after_any_cut(self, tmp_path: Path, data: st.DataObject) -> None:
        path = tmp_path / "file.avro"
        records = [record(n, 4000, partition=n % 2) for n in range(200)]
        writer = RecordingWriter.create(path, {"topic": "audio"}, overwrite=True)
        start = len(writer.header.to_bytes())
        for one in records[:150]:
            writer.write(one)
        writer.close()
        partial = partial_path(path)
        partial.write_bytes(partial.read_bytes()[: data.draw(st.integers(start, partial.stat().st_size))])
        writer, told = RecordingWriter.resume(path)
        assert told == {"topic": "audio"}
        for one in records:
            if one.offset >= writer.next_offsets.get((one.topic, one.partition), 0):
                writer.write(one)
        writer.finish()
        assert read(path) == records

    def test_what_was_cut_within_a_block_leaves_nothing_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "file.avro"
        writer = RecordingWriter.create(path, {})
        for number in range(200):
            writer.write(record(number, 4000))
        writer.close()
        partial = partial_path(path)
        partial.write_bytes(partial.read_bytes()[:-1])
        writer, _ = RecordingWriter.resume(path)
        writer.finish()
        assert read(path) == [record(number, 4000) for number in range(writer.records)]
        assert 100 < writer.records < 200

    def test_nothing_to_resume(self, tmp_path: Path) -> None:
        with pytest.raises(UnwritableRecording, match="leave out --resume"):
            RecordingWriter.resume(tmp_path / "file.avro")
