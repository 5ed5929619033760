"""The process's registry, and live sessions on a scripted service and a log in the test's hands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.errors import ReadFailed
from connectors.kafka.records import KafkaRecord
from connectors.transcribe.errors import LimitExceededError, StreamResetError
from pipeline.audio.decoding import ChunkDecoder
from pipeline.elements import AFTER_END_OF_SESSION, NOT_AVRO, SessionSettings
from pipeline.engine.commands import EmitFinal, EmitSessionEnded, Forget, Reject
from pipeline.engine.cursor import SessionCursor
from pipeline.engine.session import Session, opening_cursor
from pipeline.engine.session_state import SessionState
from pipeline.engine.timeline import Position
from pipeline.worker import live_session, live_streams
from pipeline.worker.live_outputs import FailureReport, Measured, Output
from pipeline.worker.live_session import ORPHAN_SECONDS, LiveSession
from pipeline.worker.live_streams import Runtime, SessionKey, runtime
from pipeline.worker.service import ServiceSettings
from pipeline.worker.shared_slots import SharedSlots
from tests.fakes.audio_log import HeldLog
from tests.fakes.transcribe_stream import ScriptedService, ScriptedStream
from tests.pipeline.builders import (
    BACKOFF_SECONDS,
    CHUNK_SAMPLES,
    FORMAT,
    LIMITS,
    audio_record,
    chunk,
    kafka_record,
    result,
    word,
)

KEY = ("job", "session-1")


class Scene:
    """A live session in a runtime, with its scripted streams and its log; `slots` None: as many as needed."""

    def __init__(
        self,
        process: Runtime,
        *streams: ScriptedStream | BaseException,
        cursor: SessionCursor | None = None,
        log: HeldLog | None = None,
        slots: SharedSlots | None = None,
        key: SessionKey = KEY,
    ) -> None:
        self.process = process
        self.streams = streams
        self.service = ScriptedService(streams)
        self.log = log or HeldLog()
        self.live = LiveSession(
            plain_engine(cursor),
            service=cast("ServiceSettings", self.service),
            log=cast("AudioLog", self.log),
            topic="audio",
            decoder=ChunkDecoder(),
            loop=process.loop,
            catch_up_rate=0.0,
            slots=slots,
        )
        self.outputs: list[Output] = []
        process.put(key, self.live)

    def receive(self, *records: KafkaRecord, now: float = 0.0) -> list[Output]:
        self.outputs += (found := self.live.receive(records, now))
        return found

    def on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Run `call` on the loop and wait for it."""
        done = threading.Event()

        def run() -> None:
            call(*arguments)
            done.set()

        self.process.loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def poll(self, until: Callable[[], object], now: float = 0.0, step_seconds: float = 0.0) -> None:
        """Fire the timer, as Beam does, until the condition holds; each time it is `step_seconds` later."""
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline, "nothing happened"
            self.outputs += self.live.handle_timer(now)
            now += step_seconds
            time.sleep(0.002)

    def found(self, kind: type[Any]) -> list[Any]:
        return [output for output in self.outputs if isinstance(output, kind)]


def plain_engine(cursor: SessionCursor | None) -> Session:
    """A session engine whose slots are its shell's affair; every backoff is two seconds."""
    opening = cursor or opening_cursor(chunk(0), 0, 0, SessionSettings())
    return Session(
        opening,
        session_id="session-1",
        topic="audio",
        limits=LIMITS,
        backoff=lambda _failures: BACKOFF_SECONDS,
        now=0.0,
    )


def spoken(result_id: str, start: float, end: float) -> Any:
    return result(result_id, word(result_id, start, end))


# The registry


def test_a_session_is_found_until_it_is_removed(process: Runtime) -> None:
    assert process.get(KEY) is None
    scene = Scene(process)
    assert process.get(KEY) is scene.live
    assert process.get(("another job", "session-1")) is None
    process.remove(KEY)
    assert process.get(KEY) is None
    process.remove(KEY)


def test_a_removed_session_s_stream_is_given_up(process: Runtime) -> None:
    stream = ScriptedStream()
    scene = Scene(process, stream)
    scene.receive(audio_record(0))
    scene.poll(lambda: stream.sent)
    assert process.live_streams == 1
    process.remove(KEY)
    scene.poll(stream.closed.is_set)
    assert process.live_streams == 0


def test_a_session_put_over_another_drops_the_other_s_stream(process: Runtime) -> None:
    stream = ScriptedStream()
    old = Scene(process, stream)
    old.receive(audio_record(0))
    old.poll(lambda: stream.sent)
    new = Scene(process)
    assert process.get(KEY) is new.live
    old.poll(stream.closed.is_set)
    assert process.live_streams == 0


