"""Encoded audio on real Kafka and Flink: the same recovery as PCM, whatever the encoding, rate and channels.

Lossless sessions carry marked words, so every word and its time must be exact. G.711 and Opus do not carry
marks; there the scripted recogniser counts audio instead: it says `tick` for 0.9 s of every second of a
stream, so that a session's finals show whether each second reached the service once. That job also resamples
everything to 16 kHz, so its counts hold for resampled audio too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words
from tests.encoders import encode, interleaved, tone
from tests.integration.harness import CHUNK_SECONDS, Job, Session, running_job

pytestmark = pytest.mark.timeout(300)

SENTENCES, WORDS = 6, 4
TICK_SECONDS, TICK_EVERY_SECONDS = 0.9, 1.0
CHANNEL_LEADS = (0.2, 0.5)


@dataclass(frozen=True, slots=True)
class EncodedSession(Session):
    """A session whose chunks are encoded one by one."""

    encoding: str = "PCM"
    channels: int = 1

    def chunks(self) -> list[dict[str, Any]]:
        pcm, rate = self.pcm, self.sample_rate_hertz
        size = int(rate * CHUNK_SECONDS) * 2 * self.channels
        parts = [pcm[start : start + size] for start in range(0, len(pcm), size)]
        return [
            {
                "session_id": self.id,
                "sequence": number,
                "payload": encode(part, self.encoding, rate, self.channels),
                "encoding": self.encoding,
                "sample_rate_hertz": rate,
                "channels": self.channels,
                "media_offset_ms": round(number * CHUNK_SECONDS * 1000),
                "end_of_session": number == len(parts) - 1,
            }
            for number, part in enumerate(parts)
        ]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / (2 * self.channels * self.sample_rate_hertz)


@dataclass(frozen=True, slots=True)
class MarkedSession(EncodedSession):
    """Marked words, others in each channel, at other times."""

    @property
    def pcm(self) -> bytes:
        tracks = [
            encode_markers(self.lines(channel), self.sample_rate_hertz, lead_seconds=CHANNEL_LEADS[channel])
            for channel in range(self.channels)
        ]
        longest = max(map(len, tracks))
        return interleaved(*(track.ljust(longest, b"\0") for track in tracks))

    def lines(self, channel: int) -> list[list[str]]:
        return [[f"{word}c{channel}" for word in sentence] for sentence in self.sentences]


@dataclass(frozen=True, slots=True)
class ToneSession(EncodedSession):
    """Sound without words, not of a whole number of chunks."""

    @property
    def pcm(self) -> bytes:
        samples = int(8.37 * self.sample_rate_hertz)
        return interleaved(*[tone(440, samples, self.sample_rate_hertz)] * self.channels)


def marked(name: str, encoding: str, rate: int, channels: int = 1) -> MarkedSession:
    sentences = tuple(tuple(f"{name}s{s}w{w}" for w in range(WORDS)) for s in range(SENTENCES))
    return MarkedSession(name, sentences, rate, encoding=encoding, channels=channels)


def toned(name: str, encoding: str, rate: int, channels: int = 1) -> ToneSession:
    return ToneSession(name, (), rate, encoding=encoding, channels=channels)


@pytest.fixture
def markers_endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture
def ticking_endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    tick = {"content": "tick", "start_seconds": 0.0, "end_seconds": TICK_SECONDS}
    script = {
        "segments": [{"words": [tick]}],
        "final_delay_seconds": TICK_EVERY_SECONDS - TICK_SECONDS,
        "repeat_every_seconds": TICK_EVERY_SECONDS,
    }
    path = tmp_path / "script.json"
    path.write_text(json.dumps(script), encoding="utf-8")
    with EndpointProcess(tmp_path / "endpoint", options=["--script", str(path)]) as endpoint:
        yield endpoint


def play_with_a_cut_and_a_kill(
    job: Job, endpoint: EndpointProcess, sessions: Sequence[EncodedSession]
) -> None:
    """Every first stream is cut after two seconds; later, in the middle of all, the workers are killed."""
    endpoint.inject({"kind": "reset", "after_audio_seconds": 2, "times": len(sessions)})
    job.player.play(sessions)
    job.outputs.wait(
        lambda out: all(
            any(f["session_id"] == session.id and f["start_time"] > 2.5 for f in out.finals)
            for session in sessions
        ),
        120,
        "a final of each session after its cut",
    )
    job.kill_workers()
    job.outputs.wait_ended(sessions, 150)
    assert [rule["acted"] for rule in endpoint.faults()] == [len(sessions)]
    assert job.outputs.dead_letters == []


def assert_ended_whole(job: Job, session: EncodedSession) -> None:
    ended = next(ended for ended in job.outputs.sessions if ended["session_id"] == session.id)
    assert ended["audio_seconds"] == pytest.approx(session.seconds, abs=1.5 / session.sample_rate_hertz)
    assert (ended["chunks"], ended["gaps"]) == (len(session.chunks()), [])
    assert ended["streams"] >= 2
    finals = job.outputs.finals_of(session.id)
    assert [final["segment_index"] for final in finals] == list(range(len(finals)))
    assert {final["sample_rate_hertz"] for final in finals} == {session.sample_rate_hertz}


def assert_every_marked_word(job: Job, session: MarkedSession) -> None:
    """Each channel's words once, in order, at their times."""
    finals = job.outputs.finals_of(session.id)
    for channel in range(session.channels):
        channel_id = f"ch_{channel}" if session.channels == 2 else None
        found = [
            item
            for final in finals
            if final["channel_id"] == channel_id
            for item in final["alternatives"][0]["items"]
        ]
        lines = marked_words(session.lines(channel), lead_seconds=CHANNEL_LEADS[channel])
        expected = [word for line in lines for word in line]
        assert [item["content"] for item in found] == [word.content for word in expected]
        for item, word in zip(found, expected, strict=True):
            assert item["start_time"] == pytest.approx(word.start_seconds, abs=0.02)
            assert item["end_time"] == pytest.approx(word.end_seconds, abs=0.02)


