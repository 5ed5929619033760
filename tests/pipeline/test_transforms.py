"""The Beam shells without a runner: keys, stages, and a step with state and timer in the test's hands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory

import schemas
from connectors.kafka.client import ClientConfig
from connectors.kafka.records import KafkaRecord
from connectors.transcribe.errors import BadRequestError
from pipeline import elements, transforms
from pipeline.keying import DEAD_LETTERS, KeyBySession
from pipeline.observability import process_metrics
from pipeline.output.outputs import stage_of
from pipeline.output.progress import Opening, SessionProgress, SessionStep, publish
from pipeline.output.unfinished_sessions import UnfinishedSessions
from pipeline.settings import JobSettings, Topics
from pipeline.transforms import PARTIALS, STEPS, TranscribeFn
from pipeline.worker.live_streams import Runtime
from pipeline.worker.service import ServiceSettings
from schemas.errors import RegistryUnavailable
from schemas.serde import SingleObjectSerde
from tests.fakes.audio_log import HeldLog
from tests.fakes.transcribe_stream import ScriptedService, ScriptedStream
from tests.pipeline.builders import audio_record, chunk_record, kafka_record, result, word

ERROR_CLASSES = [
    value
    for name, value in vars(elements).items()
    if name.isupper() and value == name and name != elements.LOST_OFFSETS
]


class Cell:
    """A `ReadModifyWriteState`; `writes` counts what Beam would have to persist."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.writes = 0
        self.reads = 0

    def read(self) -> bytes | None:
        self.reads += 1
        return self.value

    def write(self, value: bytes) -> None:
        self.writes += 1
        self.value = value

    def clear(self) -> None:
        self.value = None


class Timer:
    """A processing-time timer; `set_at` are the moments it was set for."""

    def __init__(self) -> None:
        self.set_at: list[float] = []

    def set(self, moment: Any) -> None:
        self.set_at.append(float(moment))

    def clear(self) -> None:
        self.set_at.clear()


SETTINGS = JobSettings(
    ClientConfig.build("127.0.0.1:1"),
    Topics("audio", "finals", "letters", partials="partials"),
    ServiceSettings("us-east-1"),
    catch_up_rate=0.0,
)