def test_a_session_that_nobody_touches_is_swept_away_with_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_session, "ORPHAN_SECONDS", 0.2)
    monkeypatch.setattr(live_streams, "_SWEEP_SECONDS", 0.05)
    own = Runtime()
    stream = ScriptedStream()
    scene = Scene(own, stream)
    scene.receive(audio_record(0))
    deadline = time.monotonic() + 10
    while not stream.closed.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert own.get(KEY) is None
    own.loop.call_soon_threadsafe(own.loop.stop)


def test_a_touched_session_is_no_orphan(process: Runtime) -> None:
    scene = Scene(process)
    touched_at = scene.live.touched_at
    assert not scene.live.orphaned(touched_at + 9 * ORPHAN_SECONDS)
    assert scene.live.orphaned(touched_at + 11 * ORPHAN_SECONDS)
    scene.live.touched_at = touched_at - 1000
    process.get(KEY)
    assert scene.live.touched_at >= touched_at


def test_a_session_with_a_stream_is_an_orphan_sooner(process: Runtime) -> None:
    scene = Scene(process, ScriptedStream())
    scene.receive(audio_record(0))
    assert scene.live.orphaned(scene.live.touched_at + ORPHAN_SECONDS + 1)
    assert not scene.live.orphaned(scene.live.touched_at + ORPHAN_SECONDS - 1)


def test_a_process_has_one_runtime() -> None:
    assert runtime() is runtime()


# A session's life


def test_audio_becomes_a_final_and_the_session_ends(process: Runtime) -> None:
    stream = ScriptedStream()
    scene = Scene(process, stream)
    scene.on_loop(stream.answer, (spoken("r1", 0.0, 0.15),))
    scene.receive(audio_record(0), audio_record(1))
    scene.poll(lambda: scene.found(EmitFinal))
    scene.receive(audio_record(2, end_of_session=True))
    scene.poll(stream.end_called.is_set)
    scene.on_loop(stream.answer, (spoken("r2", 0.2, 0.3),), None)
    scene.poll(lambda: scene.found(EmitSessionEnded))
    assert [f.final.segment_index for f in scene.found(EmitFinal)] == [0, 1]
    assert b"".join(stream.sent) == bytes(3 * 2 * CHUNK_SAMPLES)
    assert scene.found(EmitSessionEnded)[0].summary.chunks == 3
    assert not scene.live.streaming


def test_the_stream_is_opened_with_the_session_s_format_settings_and_a_fresh_id(process: Runtime) -> None:
    scene = Scene(process, ScriptedStream())
    scene.receive(audio_record(0))
    scene.poll(lambda: scene.service.requests)
    ((audio, settings, stream_id),) = scene.service.requests
    assert (audio, settings) == (FORMAT, SessionSettings())
    assert len(stream_id) == 36


def test_a_broken_stream_is_replaced_and_fed_from_the_log(process: Runtime) -> None:
    records = [audio_record(n, payload=bytes([n + 1]) * 1600) for n in range(4)]
    first, second = ScriptedStream(), ScriptedStream()
    scene = Scene(process, first, second, log=HeldLog(records))
    scene.receive(*records)
    scene.poll(lambda: len(first.chunks) == 4)
    scene.on_loop(first.answer, (spoken("r1", 0.0, 0.1),), StreamResetError("reset"))
    scene.poll(lambda: not scene.live.streaming)
    scene.poll(lambda: scene.log.reads, now=10.0)
    (read,) = scene.log.reads
    assert (read.topic, read.partition, read.key) == ("audio", 0, b"session-1")
    assert (read.start_offset, read.end_offset) == (1, 4)
    assert read.max_bytes > 0
    scene.log.answer()
    scene.poll(lambda: len(second.chunks) == 3, now=10.0)
    assert second.chunks == [bytes([n + 1]) * 1600 for n in (1, 2, 3)]


def test_a_failed_read_of_the_log_is_repeated(process: Runtime) -> None:
    records = [audio_record(n) for n in range(2)]
    second = ScriptedStream()
    scene = Scene(process, StreamResetError("reset"), second, log=HeldLog(records))
    scene.receive(*records)
    scene.poll(lambda: scene.log.reads, step_seconds=0.1)
    scene.log.fail(ReadFailed("audio", 0, "the broker is away"))
    scene.poll(lambda: len(scene.log.reads) == 2, now=20.0, step_seconds=0.1)
    scene.log.answer()
    scene.poll(lambda: len(second.chunks) == 2, now=30.0)