def assert_every_second_once(job: Job, session: ToneSession) -> None:
    """From the first sample to the last there is a tick, but for the pause after each; none overlap."""
    channel_ids = {final["channel_id"] for final in job.outputs.finals_of(session.id)}
    assert channel_ids == ({"ch_0", "ch_1"} if session.channels == 2 else {None})
    pause = TICK_EVERY_SECONDS - TICK_SECONDS
    for channel_id in channel_ids:
        finals = [f for f in job.outputs.finals_of(session.id) if f["channel_id"] == channel_id]
        assert finals[0]["start_time"] == pytest.approx(0, abs=0.001)
        for final, following in pairwise(finals):
            assert -0.002 <= following["start_time"] - final["end_time"] <= pause + 0.002
        assert -pause - 0.002 <= finals[-1]["end_time"] - session.seconds <= 0.002


def test_lossless_audio_of_any_rate_and_width_is_whole_after_a_cut_and_a_kill(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, markers_endpoint: EndpointProcess, tmp_path: Path
) -> None:
    sessions = [
        marked("flac", "FLAC", 16_000),
        marked("flacstereo", "FLAC", 8000, 2),
        marked("pcm8", "PCM", 8000),
        marked("pcm48stereo", "PCM", 48_000, 2),
    ]
    with running_job(kafka_broker, flink, markers_endpoint, tmp_path) as job:
        play_with_a_cut_and_a_kill(job, markers_endpoint, sessions)
        for session in sessions:
            assert_ended_whole(job, session)
            assert_every_marked_word(job, session)


def test_lossy_and_resampled_audio_is_whole_after_a_cut_and_a_kill(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, ticking_endpoint: EndpointProcess, tmp_path: Path
) -> None:
    sessions = [
        toned("opus", "OGG_OPUS", 16_000),
        toned("opus48stereo", "OGG_OPUS", 48_000, 2),
        toned("mulaw", "MULAW", 8000),
        toned("alawstereo", "ALAW", 8000, 2),
        toned("pcm8", "PCM", 8000),
    ]
    options = ["--resample-to", "16000"]
    with running_job(kafka_broker, flink, ticking_endpoint, tmp_path, options=options) as job:
        play_with_a_cut_and_a_kill(job, ticking_endpoint, sessions)
        for session in sessions:
            assert_ended_whole(job, session)
            assert_every_second_once(job, session)
    started = [event for event in ticking_endpoint.events() if event["event"] == "stream_started"]
    assert {event["sample_rate_hertz"] for event in started} == {16_000}
