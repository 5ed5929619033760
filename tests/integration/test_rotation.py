"""Sessions longer than the service lets a stream live, on real parts: the job moves to another stream in
time, and no word is lost or doubled where one ends and the next begins.

The service's 4 hours are a minute or less here; a session of 4 h 30 min crosses one such limit, these cross
several.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.conftest import Measured
from tests.integration.harness import marked_session, running_job
from tests.integration.verdicts import (
    assert_complete,
    assert_repeats_are_the_same,
    end_reasons,
    most_streams_at_once,
)

pytestmark = pytest.mark.timeout(240)

PREFLIGHT_STREAMS = 1  # the job's own test of the endpoint


def test_a_long_session_at_four_times_real_time_crosses_a_limit_of_a_minute(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    """Audio counts as well as time: 60 s of it are 15 s here, and the endpoint ends a stream after 20."""
    speed, limit_seconds = 4, 60
    sessions = [marked_session(f"long{number}", 145, sample_rate_hertz=8000) for number in range(3)]
    audio_seconds = len(sessions[0].pcm) / 16_000
    assert audio_seconds >= 270
    endpoint_options = ["--max-stream-seconds", str(limit_seconds / speed + 5)]
    options = ["--stream-limit-seconds", str(limit_seconds), "--catch-up-rate", str(2 * speed)]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=endpoint_options) as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job,
    ):
        job.player.play(sessions, speed=speed)
        job.outputs.wait_ended(sessions, 150)
        reasons = end_reasons(endpoint.events())
        streams = {ended["streams"] for ended in job.outputs.sessions}
        measured(f"{audio_seconds:.0f} s of audio, streams of a session: {streams}; ends: {reasons}")
        assert_complete(job, sessions)
        assert_repeats_are_the_same(job, sessions)
        assert reasons.keys() == {"complete"}, "no stream lived to the limit"
        assert all(count >= audio_seconds / limit_seconds for count in streams)
        assert {ended["retries"] for ended in job.outputs.sessions} == {0}


def test_streams_are_replaced_in_real_time_also_within_a_sentence(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    """The second session pauses so rarely that most of its streams have to be left in mid-sentence."""
    # Of 4 h the last 3 % are minutes, of 18 s half a second: hence the two seconds between the two limits.
    endpoint_options = ["--max-stream-seconds", "20"]
    options = ["--stream-limit-seconds", "18", "--catch-up-rate", "4"]
    sessions = [
        marked_session("short", 34, sample_rate_hertz=8000),
        marked_session("wordy", 8, words=24, sample_rate_hertz=8000),
    ]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=endpoint_options) as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job,
    ):
        job.player.play(sessions)
        job.outputs.wait_ended(sessions, 150)
        reasons = end_reasons(endpoint.events())
        streams = {ended["session_id"]: ended["streams"] for ended in job.outputs.sessions}
        measured(f"streams: {streams}; ends: {reasons}")
        assert_complete(job, sessions)
        assert_repeats_are_the_same(job, sessions)
        assert reasons.keys() == {"complete"}, "no stream lived to the limit"
        assert all(count >= 4 for count in streams.values())


def test_a_service_that_falls_silent_is_left_for_another_stream(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    """It reads and answers pings, but says nothing more: audio without a final is bounded, too."""
    session = marked_session("unheard", 20, sample_rate_hertz=8000)
    options = ["--max-segment-seconds", "10", "--drain-timeout-seconds", "3", "--catch-up-rate", "4"]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job,
    ):
        endpoint.inject({"kind": "stall", "after_audio_seconds": 5})
        job.player.play([session])
        job.outputs.wait(lambda out: bool(out.finals), 60, "a first final")
        before = len(job.outputs.finals)
        job.outputs.wait(
            lambda out: len({a.stream_id for a in out.arrivals}) > 1, 60, "another stream's final"
        )
        silence = job.outputs.arrivals[-1].arrived_at - job.outputs.arrivals[before - 1].arrived_at
        assert not job.outputs.sessions, "noticed while the session went on"
        job.outputs.wait_ended([session], 60)
        measured(f"without a final for {silence:.1f} s")
        assert_complete(job, [session])
        assert_repeats_are_the_same(job, [session])


def test_never_more_live_streams_than_allowed_and_all_sessions_are_served(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    bound = 2
    sessions = [marked_session(f"slot{number}", 5, sample_rate_hertz=8000) for number in range(6)]
    options = ["--max-live-streams", str(bound), "--catch-up-rate", "4"]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job,
    ):
        began = time.monotonic()
        job.player.play(sessions)
        job.outputs.wait_ended(sessions, 120)
        at_once = most_streams_at_once(endpoint.events())
        measured(f"{at_once} streams at once, {time.monotonic() - began:.1f} s for {len(sessions)} sessions")
        assert_complete(job, sessions)
        assert_repeats_are_the_same(job, sessions)
        assert at_once == bound
        assert end_reasons(endpoint.events()) == {"complete": len(sessions) + PREFLIGHT_STREAMS}
