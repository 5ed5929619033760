"""Chunks from records, settings over defaults, and no patient data in any `repr`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.model import MedicalAlternative, MedicalEntity, MedicalItem, MedicalResult
from pipeline import elements
from pipeline.elements import (
    INVALID_CHUNK,
    AudioChunk,
    AudioFormat,
    DeadLetter,
    FinalTranscript,
    Gap,
    LogEntry,
    PartialTranscript,
    SessionSettings,
    SessionSummary,
    SourceRange,
)
from pipeline.engine import answers, commands
from pipeline.errors import ChunkRejected
from pipeline.worker import live_outputs, live_session, live_stream, session_log
from tests.pipeline.builders import SECRET_AUDIO, SECRET_TEXT, chunk_record, kafka_record

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def from_record(record: dict[str, Any]) -> AudioChunk:
    return AudioChunk.from_record(record, lambda payload, _encoding, _audio: payload)


def test_a_record_becomes_a_chunk_with_its_defaults() -> None:
    chunk = from_record(chunk_record(7))
    assert chunk == AudioChunk("session-1", 7, bytes(1600), AudioFormat(8000, 1))
    assert chunk.samples == 800
    assert not chunk.end_of_session


def test_stereo_samples_are_counted_per_channel() -> None:
    chunk = from_record(chunk_record(channels=2))
    assert chunk.samples == 400
    assert chunk.format.seconds(chunk.samples) == pytest.approx(0.05)


@given(st.integers(0, 4_102_444_800_000))
def test_captured_at_keeps_its_millisecond(milliseconds: int) -> None:
    captured_at = EPOCH + dt.timedelta(milliseconds=milliseconds)
    assert from_record(chunk_record(captured_at=captured_at)).captured_at_ms == milliseconds


def test_the_payload_is_decoded_by_the_record_s_encoding_to_its_declared_format() -> None:
    asked: list[tuple[bytes, str, AudioFormat]] = []

    def decode(payload: bytes, encoding: str, audio: AudioFormat) -> bytes:
        asked.append((payload, encoding, audio))
        return b"\1\0" * 10

    record = chunk_record(encoding="FLAC", payload=b"abc", channels=2)
    assert AudioChunk.from_record(record, decode).samples == 5
    assert asked == [(b"abc", "FLAC", AudioFormat(8000, 2))]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sample_rate_hertz": 7999}, "7999"),
        ({"sample_rate_hertz": 48_001}, "48001"),
        ({"sample_rate_hertz": -1}, "-1"),
        ({"channels": 0}, "channels 0"),
        ({"channels": 3}, "channels 3"),
        ({"sequence": -1}, "sequence -1"),
        ({"payload": b"\x00" * 3}, "3 bytes"),
        ({"payload": b"\x00" * 6, "channels": 2}, "4-byte"),
        ({"payload": b""}, "end_of_session"),
    ],
)
def test_a_record_that_cannot_be_audio_is_rejected_with_the_value_at_fault(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ChunkRejected, match=named) as rejected:
        from_record(chunk_record() | changes)
    assert rejected.value.error_class == INVALID_CHUNK
    assert not rejected.value.retryable


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_the_range_of_sample_rates_includes_its_ends(rate: int) -> None:
    assert from_record(chunk_record(sample_rate_hertz=rate)).format.sample_rate_hertz == rate


def test_an_end_marker_needs_no_audio() -> None:
    chunk = from_record(chunk_record(payload=b"", end_of_session=True))
    assert chunk.end_of_session
    assert chunk.samples == 0


# Settings


def test_a_session_s_settings_win_over_the_job_s_and_unset_ones_do_not() -> None:
    defaults = SessionSettings(specialty="CARDIOLOGY", type="DICTATION")
    chosen = defaults.overridden({"type": "CONVERSATION", "specialty": None, "show_speaker_label": True})
    assert chosen == SessionSettings(specialty="CARDIOLOGY", type="CONVERSATION", show_speaker_label=True)


def test_without_settings_the_defaults_stand() -> None:
    assert SessionSettings().overridden(None) == SessionSettings()


def test_a_false_flag_of_a_session_overrides_a_true_default() -> None:
    assert (
        not SessionSettings(show_speaker_label=True)
        .overridden({"show_speaker_label": False})
        .show_speaker_label
    )


# Identity


def test_a_final_is_identified_by_its_session_and_index() -> None:
    assert a_final().id == "session-1/4"


# Patient data


def a_result() -> MedicalResult:
    item = MedicalItem(start_time=0.0, end_time=1.0, type="pronunciation", content=SECRET_TEXT)
    entity = MedicalEntity(start_time=0.0, end_time=1.0, category="PHI", content=SECRET_TEXT)
    return MedicalResult("r1", 0.0, 1.0, False, (MedicalAlternative(SECRET_TEXT, (item,), (entity,)),))


def a_chunk() -> AudioChunk:
    return AudioChunk("session-1", 0, SECRET_AUDIO, AudioFormat(8000), attributes={"name": SECRET_TEXT})


SOURCE = SourceRange("audio", 0, 3, 9)
REJECTION = ChunkRejected("INVALID_CHUNK", "synthetic")


def a_final() -> FinalTranscript:
    return FinalTranscript(
        session_id="session-1",
        result_id="r1",
        segment_index=4,
        channel_id=None,
        start_time=0.0,
        end_time=1.0,
        alternatives=a_result().alternatives,
        settings=SessionSettings(),
        sample_rate_hertz=8000,
        source=SOURCE,
        stream_id="stream",
    )


def a_partial() -> PartialTranscript:
    return PartialTranscript("session-1", "r1", None, 0.0, 1.0, a_result().alternatives, "stream")


def a_record() -> Any:
    return kafka_record(value=SECRET_AUDIO, headers=[("name", SECRET_TEXT.encode())])


def a_summary() -> SessionSummary:
    return SessionSummary("session-1", "END_OF_SESSION", 1, 1, 1.0, (Gap(0.0, 1.0, "x"),), 1, 0, SOURCE)


HOLDERS: list[Any] = [
    a_chunk(),
    LogEntry(0, a_chunk()),
    LogEntry(0, None, REJECTION),
    a_final(),
    a_partial(),
    a_summary(),
    DeadLetter(a_record(), "DECODE", REJECTION, "session-1", 0),
    commands.OpenStream(1, AudioFormat(8000), SessionSettings()),
    commands.SendAudio(1, SECRET_AUDIO),
    commands.EndStream(1),
    commands.DropStream(1),
    commands.ReadLog(1, 0, None, 100),
    commands.EmitFinal(a_final()),
    commands.EmitPartial(a_partial()),
    commands.EmitSessionEnded(a_summary()),
    commands.Reject(3, REJECTION),
    commands.RejectSession(3, 9, REJECTION),
    commands.Observe("gaps", 1, "MISSING_SEQUENCE"),
    commands.StreamOver(1, "idle", 1, 1.0),
    commands.Forget(),
    commands.Observe("gaps", 1),
    answers.LogSlice((LogEntry(0, a_chunk()),), 1, complete=True),
    answers.StreamFailure("Code", "message"),
    live_stream.StreamOpened(1, "stream", "request"),
    live_stream.ResultsArrived(1, (a_result(),)),
    live_stream.StreamClosed(1),
    live_stream.StreamLost(1, answers.StreamFailure("Code", "message")),
    live_session.FailureReport(answers.StreamFailure("Code", "message"), 1),
    live_session.Measured("slot_wait_ms", 1),
    session_log.LogRead(commands.ReadLog(1, 0, None, 1), session_log.RecordSlice((a_record(),), 1, True)),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_repr_shows_audio_or_text(holder: Any) -> None:
    for shown in (repr(holder), str(holder), f"{holder!r:>10}"):
        assert SECRET_TEXT not in shown
        assert SECRET_AUDIO.decode() not in shown


def test_every_value_class_of_the_engine_is_among_those_checked() -> None:
    modules = (answers, commands, elements, live_outputs, live_session, live_stream, session_log)
    declared = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    }
    without_data = {AudioFormat, SessionSettings, SourceRange, Gap, live_stream.SentAudio}
    assert declared - without_data == {type(holder) for holder in HOLDERS}


@given(st.binary(min_size=8, max_size=64).map(lambda half: half + half), st.text(min_size=12))
def test_a_chunk_s_repr_is_the_same_whatever_it_carries(payload: bytes, attribute: str) -> None:
    carrying = AudioChunk("s", 0, payload, AudioFormat(8000), attributes={"note": attribute})
    assert repr(carrying) == repr(AudioChunk("s", 0, b"", AudioFormat(8000)))