class Worker:
    """A `TranscribeFn` as a worker holds it, for one session."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *streams: ScriptedStream, stop_at: str | None = None
    ) -> None:
        self.log = HeldLog()
        self.service = ScriptedService(streams)
        monkeypatch.setattr(transforms, "audio_log", lambda _config: self.log)
        monkeypatch.setattr(ServiceSettings, "open_stream", self._open)
        self.settings = replace(SETTINGS, job_id=str(uuid.uuid4()), stop_at=stop_at)
        self.markers: list[SessionProgress] = []  # as a worker that begins finds them
        monkeypatch.setattr(
            transforms, "unfinished_sessions", lambda settings: UnfinishedSessions(settings, self.markers)
        )
        self.state, self.timer, self.end = Cell(), Timer(), Timer()
        self.fn = self.restarted()

    async def _open(self, *request: Any) -> ScriptedStream:
        return await self.service.open_stream(*request[-3:])

    def restarted(self) -> TranscribeFn:
        fn = TranscribeFn(self.settings)
        fn.setup()
        fn.start_bundle()
        return fn

    def process(self, *records: KafkaRecord) -> list[TaggedOutput]:
        batch = ("session-1", [record.as_tuple() for record in records])
        return list(self.fn.process(batch, self.state, self.timer, self.end))

    def poll_until(self, condition: Callable[[list[TaggedOutput]], object]) -> list[TaggedOutput]:
        found: list[TaggedOutput] = []
        deadline = time.monotonic() + 20
        while not condition(found):
            assert time.monotonic() < deadline, "nothing happened"
            found += self.fn.on_poll("session-1", self.state, self.timer, self.end)
            time.sleep(0.005)
        return found

    @property
    def key(self) -> tuple[str, str]:
        return self.settings.job_id, "session-1"


@pytest.fixture
def counted() -> Iterator[MetricsContainer]:
    """What a runner would see of the metrics of one step."""
    container = MetricsContainer("step")
    sampler = statesampler.StateSampler("", CounterFactory())
    statesampler.set_current_tracker(sampler)
    sampler.start()
    with sampler.scoped_state("step", "process", metrics_container=container):
        yield container
    sampler.stop()
    statesampler.set_current_tracker(None)


def counters(container: MetricsContainer) -> dict[str, int]:
    return {key.metric.name: value for key, value in container.get_cumulative().counters.items() if value}


def distributions(container: MetricsContainer) -> dict[str, Any]:
    return {key.metric.name: value for key, value in container.get_cumulative().distributions.items()}


def gauges(container: MetricsContainer) -> dict[str, int | None]:
    return {key.metric.name: value.value for key, value in container.get_cumulative().gauges.items()}


@pytest.fixture
def stream() -> ScriptedStream:
    return ScriptedStream()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, stream: ScriptedStream, process: Runtime) -> Worker:
    monkeypatch.setattr(transforms, "runtime", lambda: process)
    return Worker(monkeypatch, stream, ScriptedStream(), ScriptedStream())


def steps_of(outputs: list[TaggedOutput]) -> list[SessionStep]:
    return [SessionStep.from_tuple(output.value) for output in outputs if output.tag == STEPS]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch, stream: ScriptedStream, process: Runtime) -> Worker:
    """A worker of a bounded job."""
    monkeypatch.setattr(transforms, "runtime", lambda: process)
    return Worker(monkeypatch, stream, stop_at="end")


def decoded(schema: str, output: TaggedOutput) -> dict[str, Any]:
    return SingleObjectSerde(schema).decode(output.value[1])


# Keys


def test_records_are_keyed_by_their_session() -> None:
    fn = KeyBySession(SETTINGS)
    fn.setup()
    records = [audio_record(0).as_tuple(), audio_record(1).as_tuple()]
    assert list(fn.process((b"session-1", records))) == [("session-1", records)]


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_records_without_a_usable_key_are_dead_letters_one_by_one(key: bytes | None) -> None:
    fn = KeyBySession(SETTINGS)
    fn.setup()
    records = [kafka_record(n, value=b"v%d" % n, key=key).as_tuple() for n in range(2)]
    found = list(fn.process((key, records)))
    assert [output.tag for output in found] == [DEAD_LETTERS] * 2
    letters = [decoded("dead_letter", output) for output in found]
    assert [(letter["offset"], letter["key"], letter["value"]) for letter in letters] == [
        (0, key, b"v0"),
        (1, key, b"v1"),
    ]
    assert {letter["error_class"] for letter in letters} == {elements.MISSING_KEY}


def test_records_without_a_usable_key_are_counted(counted: MetricsContainer) -> None:
    fn = KeyBySession(SETTINGS)
    fn.setup()
    before = shown("dead_letters_total", reason="MISSING_KEY")
    assert len(list(fn.process((b"", [kafka_record(n, key=None).as_tuple() for n in range(2)])))) == 2
    assert counters(counted) == {"dead_letters": 2}
    assert shown("dead_letters_total", reason="MISSING_KEY") == before + 2


def shown(name: str, **labels: str) -> float:
    """A series of this process as Prometheus reads it."""
    return process_metrics.REGISTRY.get_sample_value(f"medstream_{name}", labels) or 0.0


def test_every_error_class_has_a_stage_of_the_schema() -> None:
    stages = next(f for f in schemas.load("dead_letter")["fields"] if f["name"] == "stage")["type"]["symbols"]
    assert len(ERROR_CLASSES) >= 10
    assert {stage_of(error_class) for error_class in ERROR_CLASSES} <= set(stages) - {"UNKNOWN"}
    given_up = (elements.SESSION_REFUSED, elements.RETRIES_EXHAUSTED)
    assert {stage_of(error_class) for error_class in given_up} == {"TRANSCRIBE"}


# One session, step by step


def test_a_session_s_first_chunk_writes_its_cursor_and_sets_its_timer(worker: Worker) -> None:
    before = time.time()
    (opened,) = steps_of(worker.process(audio_record(0)))
    assert (opened.opening, opened.finals, opened.ended) == (Opening("audio", "", 0, 0), (), None)
    assert opened.cursor == worker.state.value, "a job without checkpoint goes on from the same"
    assert worker.state.writes == 1
    assert SingleObjectSerde("session_cursor").decode(worker.state.value or b"")["version"] == 1
    (due,) = worker.timer.set_at
    assert before < due < before + 5.0


def test_further_chunks_neither_write_nor_read_state(worker: Worker) -> None:
    worker.process(audio_record(0))
    reads = worker.state.reads
    for number in range(1, 20):
        worker.process(audio_record(number))
    assert (worker.state.writes, worker.state.reads) == (1, reads)


def test_a_final_is_published_and_its_cursor_written_in_the_same_step(
    worker: Worker, stream: ScriptedStream
) -> None:
    worker.process(audio_record(0), audio_record(1))
    partial = result("r1", word("hello", 0.0, 0.1), partial=True)
    final = result("r1", word("hello", 0.0, 0.15))
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (partial,), (final,))
    found = worker.poll_until(steps_of)
    assert [output.tag for output in found] == [PARTIALS, STEPS]
    (step,) = steps_of(found)
    assert [final["result_id"] for final in step.finals] == ["r1"]
    assert step.cursor == worker.state.value
    assert worker.state.writes == 2


def test_with_a_masked_topic_every_stream_identifies_phi_whatever_the_session_says(worker: Worker) -> None:
    """Neither a chunk's settings nor the cursor of a job that had no such topic can turn it off."""
    worker.log.records += [audio_record(0), audio_record(1)]
    worker.process(audio_record(0))
    worker.poll_until(lambda _: worker.service.requests)
    worker.fn._runtime.remove(worker.key)
    masked = replace(worker.settings.topics, masked="masked")
    worker.settings = replace(worker.settings, topics=masked)
    worker.fn = worker.restarted()
    worker.process(audio_record(1))
    worker.log.answer()
    worker.poll_until(lambda _: len(worker.service.requests) == 2)
    worker.fn._runtime.remove(worker.key)
    worker.state.value = None
    worker.process(audio_record(0, settings={"content_identification_type": "NONE"}))
    worker.poll_until(lambda _: len(worker.service.requests) == 3)
    asked = [settings.content_identification_type for _, settings, _ in worker.service.requests]
    assert asked == [None, "PHI", "PHI"]


