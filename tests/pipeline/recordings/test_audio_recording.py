"""Audio files into a recording, and a session's audio out of it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord
from pipeline.audio.audio_file import DeclaredFormat
from pipeline.audio.decoding import ChunkDecoder
from pipeline.errors import SettingsError
from pipeline.recordings.audio_recording import audio_records
from pipeline.recordings.recording_report import RecordingReport
from pipeline.recordings.session_audio import export_audio
from schemas.serde import SingleObjectSerde
from tests.encoders import tone

START_MS = 1_790_000_000_000
UNDECLARED = DeclaredFormat()
PLACE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)


def wav(path: Path, samples: int, channels: int = 1, rate: int = 8000) -> Path:
    """A synthetic tone."""
    pcm = np.frombuffer(tone(440, samples * channels, rate), "<i2").reshape(-1, channels)
    soundfile.write(path, pcm, rate, subtype="PCM_16", format=path.suffix[1:].upper())
    return path


def records_of(files: list[Path], **options: float) -> list[KafkaRecord]:
    given = {"topic": "audio", "partitions": 3, "started_at_ms": START_MS, **options}
    return list(audio_records(files, UNDECLARED, **given))  # type: ignore[arg-type]


def exported(records: Iterable[KafkaRecord], session: str, path: Path) -> bytes:
    export_audio(records, session, path)
    return bytes(soundfile.read(path, dtype="int16")[0].tobytes())


@PLACE
@given(st.integers(1, 3000), st.integers(1, 2), st.sampled_from([".wav", ".flac"]))
def test_what_went_in_comes_out(tmp_path: Path, samples: int, channels: int, suffix: str) -> None:
    file = wav(tmp_path / f"visit{suffix}", samples, channels)
    out = exported(records_of([file]), "visit", tmp_path / f"out{suffix}")
    assert out == soundfile.read(file, dtype="int16")[0].tobytes()


def test_files_are_sessions_side_by_side(tmp_path: Path) -> None:
    files = [wav(tmp_path / "a.wav", 4000), wav(tmp_path / "b.flac", 8100, channels=2)]
    records = records_of(files, stagger_seconds=0.15)
    times = [record.timestamp_ms - START_MS for record in records]
    assert times == sorted(times)
    assert times[:4] == [100, 200, 250, 300]
    assert {record.key for record in records} == {b"a", b"b"}
    for partition in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    last = ChunkDecoder().decode(records[-1])
    assert (last.session_id, last.sequence, last.end_of_session, last.samples) == ("b", 10, True, 100)
    assert last.captured_at_ms == START_MS + 150 + 1000


def test_two_files_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'a'"):
        records_of([wav(tmp_path / "a.wav", 80), wav(tmp_path / "a.flac", 80)])


class TestExport:
    def test_disorder_is_put_right_and_repetition_left_out(self, tmp_path: Path) -> None:
        file = wav(tmp_path / "visit.wav", 8000)
        records = records_of([file])
        mixed = [records[0], records[2], records[1], records[1], *reversed(records[3:])]
        assert exported(mixed, "visit", tmp_path / "out.wav") == exported(
            records, "visit", tmp_path / "two.wav"
        )

    def test_a_hole_is_silence(self, tmp_path: Path) -> None:
        records = records_of([wav(tmp_path / "visit.wav", 8000)])
        out = exported([*records[:4], *records[6:]], "visit", tmp_path / "out.wav")
        assert len(out) == 16_000
        assert out[4 * 1600 : 6 * 1600] == bytes(3200)
        assert out[6 * 1600 :] == exported(records, "visit", tmp_path / "all.wav")[6 * 1600 :]

    def test_no_such_session_writes_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="medstream inspect lists them"):
            export_audio([], "visit", tmp_path / "out.wav")
        with pytest.raises(SettingsError, match=r"neither in \.wav nor in \.flac"):
            export_audio([], "visit", tmp_path / "out.mp3")
        assert list(tmp_path.iterdir()) == []


class TestReport:
    def test_a_session(self, tmp_path: Path) -> None:
        records = records_of([wav(tmp_path / "visit.wav", 8000)])
        report = RecordingReport()
        for record in [*records[:4], *records[6:], records[7]]:
            report.add(record)
        [session] = report.to_json()["sessions"]
        expected = {
            "records": 9,
            "chunks": 9,
            "missing_chunks": 2,
            "repeated_or_late_chunks": 1,
            "complete": True,
        }
        assert {name: session[name] for name in expected} == expected
        assert (session["seconds"], session["audio_seconds"], session["longest_pause_ms"]) == (0.9, 0.8, 300)

    def test_other_records_are_counted_as_such(self) -> None:
        report = RecordingReport()
        report.add(KafkaRecord("t", 1, 5, -1, -1, None, b"no chunk"))
        report.add(KafkaRecord("t", 1, 9, START_MS, 0, b"\xff", None))
        told = report.to_json()
        assert told["records_that_are_no_audio"] == 2
        assert told["partitions"] == [{"topic": "t", "partition": 1, "first_offset": 5, "last_offset": 9}]
        assert [session["session"] for session in told["sessions"]] == ["", "\\xff"]

    def test_a_session_without_its_end(self) -> None:
        chunk = {"session_id": "s", "sequence": 0, "payload": bytes(320), "sample_rate_hertz": 16000}
        report = RecordingReport()
        report.add(KafkaRecord("t", 0, 0, START_MS, 0, b"s", SingleObjectSerde("audio_chunk").encode(chunk)))
        assert report.to_json()["sessions"][0]["complete"] is False
