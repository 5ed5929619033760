"""What the shell does around each call of the engine, scripted here: slots, held records, metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import cast

import pytest

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.records import NO_TIMESTAMP, KafkaRecord
from connectors.transcribe.errors import LimitExceededError, StreamResetError
from pipeline.audio.decoding import ChunkDecoder
from pipeline.elements import FinalTranscript, SessionSettings, SourceRange
from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import (
    Command,
    DropStream,
    EmitFinal,
    EndStream,
    Observe,
    OpenStream,
    ReadLog,
    SendAudio,
)
from pipeline.engine.failures import FailureKind
from pipeline.engine.session import Session
from pipeline.worker import live_session
from pipeline.worker.live_outputs import Measured, Output
from pipeline.worker.live_session import LiveSession
from pipeline.worker.live_streams import Runtime
from pipeline.worker.service import ServiceSettings
from pipeline.worker.shared_slots import SharedSlots
from tests.fakes.audio_log import HeldLog
from tests.fakes.scripted_engine import ScriptedEngine
from tests.fakes.transcribe_stream import ScriptedService, ScriptedStream
from tests.pipeline.builders import FORMAT, audio_record, entry
from tests.pipeline.scenes import opened, spoken

OPEN = OpenStream(1, FORMAT, SessionSettings())


class Scene:
    """A live session whose engine, service and log are in the test's hands."""

    def __init__(
        self,
        process: Runtime,
        slots: SharedSlots | None,
        *streams: ScriptedStream | BaseException,
        name: str = "session-1",
    ) -> None:
        self.engine = ScriptedEngine()
        self.log = HeldLog()
        self.outputs: list[Output] = []
        self.live = LiveSession(
            cast("Session", self.engine),
            service=cast("ServiceSettings", ScriptedService(streams)),
            log=cast("AudioLog", self.log),
            topic="audio",
            decoder=ChunkDecoder(),
            loop=process.loop,
            catch_up_rate=0.0,
            slots=slots,
        )
        process.put(("job", name), self.live)

    def wants_a_stream(self) -> None:
        self.engine.needs = True
        self.engine.answers["slot_granted"] = [OPEN]

    def tick(self) -> list[Output]:
        self.outputs += (found := self.live.handle_timer(time.monotonic()))
        return found

    def tick_until(self, condition: Callable[[], object]) -> None:
        until(lambda: self.tick() is not None and condition())

    def receive(self, *records: KafkaRecord) -> list[Output]:
        return self.live.receive(records, time.monotonic())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def one_slot() -> SharedSlots:
    return SharedSlots(1, 1000.0)


def holding(process: Runtime, slots: SharedSlots, *more: ScriptedStream) -> tuple[Scene, ScriptedStream]:
    """A session with an accepted stream in its slot."""
    stream = ScriptedStream()
    scene = Scene(process, slots, stream, *more, name="holder")
    scene.wants_a_stream()
    scene.tick_until(lambda: "stream_opened" in scene.engine.calls)
    return scene, stream


# Getting a slot


def test_the_slot_is_granted_before_the_event_that_finds_it_free(process: Runtime) -> None:
    scene = Scene(process, one_slot(), ScriptedStream())
    scene.wants_a_stream()
    scene.tick()
    assert scene.engine.calls == ["slot_granted", "handle_timer"]
    assert scene.live.streaming


def test_a_batch_that_arrives_may_be_the_reason_to_ask(process: Runtime) -> None:
    scene = Scene(process, one_slot(), ScriptedStream())
    scene.engine.needs_on_arrival = True
    scene.engine.answers["receive_batch"] = [OPEN, SendAudio(1, b"\0\0")]
    scene.receive(audio_record(0))
    assert scene.engine.calls == ["slot_granted", "receive_batch"]
    assert scene.live.streaming


def test_without_slots_every_stream_is_granted(process: Runtime) -> None:
    scenes = [Scene(process, None, ScriptedStream(), name=str(number)) for number in range(3)]
    for scene in scenes:
        scene.wants_a_stream()
        scene.tick()
    assert [scene.live.streaming for scene in scenes] == [True] * 3


