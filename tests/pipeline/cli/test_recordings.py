"""`medstream record --from-audio`, `inspect` and `replay` as far as they need no broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.recordings.errors import NotARecording, UnwritableRecording
from connectors.kafka.recordings.recording import RecordingWriter, partial_path
from connectors.kafka.records import KafkaRecord
from pipeline.cli import app
from pipeline.errors import PipelineError, SettingsError


def medstream(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, KafkaConnectorError | PipelineError):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two sessions of synthetic silence: one of two channels and 1 s, one of 0.55 s of raw audio."""
    soundfile.write(tmp_path / "stereo.wav", [[0.0, 0.0]] * 8000, 8000, subtype="PCM_16")
    (tmp_path / "raw.pcm").write_bytes(bytes(2 * 8800))
    path = tmp_path / "recording.avro"
    medstream("record", path, "--from-audio", tmp_path / "stereo.wav")
    medstream("record", path, "--overwrite", "--from-audio", tmp_path / "raw.pcm", "--sample-rate", 16000)
    return path


class TestInspect:
    def test_a_whole_recording(self, recording: Path) -> None:
        told = json.loads(medstream("inspect", recording, "--json"))
        assert (told["state"], told["records"], told["codec"]) == ("whole", 6, "zstandard")
        assert len(told["sha256"]) == 64
        [session] = told["sessions"]
        assert (session["session"], session["audio_seconds"], session["complete"]) == ("raw", 0.55, True)
        page = medstream("inspect", recording)
        assert "whole, 6 records" in page
        assert page.splitlines()[-1].split()[:2] == ["raw", "6"]

    def test_a_damaged_one_tells_what_could_be_read(self, recording: Path) -> None:
        recording.write_bytes(recording.read_bytes()[:-3])
        result = CliRunner().invoke(app, ["inspect", str(recording), "--json"])
        assert result.exit_code == 1
        assert json.loads(result.stdout)["state"] == "damaged"
        assert "is damaged at byte" in result.stderr

    def test_one_that_was_never_completed(self, tmp_path: Path) -> None:
        path = tmp_path / "file.avro"
        writer = RecordingWriter.create(path, {})
        writer.write(KafkaRecord("t", 0, 0, 1, 0, b"k", b"v"))
        writer.close()
        told = json.loads(medstream("inspect", partial_path(path), "--json", exit_code=1))
        assert (told["state"], told["records"]) == ("incomplete", 1)

    def test_export(self, recording: Path, tmp_path: Path) -> None:
        medstream("inspect", recording, "--export-audio", "raw", "--output", tmp_path / "out.flac")
        assert soundfile.info(tmp_path / "out.flac").frames == 8800
        with pytest.raises(SettingsError, match="no audio of session 'other'"):
            medstream("inspect", recording, "--export-audio", "other", "--output", tmp_path / "none.wav")

    def test_raw_chunks(self, recording: Path, tmp_path: Path) -> None:
        raw, fields = tmp_path / "raw.avro", ["--sample-rate", 16000, "--chunk-format", "raw"]
        medstream("record", raw, "--from-audio", tmp_path / "raw.pcm", *fields)
        told = json.loads(medstream("inspect", raw, "--json", "--chunk-format", "raw"))
        same = json.loads(medstream("inspect", recording, "--json"))
        assert told["sessions"][0]["audio_seconds"] == same["sessions"][0]["audio_seconds"] == 0.55
        assert json.loads(medstream("inspect", raw, "--json"))["records_that_are_no_audio"] == 6
        out = tmp_path / "raw.wav"
        medstream("inspect", raw, "--export-audio", "raw", "--output", out, "--chunk-format", "raw")
        assert soundfile.info(out).frames == 8800
        with pytest.raises(SettingsError, match=r"--headers: must be kept"):
            medstream("replay", raw, "--dry-run", "--chunk-format", "raw", "--headers", "drop")

    def test_no_recording(self, tmp_path: Path) -> None:
        with pytest.raises(NotARecording):
            medstream("inspect", tmp_path / "none")


class TestRecord:
    def test_bad_audio_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "odd.pcm").write_bytes(bytes(3))
        with pytest.raises(SettingsError, match="no whole number of samples"):
            medstream(
                "record", tmp_path / "file.avro", "--from-audio", tmp_path / "odd.pcm", "--sample-rate", 8000
            )
        assert [file.name for file in tmp_path.iterdir()] == ["odd.pcm"]

    def test_what_is_there_is_not_replaced_unasked(self, recording: Path, tmp_path: Path) -> None:
        with pytest.raises(UnwritableRecording, match="--overwrite"):
            medstream("record", recording, "--from-audio", tmp_path / "stereo.wav")

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--codec", "bzip2"),
            ("--from", "committed"),
            ("--until", "tomorrow"),
            ("--until", "9999999999999"),
        ],
    )
    def test_wrong_options_name_themselves(self, tmp_path: Path, option: str, value: str) -> None:
        arguments = ["--topic", "t", "--bootstrap-servers", "127.0.0.1:1", option, value]
        with pytest.raises(SettingsError, match=option):
            medstream("record", tmp_path / "file.avro", *arguments)


class TestReplay:
    def test_a_dry_run_says_what_and_how_long(self, recording: Path) -> None:
        arguments = [
            "--dry-run",
            "--json",
            "--speed",
            "0.5",
            "--fan-out",
            "2",
            "--fault",
            "drop=0.5",
            "--seed",
            "3",
        ]
        told = json.loads(medstream("replay", recording, *arguments))
        assert told["records"] == 12 - told["faults"]["dropped"]
        assert told == json.loads(medstream("replay", recording, *arguments))
        whole = json.loads(medstream("replay", recording, "--dry-run", "--json", "--speed", "0.5"))
        assert (whole["records"], whole["seconds"]) == (6, 0.9)

    def test_faster_than_real_time_only_here_or_on_purpose(self, recording: Path) -> None:
        arguments = [
            "replay",
            recording,
            "--topic",
            "t",
            "--insecure",
            "--bootstrap-servers",
            "192.0.2.1:9092",
        ]
        with pytest.raises(SettingsError, match="--force"):
            medstream(*arguments, "--speed", "max")

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--speed", "-1"), ("--fault", "lose=1"), ("--from", "now"), ("--timestamps", "old")],
    )
    def test_wrong_options_name_themselves(self, recording: Path, option: str, value: str) -> None:
        with pytest.raises(SettingsError, match=option):
            medstream("replay", recording, "--dry-run", option, value)
