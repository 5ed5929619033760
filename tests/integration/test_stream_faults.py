"""Every way in which the service can fail a stream, each on a session of its own, through either transport:
nothing is lost, doubled or moved.

The sessions speak at the same time; a vocabulary's name, which is the session's parameter and reaches the
endpoint, tells which fault is whose.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.conftest import Measured
from tests.integration.harness import CHUNK_SECONDS, Job, Session, marked_session, running_job
from tests.integration.verdicts import assert_complete, assert_repeats_are_the_same, end_reasons

pytestmark = pytest.mark.timeout(240)

SENTENCES = 6  # of 1.9 s
IDLE_TIMEOUT_SECONDS = 3  # the service's 15, shortened; ours is longer, so that it is the service that ends
DRAIN_TIMEOUT_SECONDS = 5
PAUSE_SECONDS = 6
MID_SEGMENT = {"after_audio_seconds": 3}

FAULTS: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset", "times": 2, **MID_SEGMENT},
    "disconnect": {"kind": "disconnect", "times": 2, **MID_SEGMENT},
    "truncate": {"kind": "truncate", **MID_SEGMENT},
    "early-end": {"kind": "clean_end", **MID_SEGMENT},
    "bad-crc": {"kind": "bad_crc", **MID_SEGMENT},
    "split": {"kind": "split"},
    "goaway": {"kind": "goaway", **MID_SEGMENT},
    "goaway-error": {"kind": "goaway", "error_code": 2, **MID_SEGMENT},
    "goaway-calm": {"kind": "goaway", "error_code": 11, **MID_SEGMENT},
    "slow-read": {"kind": "slow_read", "seconds": 0.12},
    "late": {"kind": "late_headers", "seconds": 2},
    "stall": {"kind": "stall", "seconds": 2, **MID_SEGMENT},
    "silent": {"kind": "stall", **MID_SEGMENT},
    "internal": {"kind": "exception", "code": "InternalFailureException", "times": 2, **MID_SEGMENT},
    "limit": {"kind": "exception", "code": "LimitExceededException", **MID_SEGMENT},
    "conflict": {"kind": "exception", "code": "ConflictException", **MID_SEGMENT},
    "unavailable": {"kind": "refuse", "code": "ServiceUnavailableException", "times": 2},
    "throttled": {"kind": "refuse", "code": "LimitExceededException", "times": 2},
}
HARMLESS = {"split", "goaway", "slow-read", "late", "stall"}
"""What costs no stream."""


@dataclass(frozen=True, slots=True)
class TaggedSession(Session):
    """A session whose streams name a vocabulary."""

    vocabulary_name: str = ""

    def chunks(self) -> list[dict[str, Any]]:
        settings = {"vocabulary_name": self.vocabulary_name}
        return [{**chunk, "settings": settings} for chunk in Session.chunks(self)]


def tagged_session(name: str) -> TaggedSession:
    plain = marked_session(name, SENTENCES, sample_rate_hertz=8000)
    return TaggedSession(plain.id, plain.sentences, plain.sample_rate_hertz, vocabulary_name=name)


@pytest.fixture(params=["http2", "websocket+tls"])
def link(request: pytest.FixtureRequest) -> str:
    """How the workers reach the endpoint; the second has TLS with an authority of the endpoint's own."""
    return str(request.param)


@pytest.fixture
def endpoint(tmp_path: Path, link: str) -> Iterator[EndpointProcess]:
    options = ["--idle-timeout-seconds", str(IDLE_TIMEOUT_SECONDS), "--max-streams", "40"]
    folder = tmp_path / "endpoint"
    with EndpointProcess(
        folder, recogniser="markers", tls=link.endswith("+tls"), options=options
    ) as endpoint:
        yield endpoint


@pytest.fixture
def job(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, endpoint: EndpointProcess, link: str, tmp_path: Path
) -> Iterator[Job]:
    options = ["--transport", link.partition("+")[0], "--drain-timeout-seconds", str(DRAIN_TIMEOUT_SECONDS)]
    if endpoint.ca_file is not None:
        options += ["--ca-bundle", str(endpoint.ca_file)]
    with running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=options) as job:
        yield job


def play_with_a_pause(job: Job, session: Session) -> threading.Thread:
    """Half of the session, a pause in which the service gives its stream up, the other half."""

    def play() -> None:
        chunks = session.chunks()
        for number, chunk in enumerate(chunks):
            if number == len(chunks) // 2:
                time.sleep(PAUSE_SECONDS)
            job.player.send(chunk)
            time.sleep(CHUNK_SECONDS)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    return thread


def test_no_fault_of_the_service_loses_or_doubles_a_word(
    job: Job, endpoint: EndpointProcess, measured: Measured
) -> None:
    faulty = [tagged_session(name) for name in FAULTS]
    calm, pausing = tagged_session("calm"), tagged_session("pausing")
    endpoint.inject(*({**rule, "vocabulary_name": name} for name, rule in FAULTS.items()))
    job.player.play([calm])
    job.outputs.wait(lambda out: bool(out.finals), 60, "a first final: the job runs")
    began = time.time()
    job.player.play(faulty)
    play_with_a_pause(job, pausing)
    sessions = [*faulty, calm, pausing]
    job.outputs.wait_ended(sessions, 120)
    names = {session.id: session.vocabulary_name for session in sessions}
    seconds = sorted((round(at - began, 1), names[session]) for session, at in job.outputs.ended_at.items())
    measured(f"{len(faulty[0].pcm) / 16_000:.1f} s of audio; last ends after: {seconds[-6:]}")

    acted = {rule["vocabulary_name"]: rule["acted"] for rule in endpoint.faults()}
    assert acted == {name: rule.get("times", 1) for name, rule in FAULTS.items()}
    assert_complete(job, sessions)
    assert_repeats_are_the_same(job, sessions)
    assert job.outputs.dead_letters == []
    retries = {names[ended["session_id"]]: ended["retries"] for ended in job.outputs.sessions}
    measured(f"retries: {retries}", f"streams: {end_reasons(endpoint.events())}")
    for name, count in retries.items():
        if name in HARMLESS or name == "calm":
            assert count == 0, name
        else:
            assert count >= FAULTS.get(name, {}).get("times", 1), name
