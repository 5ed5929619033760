"""A run of the demo on a real broker, with a scripted pipeline: whole finals, missing finals, no pipeline."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from rich.console import Console

from deploy.local.demo import run as run_module
from deploy.local.demo.board import Event
from deploy.local.demo.errors import SessionsIncomplete
from deploy.local.demo.playback import Session, plan_sessions
from deploy.local.demo.run import Result, Run
from deploy.local.demo.screen import Screen
from deploy.local.demo.topics import DemoTopics
from deploy.local.kafka import KafkaBroker
from deploy.local.recordings import Recording
from schemas.serde import SingleObjectSerde

SECONDS = 0.5
RECORDINGS = [
    Recording("one", "One", "UROLOGY", "DICTATION", 8_000, bytes(int(SECONDS * 16_000)), "word word"),
    Recording("two", "Two", "UROLOGY", "DICTATION", 16_000, bytes(int(SECONDS * 32_000)), "word word"),
]


@dataclass
class ScriptedServers:
    """A broker and a list of endpoint events in place of all the demo's servers."""

    bootstrap_servers: str
    topics: DemoTopics
    directory: Path
    emitted: list[dict[str, Any]] = field(default_factory=list)
    observed: list[Event] = field(default_factory=list)

    @property
    def stack(self) -> ScriptedServers:
        return self

    @property
    def endpoint(self) -> ScriptedServers:
        return self

    def events(self) -> list[dict[str, Any]]:
        return list(self.emitted)

    def observe(self, event: Event) -> None:
        self.observed.append(event)

    def check(self) -> None:
        pass


class ScriptedPipeline(threading.Thread):
    """Reads the audio topic; writes two finals for each whole session and its end, less what it `skips`."""

    def __init__(self, servers: ScriptedServers, skips: set[tuple[str, int]]) -> None:
        super().__init__(daemon=True)
        self.servers, self.skips = servers, skips
        self.stopped = threading.Event()
        self.audio_bytes: dict[str, int] = {}
        self.producer = KafkaProducer(bootstrap_servers=servers.bootstrap_servers)

    def run(self) -> None:
        decode = SingleObjectSerde("audio_chunk").decode
        topics = self.servers.topics
        with_start = {"auto_offset_reset": "earliest", "bootstrap_servers": self.servers.bootstrap_servers}
        consumer = KafkaConsumer(topics.audio, **with_start)
        while not self.stopped.is_set():
            for messages in consumer.poll(timeout_ms=50).values():
                for message in messages:
                    chunk = decode(message.value)
                    name = chunk["session_id"]
                    assert message.key == name.encode()
                    self.audio_bytes[name] = self.audio_bytes.get(name, 0) + len(chunk["payload"])
                    if chunk["end_of_session"]:
                        self.end(name)
        consumer.close()
        self.producer.close()

    def end(self, name: str) -> None:
        for index in range(2):
            emitted = {"event": "final_sent", "session_id": f"stream-{name}", "result_id": f"{name}-{index}"}
            self.servers.emitted.append({**emitted, "emitted_at": time.time()})
            if (name, index) not in self.skips:
                self.write(self.servers.topics.finals, "final_transcript", final(name, index))
        self.write(self.servers.topics.sessions, "session_ended", session_ended(name))

    def write(self, topic: str, schema_name: str, record: dict[str, Any]) -> None:
        value = SingleObjectSerde(schema_name).encode(record)
        self.producer.send(topic, value=value, key=record["session_id"].encode()).get(timeout=5)


SOURCE = {"topic": "audio", "partition": 0, "first_offset": 0, "last_offset": 4}


def final(name: str, index: int) -> dict[str, Any]:
    return {
        "session_id": name,
        "result_id": f"{name}-{index}",
        "segment_index": index,
        "start_time": index * 0.2,
        "end_time": index * 0.2 + 0.1,
        "alternatives": [{"transcript": "Word", "items": []}],
        "language_code": "en-US",
        "specialty": "UROLOGY",
        "type": "DICTATION",
        "sample_rate_hertz": 8_000,
        "source": SOURCE,
        "stream_id": f"stream-{name}",
    }


def session_ended(name: str) -> dict[str, Any]:
    return {
        "session_id": name,
        "reason": "END_OF_SESSION",
        "segments": 2,
        "chunks": 5,
        "audio_seconds": SECONDS,
        "gaps": [],
        "streams": 1,
        "retries": 0,
        "ended_at": 0,
        "source": SOURCE,
    }


@pytest.fixture
def servers(kafka_broker: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest) -> ScriptedServers:
    topics = DemoTopics.of_run(f"test-{abs(hash(request.node.nodeid)):x}")
    kafka_broker.create_topics(topics.partitions)
    return ScriptedServers(kafka_broker.bootstrap_servers, topics, tmp_path)


@pytest.fixture
def sessions() -> list[Session]:
    return plan_sessions(RECORDINGS, 3, "run")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "FINISH_SECONDS", 5.0)


def result_of(servers: ScriptedServers, sessions: list[Session], skips: set[tuple[str, int]]) -> Result:
    pipeline = ScriptedPipeline(servers, skips)
    pipeline.start()
    run = Run(servers, sessions, speed=1.0)  # type: ignore[arg-type]
    try:
        with run.watching():
            run.play_sessions(Screen(Console(file=io.StringIO()), plain=True))
        result = run.read_back()
    finally:
        pipeline.stopped.set()
        pipeline.join()
    for session in sessions:
        assert pipeline.audio_bytes[session.session_id] == len(session.recording.pcm)
    return result


def test_a_whole_run_has_no_problems_and_a_latency_for_every_final(
    servers: ScriptedServers, sessions: list[Session]
) -> None:
    result = result_of(servers, sessions, skips=set())
    assert result.problems == ()
    assert [outcome.session_id for outcome in result.outcomes] == ["one-run", "two-run", "one-run-2"]
    assert all(outcome.word_errors.errors == 0 for outcome in result.outcomes)
    assert len(result.added_latencies_seconds) == 6
    assert max(result.added_latencies_seconds) < 2.0
    assert (
        len([event for event in servers.observed if getattr(event, "schema_name", "") == "session_ended"])
        == 3
    )


def test_a_final_that_never_comes_ends_the_run_by_name(
    servers: ScriptedServers, sessions: list[Session]
) -> None:
    with pytest.raises(SessionsIncomplete, match=r"two-run \(1 of 2 finals\)") as caught:
        result_of(servers, sessions, skips={("two-run", 1)})
    assert caught.value.session_ids == ["two-run"]


def test_without_a_pipeline_the_run_ends_and_names_every_session(
    servers: ScriptedServers, sessions: list[Session]
) -> None:
    run = Run(servers, sessions, speed=1.0)  # type: ignore[arg-type]
    with run.watching(), pytest.raises(SessionsIncomplete, match=r"one-run \(0 finals, no end\)"):
        run.play_sessions(Screen(Console(file=io.StringIO()), plain=True))
    assert {row.state for row in run.board.rows.values()} == {"all audio sent"}


def test_an_error_of_the_player_ends_the_run(servers: ScriptedServers, sessions: list[Session]) -> None:
    broken = Recording("x", "X", "UROLOGY", "DICTATION", 8_000, bytes(3_200), "")
    object.__setattr__(broken, "sample_rate_hertz", "no number")
    run = Run(servers, [Session("x", broken)], speed=1.0)  # type: ignore[arg-type]
    with run.watching(), pytest.raises(TypeError):
        run.play_sessions(Screen(Console(file=io.StringIO()), plain=True))