def test_who_finds_no_slot_waits_for_one_and_the_wait_is_measured(process: Runtime) -> None:
    slots = one_slot()
    holder, _ = holding(process, slots)
    waiting = Scene(process, slots, ScriptedStream())
    waiting.wants_a_stream()
    assert waiting.tick() == []
    assert waiting.engine.calls == ["handle_timer"]
    assert slots.levels.waiting == 1
    time.sleep(0.02)
    holder.engine.answers["handle_timer"] = [EndStream(1)]
    holder.tick_until(lambda: "stream_closed" in holder.engine.calls)
    waiting.tick_until(lambda: waiting.live.streaming)
    (wait,) = [o for o in waiting.outputs if isinstance(o, Measured) and o.name == "slot_wait_ms"]
    assert wait.value >= 20


def test_a_session_that_needs_a_stream_no_more_leaves_the_queue(process: Runtime) -> None:
    slots = one_slot()
    holding(process, slots)
    waiting = Scene(process, slots)
    waiting.wants_a_stream()
    waiting.tick()
    assert slots.levels.waiting == 1
    waiting.engine.needs = False
    waiting.tick()
    assert slots.levels.waiting == 0


# Giving it back


def test_a_lost_stream_s_slot_comes_back_when_its_connection_is_closed(process: Runtime) -> None:
    slots = one_slot()
    scene, stream = holding(process, slots)
    stream.close_seconds = 0.2
    scene.engine.answers["handle_timer"] = [DropStream(1)]
    scene.engine.holds = False
    scene.tick()
    assert not scene.live.streaming
    assert slots.levels.live == 1
    scene.wants_a_stream()
    scene.tick()
    assert slots.levels.waiting == 1, "it queues anew, at the end"
    until(stream.closed.is_set)
    until(lambda: slots.levels.live == 0)


def test_a_slot_that_was_granted_for_nothing_comes_back_at_once(process: Runtime) -> None:
    slots = one_slot()
    scene = Scene(process, slots)
    scene.engine.needs_on_arrival = True
    scene.engine.holds_after["receive_batch"] = False
    scene.receive(audio_record(0))
    assert slots.levels.live == 0


def test_a_rotating_session_keeps_its_slot(process: Runtime) -> None:
    slots = one_slot()
    second = ScriptedStream()
    scene, first = holding(process, slots, second)
    others = Scene(process, slots)
    others.wants_a_stream()
    others.tick()
    scene.engine.answers["handle_timer"] = [EndStream(1)]
    scene.engine.answers["stream_closed"] = [OpenStream(2, FORMAT, SessionSettings())]
    scene.engine.holds_after["stream_closed"] = True
    scene.tick_until(lambda: scene.engine.calls.count("stream_opened") == 2)
    others.tick()
    assert first.closed.is_set()
    assert (slots.levels.live, slots.levels.waiting) == (1, 1)
    assert not others.live.streaming


@pytest.mark.parametrize("way", ["remove", "put"])
def test_a_dropped_session_gives_back_its_slot(process: Runtime, way: str) -> None:
    slots = one_slot()
    _, stream = holding(process, slots)
    if way == "remove":
        process.remove(("job", "holder"))
    else:
        Scene(process, slots, name="holder")
    until(lambda: slots.levels.live == 0)
    assert stream.closed.is_set()


def test_a_dropped_session_gives_back_its_place_in_the_queue(process: Runtime) -> None:
    slots = one_slot()
    holding(process, slots)
    waiting = Scene(process, slots)
    waiting.wants_a_stream()
    waiting.tick()
    process.remove(("job", "session-1"))
    assert slots.levels.waiting == 0


