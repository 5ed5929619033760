"""The simulation finds what it is there to find: five bugs, planted one at a time, each within 200 seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.engine.session_actions import SessionActions
from pipeline.engine.session_state import SessionEvent
from pipeline.engine.stream_clock import StreamClock
from pipeline.engine.stream_state import StreamState
from pipeline.engine.stream_view import StreamView
from pipeline.output.progress import SessionStep
from tests.simulation.fake_sink import FakeSink
from tests.simulation.fake_worker import FakeLive
from tests.simulation.invariants import check
from tests.simulation.job import Job
from tests.simulation.world import World

_SEEDS = 200


class ForgetfulJob(Job):
    """The cursor is written when a session opens, and never with its finals."""

    def write_state(self, session_id: str, live: FakeLive) -> None:
        if session_id not in self.state:
            super().write_state(session_id, live)


class StutteringLive(FakeLive):
    """One chunk in fifty is sent twice."""

    def _send(self, serial: int, payload: bytes) -> None:
        super()._send(serial, payload)
        if self.worker.service.rng.random() < 0.02:
            super()._send(serial, payload)


class StutteringJob(Job):
    live_type = StutteringLive


def _first_caught(job_type: type[Job]) -> tuple[int, str]:
    """The first seed that fails, and why."""
    for seed in range(_SEEDS):
        world = World(seed, job_type=job_type)
        try:
            world.run()
            check(world)
        except AssertionError as error:
            return seed, str(error).splitlines()[0]
    raise AssertionError(f"not caught within {_SEEDS} seeds")


def test_a_skipped_cursor_write_is_caught() -> None:
    seed, why = _first_caught(ForgetfulJob)
    print(f"skipped cursor write: caught at seed {seed}: {why}")


def test_a_forgotten_offset_of_the_second_stream_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    jump: Callable[[StreamClock, float, float], None] = StreamClock.jump

    def forgetful_jump(clock: StreamClock, stream_seconds: float, session_seconds: float) -> None:
        jump(clock, stream_seconds, session_seconds if stream_seconds else 0.0)

    monkeypatch.setattr(StreamClock, "jump", forgetful_jump)
    seed, why = _first_caught(Job)
    print(f"forgotten offset of the second stream: caught at seed {seed}: {why}")


def test_a_chunk_that_is_sent_twice_is_caught() -> None:
    seed, why = _first_caught(StutteringJob)
    print(f"chunk sent twice: caught at seed {seed}: {why}")


def test_a_drain_that_cuts_a_word_in_two_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = SessionActions._cut

    def believing_cut(session: SessionActions, stream: StreamView) -> None:
        if not session._suspended:
            cut(session, stream)
        elif stream.state is StreamState.OPEN:
            session._end_stream(stream, SessionEvent.END, "drain")

    monkeypatch.setattr(SessionActions, "_cut", believing_cut)
    seed, why = _first_caught(Job)
    print(f"a word cut in two by a drain: caught at seed {seed}: {why}")


def test_a_marker_that_is_lost_now_and_then_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    write = FakeSink.write

    def forgetful_write(sink: FakeSink, step: SessionStep) -> None:
        before = sink.markers.get(step.session_id)
        write(sink, step)
        if before is not None and before.next_segment_index % 5 == 2:
            sink.markers[step.session_id] = before

    monkeypatch.setattr(FakeSink, "write", forgetful_write)
    seed, why = _first_caught(Job)
    print(f"lost marker: caught at seed {seed}: {why}")
