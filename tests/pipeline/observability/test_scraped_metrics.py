"""What is looked up in a process when Prometheus asks."""

from __future__ import annotations

import time
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from connectors.kafka.reading import offsets, shared_consumer
from connectors.kafka.reading.feed import Feed
from pipeline.engine.session_state import SessionState
from pipeline.observability.scraped_metrics import BUILD_INFO, WorkerCollector
from pipeline.worker.live_streams import Runtime
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import audio_record
from tests.pipeline.worker.test_live_session import Scene, holding, one_slot


@pytest.fixture
def registry(process: Runtime) -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(WorkerCollector(lambda: process))
    return found


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"medstream_{name}", labels)


def test_sessions_are_shown_by_state_all_of_them(process: Runtime, registry: CollectorRegistry) -> None:
    for number, state in enumerate([SessionState.STREAMING, SessionState.STREAMING, SessionState.BEHIND]):
        Scene(process, None, name=str(number)).engine.state = state
    found = {state.value: value(registry, "sessions", state=state.value) for state in SessionState}
    assert found == dict.fromkeys(found, 0) | {"streaming": 2, "behind": 1}


def test_the_session_that_is_worst_off_is_shown(process: Runtime, registry: CollectorRegistry) -> None:
    assert (value(registry, "audio_lag_seconds"), value(registry, "unfinal_audio_seconds")) == (0, 0)
    for number in range(2):
        scene = Scene(process, None, name=str(number))
        scene.engine.behind = True
        scene.engine.unfinal_seconds = 3.0 * number
        written_ms = round(1000 * (time.time() - 40 * number))
        scene.receive(audio_record(0)._replace(timestamp_ms=written_ms))
    lag_seconds = value(registry, "audio_lag_seconds")
    assert lag_seconds is not None
    assert 40 <= lag_seconds < 60
    assert value(registry, "unfinal_audio_seconds") == 3.0


def test_slots_are_shown_against_their_number(
    process: Runtime, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = one_slot()
    process._slots["job"] = slots
    holding(process, slots)
    waiting = Scene(process, slots, ScriptedStream())
    waiting.wants_a_stream()
    waiting.tick()
    names = ("live_streams", "sessions_waiting", "stream_ceiling", "stream_slots")
    assert [value(registry, name) for name in names] == [1, 1, 1, 1]
    waited = cast("float", value(registry, "slot_queue_seconds"))
    assert 0 <= waited < 20


def test_lags_are_shown_by_topic_and_partition_and_the_checkpoint_s_age(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert value(registry, "checkpoint_age_seconds") is None, "nothing is read here"
    clock = [100.0]
    group = offsets.GroupOffsets(cast("offsets.ClientConfig", None), "group", lambda: clock[0])
    monkeypatch.setattr(offsets, "_GROUPS", {("config", "group"): group})
    consumer = shared_consumer.SharedConsumer(lambda: None)
    monkeypatch.setattr(shared_consumer, "_SHARED", {"config": consumer})
    consumer._feeds[shared_consumer.TopicPartition("audio", 3)] = Feed(5, 5, time.monotonic(), log_end=12)
    finalize = group.bundle_ended("audio", 3, 0, 5)
    clock[0] = 130.0
    assert value(registry, "kafka_source_lag_records", topic="audio", partition="3") == 7
    assert value(registry, "checkpoint_age_seconds") == 30
    finalize()
    clock[0] = 131.0
    assert value(registry, "checkpoint_age_seconds") == 1
    clock[0] = 191.0
    assert value(registry, "checkpoint_age_seconds") is None, "read no more, by this process"


def test_the_version_is_shown(registry: CollectorRegistry) -> None:
    assert registry.get_sample_value(BUILD_INFO, {"version": "0.1.0"}) == 1


def test_audio_that_was_sent_is_summed_up(process: Runtime, registry: CollectorRegistry) -> None:
    before = value(registry, "audio_sent_bytes_total") or 0, value(registry, "audio_sent_seconds_total") or 0
    scene, _ = holding(process, one_slot())
    stream_of_scene = scene.live._stream
    assert stream_of_scene is not None
    stream_of_scene.send(bytes(1600))
    deadline = time.monotonic() + 20
    while value(registry, "audio_sent_bytes_total") == before[0]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert value(registry, "audio_sent_bytes_total") == before[0] + 1600
    assert value(registry, "audio_sent_seconds_total") == pytest.approx(before[1] + 0.1)