def test_a_dropped_session_that_is_called_once_more_takes_no_slot(process: Runtime) -> None:
    slots = one_slot()
    scene = Scene(process, slots, ScriptedStream())
    process.remove(("job", "session-1"))
    scene.wants_a_stream()
    scene.tick()
    assert (slots.levels.live, slots.levels.waiting) == (0, 0)
    assert not scene.live.streaming


def test_who_waits_for_a_slot_is_an_orphan_as_soon_as_who_has_one(process: Runtime) -> None:
    slots = one_slot()
    holding(process, slots)
    waiting = Scene(process, slots)
    later = waiting.live.touched_at + live_session.ORPHAN_SECONDS + 1
    assert not waiting.live.orphaned(later)
    waiting.wants_a_stream()
    waiting.tick()
    assert waiting.live.orphaned(later)


def test_the_slots_of_a_job_are_the_same_for_all_its_sessions(process: Runtime) -> None:
    slots = process.slots("job", 7, 3.0)
    assert process.slots("job", 7, 3.0) is slots
    assert process.slots("another", 7, 3.0) is not slots
    assert slots.levels.ceiling == 7


# Throttling


def test_a_throttled_opening_lowers_the_ceiling_and_reaches_the_engine(process: Runtime) -> None:
    slots = SharedSlots(5, 1000.0)
    holding(process, slots)
    scene = Scene(process, slots, LimitExceededError("too many"))
    scene.wants_a_stream()
    scene.tick()
    until(lambda: slots.levels.ceiling == 1)
    scene.tick_until(lambda: scene.engine.failed_with)
    assert scene.engine.failed_with == [
        StreamFailure("LimitExceededException", "too many", True, FailureKind.THROTTLED)
    ]
    until(lambda: slots.levels.live == 1)


def test_other_failures_leave_the_ceiling_alone(process: Runtime) -> None:
    slots = SharedSlots(5, 1000.0)
    scene = Scene(process, slots, StreamResetError("reset"))
    scene.wants_a_stream()
    scene.tick()
    scene.tick_until(lambda: scene.engine.failed_with)
    assert slots.levels.ceiling == 5


# Records for dead letters


def test_records_of_held_chunks_stay_at_hand_until_they_are_held_no_more(process: Runtime) -> None:
    scene = Scene(process, None)
    records = [audio_record(number) for number in range(3)]
    scene.engine.held_offsets = (1, 2)
    scene.receive(*records)
    scene.receive(audio_record(3))
    assert [scene.live.record(offset) for offset in range(3)] == [None, *records[1:]]
    scene.engine.held_offsets = (2, 77)
    scene.tick()
    assert [scene.live.record(offset) for offset in range(4)] == [None, None, records[2], None]


def test_records_from_the_log_are_kept_while_they_are_held(process: Runtime) -> None:
    scene = Scene(process, None)
    scene.log.records = [audio_record(number) for number in range(3)]
    scene.engine.answers["handle_timer"] = [ReadLog(1, 0, 3, 10_000)]
    scene.tick()
    scene.log.answer()
    scene.engine.held_offsets = (2,)
    scene.tick()
    scene.tick()
    assert scene.live.record(2) == scene.log.records[2]
    assert scene.live.record(1) is None


# Metrics


def test_what_the_engine_observes_is_handed_on(process: Runtime) -> None:
    scene = Scene(process, None)
    scene.engine.answers["handle_timer"] = [Observe("gaps", 1), Observe("gap_ms", 1500)]
    assert scene.tick() == [Observe("gaps", 1), Observe("gap_ms", 1500)]


def test_audio_that_waits_for_the_wire_is_sampled_once_a_second(process: Runtime) -> None:
    scene = Scene(process, None, ScriptedStream())
    scene.wants_a_stream()
    scene.tick()
    start = time.monotonic() + 10.0
    sampled = []
    for step in range(20):
        outputs = scene.live.handle_timer(start + step * 0.1)
        sampled += [o.value for o in outputs if isinstance(o, Measured) and o.name == "outbound_ms"]
    assert sampled == [0, 0]


# What Prometheus is shown


