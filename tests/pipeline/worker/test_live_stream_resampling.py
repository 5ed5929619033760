"""A live stream that sends another sample rate than its session has: same sounds, same times, same pace."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.elements import AudioFormat
from pipeline.worker.live_stream import StreamClosed
from tests.encoders import interleaved, samples_of, tone
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import CHUNK_SAMPLES, STEREO
from tests.pipeline.worker.test_live_stream import CHUNK, Scene, run


def bursts(rate: int, channels: int) -> bytes:
    """Three seconds with a tone burst of 50 ms at 0.4, 1.4 and 2.4 s, quieter in the second channel."""
    lead, pause = bytes(2 * (2 * rate // 5)), bytes(2 * (rate - 2 * rate // 5 - rate // 20))
    one = [
        (lead + tone(1000, rate // 20, rate, amplitude=amplitude) + pause) * 3 for amplitude in (12_000, 6000)
    ]
    return interleaved(*one[:channels])


@pytest.mark.parametrize(
    ("audio", "target"),
    [
        (AudioFormat(8000), 16_000),
        (AudioFormat(8000, 2), 16_000),
        (AudioFormat(48_000), 16_000),
        (AudioFormat(44_100, 2), 16_000),
        (AudioFormat(8000, 2), 48_000),
    ],
)
def test_the_service_hears_the_same_at_the_same_time_at_another_rate(audio: AudioFormat, target: int) -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, audio=audio, resample_to_hertz=target)
        pcm, chunk_bytes = bursts(audio.sample_rate_hertz, audio.channels), audio.sample_rate_hertz // 10 * 2
        for start in range(0, len(pcm), chunk_bytes):
            played.live.send(pcm[start : start + chunk_bytes])
        played.live.end()
        assert await played.finished() == StreamClosed(7)
        assert played.live.written_samples == audio.samples(len(pcm)), (
            "progress is told in the session's samples"
        )
        sent = samples_of(b"".join(stream.sent), audio.channels)
        assert abs(len(sent) - 3 * target) <= 1
        for channel, level in zip(range(audio.channels), (12_000, 6000), strict=False):
            loud = np.flatnonzero(np.abs(sent[:, channel].astype(int)) > level // 4) / target
            onsets = loud[np.flatnonzero(np.diff(loud, prepend=-1.0) > 0.5)]
            assert onsets == pytest.approx([0.4, 1.4, 2.4], abs=0.001)
            assert np.abs(sent[:, channel].astype(int)).max() == pytest.approx(level, rel=0.1)

    run(scene())


def test_resampled_audio_goes_out_in_events_of_whole_samples_none_empty_and_200_ms_at_most() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, audio=STEREO, resample_to_hertz=16_000)
        for samples in (1, 799, 4000, 7, 16_000, 160, 160):
            played.live.send(bytes(samples * STEREO.bytes_per_sample))
        played.live.end()
        await played.finished()
        assert {len(piece) % 4 for piece in stream.sent} == {0}
        assert min(map(len, stream.sent)) > 0
        assert max(map(len, stream.sent)) <= 3200 * 4
        assert stream.calls[-2:] == ["end", "close"]

    run(scene())


def test_what_the_resampler_still_holds_is_sent_before_the_closing_frame() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, resample_to_hertz=16_000)
        played.live.send(CHUNK)
        await played.until(lambda: played.live.written_samples)
        held_back = 2 * CHUNK_SAMPLES - len(b"".join(stream.sent)) // 2
        assert held_back > 0
        played.live.end()
        await played.finished()
        assert len(b"".join(stream.sent)) == 2 * len(CHUNK)
        assert stream.calls[-3:] == ["send_audio", "end", "close"]

    run(scene())


def test_resampled_audio_keeps_the_catch_up_rate_of_the_session_s_own_time() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=20.0, resample_to_hertz=16_000)
        for _ in range(50):
            played.live.send(CHUNK)
        played.live.end()
        await played.finished()
        assert stream.sent_at[-1] - stream.sent_at[0] >= (5.0 - 1.0 - 0.4) / 20.0 - 0.002

    run(scene())
