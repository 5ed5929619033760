"""Alerts that fire on what a worker's own collectors show while the condition is caused in it.

The engine, the shells and the collectors are the real ones; service, delivery and clock are the test's. Each
scrape counts as a minute later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from connectors.kafka import source
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import DeliveryFailed, LostOffsets
from connectors.kafka.reading import offsets, shared_consumer
from connectors.kafka.reading.feed import Feed
from connectors.transcribe.errors import BadRequestError, LimitExceededError, StreamResetError
from pipeline import publishing, transforms
from pipeline.observability.process_metrics import exposition
from pipeline.observability.scraped_metrics import WorkerCollector
from pipeline.output.partition_publisher import Published
from pipeline.worker.live_streams import Runtime
from tests.deploy.observability.promtool import firing, needs_promtool
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import (
    RATE,
    audio_record,
    chunk_record,
    kafka_record,
    result,
    word,
)
from tests.pipeline.conftest import stop
from tests.pipeline.output.test_partition_publisher import Clock, ScriptedDelivery, publisher, step
from tests.pipeline.test_transforms import Worker

pytestmark = needs_promtool

Event = Callable[[], object]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    own = Runtime()
    monkeypatch.setattr(transforms, "runtime", lambda: own)
    yield own
    stop(own)


@pytest.fixture
def watched(process: Runtime, tmp_path: Path) -> Callable[..., None]:
    """Asserts that an alert fires when, from the sixth minute on, `event` happens once a minute."""
    looked_up = CollectorRegistry()
    looked_up.register(WorkerCollector(lambda: process))

    def watch(alert: str, event: Event, *, times: int = 1, minutes: int = 20) -> None:
        scrapes = []
        for minute in range(minutes):
            if 5 <= minute < 5 + times:
                event()
            scrapes.append(exposition() + generate_latest(looked_up).decode())
        firing(scrapes, alert, tmp_path, minutes - 1)

    return watch


def a_worker(monkeypatch: pytest.MonkeyPatch, *streams: ScriptedStream, **settings: Any) -> Worker:
    worker = Worker(monkeypatch, *streams)
    worker.settings = replace(worker.settings, **settings)
    worker.fn = worker.restarted()
    return worker


def answered(worker: Worker, stream: ScriptedStream, *answers: Any) -> None:
    """The stream's answers, and the engine's conclusions from them."""
    live = worker.fn._runtime.get(worker.key)
    assert live is not None
    failing = any(isinstance(answer, BaseException) for answer in answers)
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, *answers)
    worker.poll_until(lambda outputs: live.session.last_failure if failing else outputs)


def test_throttled(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime) -> None:
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(audio_record(0))
    watched("MedstreamThrottled", lambda: answered(worker, stream, LimitExceededError("quota")), minutes=10)


def test_sessions_rejected(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime
) -> None:
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(audio_record(0))
    watched("MedstreamSessionsRejected", lambda: answered(worker, stream, BadRequestError("odd")), minutes=10)


def test_dead_letters(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime
) -> None:
    worker = a_worker(monkeypatch)
    watched("MedstreamDeadLetters", lambda: worker.process(kafka_record(0, value=b"junk")), minutes=10)


def test_gaps(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime) -> None:
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(audio_record(0), *(audio_record(number) for number in range(5, 40)))
    watched(
        "MedstreamGaps", lambda: answered(worker, stream, (result("r", word("a", 0.5, 3.0)),)), minutes=10
    )


def test_sessions_waiting_and_audio_lag(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime
) -> None:
    worker = a_worker(monkeypatch, ScriptedStream(), max_live_streams=1, job_id="one slot")
    worker.process(audio_record(0))

    def another() -> None:
        record = kafka_record(1, key=b"session-2", value=chunk_record(0, session_id="session-2"))
        state, timer = type(worker.state)(), type(worker.timer)()
        for records in ([record.as_tuple()], [record._replace(offset=2).as_tuple()]):
            list(worker.fn.process(("session-2", records), state, timer, timer))

    watched("MedstreamSessionsWaiting", another)
    watched("MedstreamAudioLag", another)


def test_reconnect_storm(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime
) -> None:
    """Sessions whose streams break off, three a minute."""

    def break_off() -> None:
        for _ in range(3):
            stream = ScriptedStream()
            worker = a_worker(monkeypatch, stream, job_id=f"job {time.monotonic_ns()}")
            worker.process(audio_record(0))
            answered(worker, stream, StreamResetError("reset"))

    watched("MedstreamReconnectStorm", break_off, times=7, minutes=12)


def test_no_finals(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime) -> None:
    """Audio goes out, a minute of it each minute, and the service says nothing."""
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(audio_record(0))
    live = worker.fn._runtime.get(worker.key)
    assert live is not None
    assert live._stream is not None
    connection = live._stream

    def speak() -> None:
        sent_bytes = sum(map(len, stream.sent))
        connection.send(bytes(2 * 60 * RATE))
        deadline = time.monotonic() + 20
        while sum(map(len, stream.sent)) < sent_bytes + 2 * 60 * RATE:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    watched("MedstreamNoFinals", speak, times=20, minutes=25)


def test_finals_slow(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime) -> None:
    """Finals of audio that was written long ago."""
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(*(audio_record(number) for number in range(30)))
    numbers = iter(range(20))

    def speak() -> None:
        number = next(numbers)
        final = result(f"r{number}", word("a", number / 10, number / 10 + 0.1))
        answered(worker, stream, (final,))

    watched("MedstreamFinalsSlow", speak, times=15)


def test_recognised_nothing(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None], process: Runtime
) -> None:
    """Somebody speaks without an end: partials come for 220 s, and no final comes."""
    stream = ScriptedStream()
    worker = a_worker(monkeypatch, stream)
    worker.process(audio_record(0))
    numbers = count(1)

    def speak_for_five_seconds() -> None:
        worker.process(*(audio_record(next(numbers)) for _ in range(50)))
        said = result("r", word("so", 0.5, 3.0), partial=True)
        process.loop.call_soon_threadsafe(stream.answer, (said,))
        worker.poll_until(len)
        live = worker.fn._runtime.get(worker.key)
        assert live is not None
        worker.poll_until(lambda _: not live._stream or not live._stream.waiting_seconds)

    def speak() -> None:
        for _ in range(4):
            speak_for_five_seconds()

    watched("MedstreamRecognisedNothing", speak, times=11, minutes=22)


def test_publishing_fails(watched: Callable[..., None]) -> None:
    delivery = ScriptedDelivery(fails=[DeliveryFailed("finals", "no answer")] * 12)
    published = publisher(delivery, Clock())
    delivery.gate.clear()
    future = published.submit(step(start=0))

    def let_fail() -> None:
        delivery.gate.set()
        future.result(20)

    watched("MedstreamPublishFailing", let_fail, minutes=10)


def test_publishing_is_slow(watched: Callable[..., None]) -> None:
    watched("MedstreamPublishSlow", lambda: publishing._count(Published(1, 0, 0, 8_000)), times=15)


def test_offsets_lost(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None]) -> None:
    def read(*_: object, **__: object) -> None:
        raise LostOffsets("audio", 7, 10, 50)

    consumer = shared_consumer.SharedConsumer(lambda: None)
    monkeypatch.setattr(consumer, "read", read)
    monkeypatch.setattr(source, "shared_consumer", lambda _config: consumer)
    config = ClientConfig.build("127.0.0.1:1")
    reader = source._ReadPartition(source.SourceOptions(config, ("audio",)))

    def fail() -> None:
        with pytest.raises(LostOffsets):
            reader._read("audio", 7, 10, 1_000)

    watched("MedstreamOffsetsLost", fail, minutes=10)


def test_reading_falls_behind(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None]) -> None:
    consumer = shared_consumer.SharedConsumer(lambda: None)
    monkeypatch.setattr(shared_consumer, "_SHARED", {"config": consumer})
    feed = Feed(5, 5, time.monotonic(), log_end=900)
    consumer._feeds[shared_consumer.TopicPartition("audio", 3)] = feed

    def write() -> None:
        feed.log_end = (feed.log_end or 0) + 300

    watched("MedstreamReadLagGrows", write, times=40, minutes=35)


def test_no_checkpoint(monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None]) -> None:
    clock = [0.0]
    group = offsets.GroupOffsets(cast("ClientConfig", None), "group", lambda: clock[0])
    monkeypatch.setattr(offsets, "_GROUPS", {("config", "group"): group})
    places = iter(range(100))

    def read_on() -> None:
        clock[0] += 60
        place = next(places)
        group.bundle_ended("audio", 0, place, place + 1)

    read_on()
    watched("MedstreamCheckpointOld", read_on, times=15)


def test_nobody_reads(watched: Callable[..., None]) -> None:
    """The workers are there, and their sources were polled once and no more."""
    watched("MedstreamNotReading", lambda: None)