def test_every_lost_stream_is_reported_once_with_its_place_in_the_row(process: Runtime) -> None:
    records = [audio_record(n) for n in range(2)]
    second = ScriptedStream()
    scene = Scene(
        process, StreamResetError("first"), StreamResetError("second"), second, log=HeldLog(records)
    )
    scene.receive(*records)
    scene.poll(lambda: len(scene.found(FailureReport)) == 2, step_seconds=0.1)
    scene.poll(lambda: scene.log.reads, now=100.0)
    scene.log.answer()
    scene.poll(lambda: len(second.chunks) == 2, now=100.0)
    reports = scene.found(FailureReport)
    assert [(report.failure.message, report.failures) for report in reports] == [("first", 1), ("second", 2)]


def test_a_stream_given_up_by_the_engine_itself_is_reported_too(process: Runtime) -> None:
    stream = ScriptedStream()
    stream.ends_by_itself = False
    scene = Scene(process, stream)
    scene.receive(audio_record(0, end_of_session=True))
    scene.poll(stream.end_called.is_set)
    scene.live.handle_timer(0.0)
    scene.outputs += scene.live.handle_timer(100.0)
    (report,) = scene.found(FailureReport)
    assert (report.failure.code, report.failures) == ("DrainTimeout", 1)


def restored(process: Runtime, records: list[KafkaRecord], *streams: ScriptedStream) -> Scene:
    opening = opening_cursor(chunk(0), 0, 0, SessionSettings())
    cursor = replace(opening, version=3, resume=Position(1, 1, CHUNK_SAMPLES))
    return Scene(process, *streams, cursor=cursor, log=HeldLog(records))


def test_a_restored_session_reads_until_the_log_has_nothing_more_of_it(process: Runtime) -> None:
    stream = ScriptedStream()
    records = [audio_record(n, payload=bytes([n + 1]) * 1600) for n in range(4)]
    scene = restored(process, records, stream)
    scene.poll(lambda: scene.log.reads)
    assert scene.log.reads[0].start_offset == 1
    assert scene.log.reads[0].end_offset > 2**60, "to the end, wherever that is"
    scene.log.answer()
    scene.poll(lambda: len(scene.log.reads) == 2)
    scene.log.answer()
    scene.receive(audio_record(3))
    scene.receive(audio_record(4, payload=b"\x05" * 1600))
    scene.poll(lambda: len(stream.chunks) == 4)
    assert stream.chunks == [bytes([n + 1]) * 1600 for n in (1, 2, 3, 4)]
    assert len(scene.log.reads) == 2


# Slots


def sessions_on_one_slot(process: Runtime, *streams: ScriptedStream | BaseException) -> tuple[Scene, Scene]:
    """Two sessions that share a slot, which the first one has; what it says opens after `streams`."""
    slots = SharedSlots(1, 1000.0)
    records = [audio_record(n, payload=bytes([n + 1]) * 1600) for n in range(3)]
    opened = (*streams, ScriptedStream())
    first = Scene(process, *opened, log=HeldLog(records), slots=slots, key=("job", "first"))
    second = Scene(process, ScriptedStream(), log=HeldLog(records), slots=slots, key=("job", "second"))
    first.receive(*records)
    second.receive(*records)
    return first, second


def test_a_session_without_a_slot_leaves_its_audio_in_the_log_until_it_has_one(process: Runtime) -> None:
    first, second = sessions_on_one_slot(process)
    second.poll(lambda: second.live.session.state is SessionState.WAITING)
    assert not second.live.streaming
    assert second.service.requests == []
    first.receive(audio_record(3, end_of_session=True))
    first.poll(lambda: first.found(EmitSessionEnded))
    second.poll(lambda: second.log.reads)
    assert second.log.reads[0].start_offset == 0
    second.log.answer()
    stream = second.streams[0]
    assert isinstance(stream, ScriptedStream)
    second.poll(lambda: len(stream.chunks) == 3)
    waits = [o.value for o in second.found(Measured) if o.name == "slot_wait_ms"]
    assert len(waits) == 1


def test_a_session_that_failed_lets_another_one_go_first(process: Runtime) -> None:
    first, second = sessions_on_one_slot(process, LimitExceededError("busy"))
    first.poll(lambda: first.found(FailureReport))
    second.poll(lambda: second.log.reads)
    first.poll(lambda: first.live.session.needs_slot(10.0), now=10.0)
    assert not first.live.streaming
    assert first.live.session.state is SessionState.WAITING