def test_bad_records_before_the_first_chunk_open_no_session(worker: Worker) -> None:
    junk = kafka_record(0, value=b"junk")
    (letter,) = worker.process(junk)
    assert letter.tag == DEAD_LETTERS
    assert decoded("dead_letter", letter)["value"] == b"junk"
    assert worker.state.value is None
    letter, opened = worker.process(kafka_record(1, value=b"junk"), audio_record(2))
    assert opened.tag == STEPS
    assert decoded("dead_letter", letter)["offset"] == 1
    assert worker.state.writes == 1


def test_an_ended_session_is_published_and_in_time_forgotten(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = steps_of(worker.process(audio_record(0, payload=b"", end_of_session=True)))
    assert step.ended is not None
    assert step.ended["reason"] == "END_OF_SESSION"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10_000)
    assert list(worker.fn.on_poll("session-1", worker.state, worker.timer, worker.end)) == []
    assert worker.state.value is None
    assert worker.fn._runtime.get(worker.key) is None


# A job without checkpoint


def test_a_session_without_state_goes_on_from_its_marker(worker: Worker, stream: ScriptedStream) -> None:
    worker.process(audio_record(0), audio_record(1), audio_record(2))
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (result("r1", word("a", 0.0, 0.15)),))
    (step,) = steps_of(worker.poll_until(steps_of))
    marker = publish(None, step, 0).progress
    assert marker is not None
    worker.markers = [marker]
    worker.fn._runtime.remove(worker.key)
    worker.state, worker.fn = Cell(), worker.restarted()
    (again,) = steps_of(worker.process(audio_record(3)))
    assert again.opening == step.opening, "the same life, although its first record was not seen"
    assert (again.resume_offset, again.covered_sample) == (step.resume_offset, step.covered_sample)