def aged(number: int, seconds: float) -> KafkaRecord:
    """Chunk `number`, written so long ago."""
    return audio_record(number)._replace(timestamp_ms=round(1000 * (time.time() - seconds)))


def now_ms() -> int:
    return round(1000 * time.time())


def test_audio_that_waits_in_the_log_lags_by_its_age(process: Runtime) -> None:
    scene = Scene(process, None)
    assert scene.live.lag_seconds(now_ms()) == 0
    scene.engine.behind = True
    scene.receive(aged(0, 30), aged(1, 29))
    scene.receive(aged(2, 28))
    assert 30 <= scene.live.lag_seconds(now_ms()) < 60, "the oldest counts"
    scene.engine.behind = False
    scene.receive(aged(3, 27))
    assert scene.live.lag_seconds(now_ms()) == 0


def test_what_was_read_from_the_log_lags_no_more(process: Runtime) -> None:
    scene = Scene(process, None)
    scene.engine.behind = True
    scene.receive(aged(0, 500))
    scene.log.records = [aged(0, 500), aged(1, 100)]
    scene.engine.answers["handle_timer"] = [ReadLog(1, 0, 2, 10_000)]
    scene.tick()
    scene.log.answer()
    scene.tick()
    assert 100 <= scene.live.lag_seconds(now_ms()) < 200


def test_a_record_without_timestamp_begins_to_lag_when_it_is_seen(process: Runtime) -> None:
    scene = Scene(process, None)
    scene.engine.behind = True
    scene.receive(audio_record(0)._replace(timestamp_ms=NO_TIMESTAMP))
    assert 0 <= scene.live.lag_seconds(now_ms()) < 10


def test_a_final_s_way_from_the_last_word_is_measured() -> None:
    """In the engine, with chunks that say when they were captured, or were written at some time."""
    session = opened(0)
    captured_ms = now_ms() - 8_000
    session.receive_batch(
        [entry(0, captured_at_ms=captured_ms), entry(1, written_at_ms=captured_ms + 350)], 0.0
    )
    (of_capture,) = finals_of(session.receive_results(1, [spoken("a", 0.0, 0.05)], 1.0))
    assert of_capture.spoken_at_ms == captured_ms + 50
    (of_record,) = finals_of(session.receive_results(1, [spoken("b", 0.1, 0.15)], 1.0))
    assert of_record.spoken_at_ms == captured_ms + 300, "the chunk ended 50 ms later, when it was written"


def test_the_measured_latency_goes_before_its_final(process: Runtime) -> None:
    scene = Scene(process, None)
    final = a_final(spoken_at_ms=now_ms() - 2_000)
    scene.engine.answers["handle_timer"] = [EmitFinal(final)]
    latency, emitted = scene.tick()
    assert emitted == EmitFinal(final)
    assert isinstance(latency, Measured)
    assert (latency.name, latency.value >= 1_900) == ("final_latency_ms", True)
    scene.engine.answers["handle_timer"] = [EmitFinal(a_final(spoken_at_ms=now_ms() + 60_000))]
    assert scene.tick()[0] == Measured("final_latency_ms", 0), "a producer's clock may be ahead"
    scene.engine.answers["handle_timer"] = [EmitFinal(a_final(spoken_at_ms=None))]
    assert len(scene.tick()) == 1, "nothing is known of it"


def a_final(spoken_at_ms: int | None) -> FinalTranscript:
    return FinalTranscript(
        session_id="session-1",
        result_id="r",
        segment_index=0,
        channel_id=None,
        start_time=0.0,
        end_time=1.0,
        alternatives=(),
        settings=SessionSettings(),
        sample_rate_hertz=8000,
        source=SourceRange("audio", 0, 0, 1),
        stream_id="stream",
        spoken_at_ms=spoken_at_ms,
    )


def finals_of(commands: Iterable[Command]) -> list[FinalTranscript]:
    return [command.final for command in commands if isinstance(command, EmitFinal)]