def test_the_time_from_a_lost_stream_to_live_audio_is_measured(process: Runtime) -> None:
    first, second = ScriptedStream(), ScriptedStream()
    records = [audio_record(n) for n in range(2)]
    scene = Scene(process, first, second, log=HeldLog(records))
    scene.receive(*records)
    scene.poll(lambda: len(first.chunks) == 2)
    scene.on_loop(first.answer, StreamResetError("reset"))
    scene.poll(lambda: scene.found(FailureReport), now=1.0)
    scene.poll(lambda: scene.log.reads, now=4.0)
    scene.log.answer()
    scene.poll(lambda: len(second.chunks) == 2, now=4.5)
    assert [o.value for o in scene.found(Measured) if o.name == "recovery_ms"] == [3500]


def test_the_time_from_a_restore_to_live_audio_is_measured(process: Runtime) -> None:
    records = [audio_record(n) for n in range(2)]
    scene = restored(process, records, ScriptedStream())
    scene.poll(lambda: scene.log.reads, now=1.0)
    scene.log.answer()
    scene.poll(lambda: len(scene.log.reads) == 2, now=2.0)
    scene.log.answer()
    scene.poll(lambda: scene.live.session.state is SessionState.STREAMING, now=3.0)
    assert [o.value for o in scene.found(Measured) if o.name == "recovery_ms"] == [2000]


def test_a_first_wait_for_a_slot_is_no_recovery(process: Runtime) -> None:
    _, second = sessions_on_one_slot(process)
    process.remove(("job", "first"))
    second.poll(lambda: second.log.reads)
    second.log.answer()
    second.poll(lambda: second.live.session.state is SessionState.STREAMING)
    assert [o for o in second.found(Measured) if o.name == "recovery_ms"] == []


# Records for dead letters


def test_a_rejected_record_of_the_batch_is_at_hand_for_its_dead_letter(process: Runtime) -> None:
    scene = Scene(process, ScriptedStream())
    junk = kafka_record(1, value=b"junk")
    (rejected,) = [o for o in scene.receive(audio_record(0), junk) if isinstance(o, Reject)]
    assert rejected.rejection.error_class == NOT_AVRO
    assert scene.live.record(rejected.offset) is junk
    assert scene.live.record(99) is None


def test_a_rejected_record_of_the_log_is_at_hand_although_a_batch_follows_in_the_same_call(
    process: Runtime,
) -> None:
    late = audio_record(2)
    records = [audio_record(0), audio_record(1, end_of_session=True), late, audio_record(3)]
    scene = restored(process, records, ScriptedStream())
    scene.poll(lambda: scene.log.reads)
    scene.log.answer()
    outputs = scene.receive(audio_record(4))
    rejected = [o for o in outputs if isinstance(o, Reject)]
    assert [r.offset for r in rejected] == [2, 3]
    assert {r.rejection.error_class for r in rejected} == {AFTER_END_OF_SESSION}
    assert [scene.live.record(r.offset) for r in rejected] == [late, records[3]]


def test_records_are_not_kept_beyond_the_next_call(process: Runtime) -> None:
    scene = Scene(process, ScriptedStream())
    scene.receive(audio_record(0))
    scene.receive(audio_record(1))
    assert scene.live.record(0) is None
    assert scene.live.record(1) is not None
    scene.live.handle_timer(0.0)
    assert scene.live.record(1) is None


# Trace context and time


def test_the_trace_context_of_the_latest_audio_is_remembered(process: Runtime) -> None:
    scene = Scene(process, ScriptedStream())
    traced = audio_record(0)._replace(headers=(("traceparent", b"00-1-2-01"), ("other", b"x")))
    scene.receive(traced)
    assert scene.live.trace_headers == {"traceparent": b"00-1-2-01"}
    scene.receive(audio_record(1))
    assert scene.live.trace_headers == {"traceparent": b"00-1-2-01"}


def test_an_ended_session_asks_to_be_forgotten(process: Runtime) -> None:
    cursor = opening_cursor(chunk(0, payload=b"", end_of_session=True), 0, 0, SessionSettings())
    scene = Scene(process, cursor=cursor)
    scene.receive(audio_record(0, payload=b"", end_of_session=True))
    assert scene.live.handle_timer(1e6) == [Forget()]


def test_the_loop_of_a_runtime_runs_beside_the_caller(process: Runtime) -> None:
    async def thread() -> int:
        return threading.get_ident()

    assert asyncio.run_coroutine_threadsafe(thread(), process.loop).result(10) != threading.get_ident()