def test_a_marker_is_no_use_for_records_of_another_partition_or_a_later_life(worker: Worker) -> None:
    (step,) = steps_of(worker.process(audio_record(0, payload=b"", end_of_session=True)))
    marker = publish(None, step, 0).progress
    assert marker is not None
    found = UnfinishedSessions(worker.settings, [marker])
    assert found.take(kafka_record(marker.resume_offset, value=b""), "session-1") is None, "it had ended"
    found = UnfinishedSessions(worker.settings, [marker])
    assert found.take(kafka_record(0, value=b""), "session-1") == marker, "read once more"
    assert found.take(kafka_record(0, value=b""), "session-1") is None, "each is good for one use"
    elsewhere = UnfinishedSessions(worker.settings, [marker])
    assert elsewhere.take(kafka_record(0, value=b"")._replace(partition=1), "session-1") is None
    anew = UnfinishedSessions(replace(worker.settings, audio_topic_id="created anew"), [marker])
    assert anew.take(kafka_record(0, value=b""), "session-1") is None


def test_at_the_end_of_input_a_timer_in_event_time_takes_over_until_the_session_is_over(
    replay: Worker, stream: ScriptedStream
) -> None:
    stream.ends_by_itself = False
    replay.process(audio_record(0), audio_record(1, end_of_session=True))
    assert len(replay.end.set_at) == 1
    replay.timer.set(5)
    replay.fn._runtime.loop.call_soon_threadsafe(stream.answer, (result("r1", word("a", 0.0, 0.2)),), None)
    found: list[TaggedOutput] = []
    deadline = time.monotonic() + 20
    while replay.end.set_at:
        assert time.monotonic() < deadline, "the session did not end"
        replay.end.clear()  # it fires
        found += replay.fn.on_end_of_input("session-1", replay.state, replay.timer, replay.end)
        assert replay.timer.set_at == []
    assert sum(len(step.finals) for step in steps_of(found)) == 1
    assert steps_of(found)[-1].ended is not None


def test_a_session_that_is_forgotten_leaves_no_timer(replay: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    replay.process(audio_record(0, payload=b"", end_of_session=True))
    assert replay.end.set_at
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10_000)
    list(replay.fn.on_poll("session-1", replay.state, replay.timer, replay.end))
    assert replay.end.set_at == []


def test_when_a_live_job_is_drained_its_sessions_come_to_rest_unfinished(
    worker: Worker, stream: ScriptedStream
) -> None:
    stream.ends_by_itself = False
    worker.process(audio_record(0))
    worker.process(audio_record(1))
    assert len(worker.end.set_at) == 1
    worker.timer.set(5)
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (), None)
    found: list[TaggedOutput] = []
    deadline = time.monotonic() + 20
    while worker.end.set_at:
        assert time.monotonic() < deadline, "the session did not come to rest"
        worker.end.clear()  # it fires
        found += worker.fn.on_end_of_input("session-1", worker.state, worker.timer, worker.end)
    assert worker.timer.set_at == [], "no timer is left that the runner would wait for"
    assert all(step.ended is None for step in steps_of(found)), "it goes on with the next job"
    assert worker.state.read() is not None


# Metrics


def test_what_happens_to_a_session_is_counted(
    worker: Worker, stream: ScriptedStream, counted: MetricsContainer
) -> None:
    worker.process(audio_record(0), audio_record(1), kafka_record(2, value=chunk_record(1)))
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (result("r1", word("a", 0.0, 0.15)),))
    worker.poll_until(steps_of)
    assert counters(counted) == {"sessions_opened": 1, "streams_opened": 1, "duplicate_chunks": 1}


def test_waits_and_buffers_are_measured_in_milliseconds(worker: Worker, counted: MetricsContainer) -> None:
    worker.process(audio_record(0))
    worker.process(audio_record(1))
    found = distributions(counted)
    assert found["slot_wait_ms"].count == 1
    assert found["slot_wait_ms"].max < 1000
    assert 0 <= found["outbound_ms"].max <= 100


def test_the_slots_of_the_process_are_shown(worker: Worker, counted: MetricsContainer) -> None:
    worker.process(audio_record(0))
    assert gauges(counted) == {"live_streams": 1, "sessions_waiting": 0, "stream_ceiling": 25}


def test_the_bounds_of_the_job_are_those_of_its_slots(worker: Worker) -> None:
    worker.settings = replace(
        worker.settings, job_id="another", max_live_streams=3, max_stream_opens_per_second=2
    )
    worker.fn = worker.restarted()
    assert worker.fn._slots.levels.ceiling == 3
    assert worker.restarted()._slots is worker.fn._slots


