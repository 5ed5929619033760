"""Live sessions of encoded audio: what the service is sent, and how much is read again at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from connectors.kafka.records import KafkaRecord
from pipeline.elements import SessionSettings
from pipeline.engine.commands import EmitFinal, EmitSessionEnded
from pipeline.engine.session import opening_cursor
from pipeline.worker.live_streams import Runtime
from tests.encoders import encode, interleaved, samples_of, tone
from tests.fakes.audio_log import HeldLog
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import CHUNK_SAMPLES, RATE, STEREO, audio_record, chunk
from tests.pipeline.worker.test_live_streams import Scene, spoken


def encoded_records(encoding: str, left: bytes, right: bytes) -> list[KafkaRecord]:
    """Stereo chunks of 100 ms in `encoding`, the last with the end mark."""
    pcm, size = interleaved(left, right), 2 * 2 * CHUNK_SAMPLES
    parts = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    return [
        audio_record(
            number,
            payload=encode(part, encoding, RATE, 2),
            encoding=encoding,
            channels=2,
            end_of_session=number == len(parts) - 1,
        )
        for number, part in enumerate(parts)
    ]


@pytest.mark.parametrize("encoding", ["PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW"])
def test_two_channels_of_any_encoding_reach_the_service_as_pcm_left_before_right(
    process: Runtime, encoding: str
) -> None:
    left, right = tone(400, RATE, RATE), tone(400, RATE, RATE, amplitude=500)
    stream = ScriptedStream()
    scene = Scene(process, stream, cursor=opening_cursor(chunk(0, format=STEREO), 0, 0, SessionSettings()))
    scene.receive(*encoded_records(encoding, left, right))
    scene.poll(stream.end_called.is_set)
    ((audio, _, _),) = scene.service.requests
    assert audio == STEREO
    sent = samples_of(b"".join(stream.sent), 2)
    assert len(sent) == RATE
    if encoding in ("PCM", "FLAC"):
        assert sent.tobytes() == interleaved(left, right)
    assert np.abs(sent[:, 0].astype(int)).max() == pytest.approx(8000, rel=0.1)
    assert np.abs(sent[:, 1].astype(int)).max() == pytest.approx(500, rel=0.3)


def test_one_session_may_change_its_encoding(process: Runtime) -> None:
    pcm = tone(400, 2 * CHUNK_SAMPLES, RATE)
    half = len(pcm) // 2
    stream = ScriptedStream()
    scene = Scene(process, stream)
    scene.receive(
        audio_record(0, payload=encode(pcm[:half], "FLAC", RATE), encoding="FLAC"),
        audio_record(1, payload=pcm[half:], encoding="PCM", end_of_session=True),
    )
    scene.poll(stream.end_called.is_set)
    assert b"".join(stream.sent) == pcm


def test_compressed_audio_from_the_log_is_taken_no_further_than_there_is_room_for_its_pcm(
    process: Runtime,
) -> None:
    second = bytes(2 * RATE)  # of silence: a hundred bytes of FLAC
    records = [
        audio_record(n, payload=encode(second, "FLAC", RATE), encoding="FLAC", media_offset_ms=1000 * n)
        for n in range(40)
    ]
    stream, log = ScriptedStream(), HeldLog(records)
    opening = opening_cursor(chunk(0), 0, 0, SessionSettings())
    scene = Scene(process, stream, cursor=replace(opening, version=3), log=log)
    while len(log.reads) < 2 or log.reads[-1].start_offset < len(records):
        answered = len(log.reads)
        scene.poll(lambda wanted=answered + 1: len(log.reads) >= wanted, step_seconds=0.1)
        log.answer()
    scene.poll(lambda: len(b"".join(stream.sent)) == len(records) * len(second))
    for read, following in pairwise(log.reads):
        taken_bytes = (following.start_offset - read.start_offset) * len(second)
        assert 0 < taken_bytes <= read.max_bytes


def test_a_stream_is_opened_at_the_rate_of_the_job_and_the_session_keeps_its_own(process: Runtime) -> None:
    stream = ScriptedStream()
    scene = Scene(process, stream)
    scene.service.resample_to_hertz = 16_000
    scene.on_loop(stream.answer, (spoken("r1", 0.0, 0.1),))
    scene.receive(audio_record(0), audio_record(1), audio_record(2, end_of_session=True))
    scene.poll(stream.end_called.is_set)
    assert len(b"".join(stream.sent)) == 3 * 2 * 2 * CHUNK_SAMPLES
    scene.on_loop(stream.answer, None)
    scene.poll(lambda: scene.found(EmitSessionEnded))
    (final,) = scene.found(EmitFinal)
    assert (final.final.sample_rate_hertz, final.final.end_time) == (RATE, 0.1)
    assert scene.found(EmitSessionEnded)[0].summary.audio_seconds == pytest.approx(0.3)