def test_a_session_that_the_service_refuses_is_counted_as_rejected(
    worker: Worker, stream: ScriptedStream, counted: MetricsContainer
) -> None:
    before = (
        shown("stream_retries_total", cause="request"),
        shown("dead_letters_total", reason="SESSION_REFUSED"),
    )
    worker.process(audio_record(0))
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, BadRequestError("odd"))
    worker.poll_until(lambda outputs: any(step.ended for step in steps_of(outputs)))
    found = counters(counted)
    assert (found["sessions_rejected"], found["stream_retries"], found["dead_letters"]) == (1, 1, 1)
    after = (
        shown("stream_retries_total", cause="request"),
        shown("dead_letters_total", reason="SESSION_REFUSED"),
    )
    assert after == (before[0] + 1, before[1] + 1)


# Recovery


def test_a_session_that_this_process_does_not_have_is_restored_from_its_cursor(worker: Worker) -> None:
    worker.process(audio_record(0))
    worker.fn._runtime.remove(worker.key)
    worker.process(audio_record(1))
    (read,) = worker.log.reads
    assert read.start_offset == 0
    assert worker.fn._runtime.get(worker.key) is not None


def test_a_live_session_ahead_of_its_restored_state_is_dropped(
    worker: Worker, stream: ScriptedStream
) -> None:
    worker.process(audio_record(0), audio_record(1))
    checkpoint = worker.state.value
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (result("r1", word("a", 0.0, 0.15)),))
    worker.poll_until(lambda outputs: outputs)
    ahead = worker.fn._runtime.get(worker.key)
    worker.state.value = checkpoint
    worker.fn.start_bundle()
    worker.process(audio_record(0))
    assert worker.fn._runtime.get(worker.key) is not ahead
    assert worker.log.reads[0].start_offset == 0


def test_a_live_session_of_another_worker_s_past_is_dropped_though_versions_agree(worker: Worker) -> None:
    """The key moved away and came back: there the state went on, and counted its writes as this one did."""
    worker.process(audio_record(0))
    left_behind = worker.fn._runtime.get(worker.key)
    serde = SingleObjectSerde("session_cursor")
    elsewhere = serde.decode(worker.state.value or b"") | {"next_segment_index": 7}
    worker.state.value = serde.encode(elsewhere)
    worker.fn.start_bundle()
    worker.process(audio_record(1))
    assert worker.fn._runtime.get(worker.key) is not left_behind


def test_a_live_session_that_agrees_with_its_state_stays(worker: Worker) -> None:
    worker.process(audio_record(0))
    live = worker.fn._runtime.get(worker.key)
    worker.fn = worker.restarted()
    worker.process(audio_record(1))
    assert worker.fn._runtime.get(worker.key) is live
    assert worker.log.reads == []


def test_a_live_session_whose_opening_was_never_committed_begins_anew(worker: Worker) -> None:
    worker.process(audio_record(0))
    live = worker.fn._runtime.get(worker.key)
    worker.state.clear()
    worker.fn.start_bundle()
    worker.process(audio_record(0))
    assert worker.fn._runtime.get(worker.key) is not live
    assert worker.state.writes == 2


# A step that fails half way


@pytest.mark.parametrize("broken", ["decode", "encode"])
def test_a_session_whose_step_failed_begins_again_from_its_state(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, process: Runtime, broken: str
) -> None:
    """The registry is away in the middle of a bundle, which is then repeated."""

    def fail(*_: object) -> None:
        raise RegistryUnavailable("http://registry", "it is away")

    worker.process(audio_record(0))
    with monkeypatch.context() as patched:
        if broken == "decode":
            patched.setattr(worker.fn._decoder, "_decode", fail)
        else:
            patched.setattr(worker.fn._encoder, "dead_letter", fail)
        with pytest.raises(RegistryUnavailable):
            worker.process(kafka_record(1, value=b"no chunk", key=b"session-1"))
    assert process.get(worker.key) is None
    worker.fn.start_bundle()
    again = worker.process(kafka_record(1, value=b"no chunk", key=b"session-1"))
    assert [output.tag for output in again] == [DEAD_LETTERS, STEPS]
