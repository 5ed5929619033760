"""The fake service keeps the real one's rules: pace, quota, limits, and every way to break."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from pipeline.elements import AudioFormat
from pipeline.engine.answers import StreamFailure
from tests.simulation.fake_service import (
    DEAF,
    FAULTS,
    IDLE,
    STALL,
    STANDS_STILL,
    THROTTLED,
    TOO_LONG,
    UNREACHABLE,
    Closed,
    FakeService,
    FakeStream,
    Heard,
    Lost,
    Opened,
    Report,
)
from tests.simulation.recogniser import Manner
from tests.simulation.scheduler import Scheduler
from tests.simulation.settings import ServiceTrouble
from tests.simulation.speech import RATE_HERTZ, word_samples

AUDIO = AudioFormat(RATE_HERTZ)
SECOND = bytes(2 * RATE_HERTZ)


@dataclass
class Scene:
    """A service, and whatever its streams have reported."""

    trouble: ServiceTrouble = field(default_factory=ServiceTrouble)
    catch_up_rate: float = 0.0
    paused: bool = False

    def __post_init__(self) -> None:
        self.scheduler = Scheduler()
        manner = Manner(partial_share=0.0, empty_share=0.0)
        rng = random.Random(5)  # noqa: S311
        self.service = FakeService(rng, self.scheduler, self.trouble, manner, self.catch_up_rate)
        self.reports: list[Report] = []
        self.ended = 0

    def open(self, serial: int = 1) -> FakeStream:
        return self.service.open(serial, AUDIO, self.reports.append, self, self._end)

    def _end(self) -> None:
        self.ended += 1

    def pass_time(self, seconds: float) -> None:
        until = self.scheduler.now + seconds
        self.scheduler.at(until, lambda: None)
        while self.scheduler.now < until:
            self.scheduler.run_next()

    @property
    def failures(self) -> list[StreamFailure]:
        return [report.failure for report in self.reports if isinstance(report, Lost)]


def said(number: int) -> bytes:
    return bytes((number,)) * (2 * word_samples(number))


def test_a_stream_opens_answers_and_ends_in_that_order() -> None:
    scene = Scene()
    stream = scene.open()
    stream.send(said(3) + SECOND)
    stream.send(said(5))
    stream.end()
    scene.pass_time(3.0)
    kinds = [type(report) for report in scene.reports]
    assert kinds == [Opened, Heard, Heard, Closed]
    assert (stream.alive, scene.ended, scene.service.alive) == (False, 1, set())


def test_audio_is_written_at_the_catch_up_rate_after_a_burst() -> None:
    scene = Scene(catch_up_rate=2.0)
    stream = scene.open()
    for _ in range(20):
        stream.send(SECOND)
    scene.pass_time(5.0)
    written_seconds = stream.written_samples / RATE_HERTZ
    assert 8.0 <= written_seconds <= 11.2
    assert stream.outbound_samples == 20 * RATE_HERTZ - stream.written_samples


def test_nothing_moves_while_the_process_stands_still() -> None:
    scene = Scene(paused=True)
    stream = scene.open()
    stream.send(SECOND)
    scene.pass_time(5.0)
    assert (scene.reports, stream.written_samples) == ([], 0)
    scene.paused = False
    scene.pass_time(5.0)
    assert stream.written_samples == RATE_HERTZ


def test_a_dropped_stream_reports_nothing_and_closes_a_little_later() -> None:
    scene = Scene()
    stream = scene.open()
    stream.drop()
    assert scene.ended == 0
    scene.pass_time(2.0)
    assert (scene.reports, scene.ended) == ([], 1)


def test_more_streams_than_the_quota_are_throttled() -> None:
    scene = Scene(ServiceTrouble(quota=1))
    for serial in (1, 2):
        scene.open(serial)
    scene.pass_time(1.0)
    assert scene.failures == [THROTTLED]
    assert sum(isinstance(report, Opened) for report in scene.reports) == 1


def test_an_outage_lets_nothing_open() -> None:
    scene = Scene()
    scene.service.away_until = scene.scheduler.now + 10.0
    scene.open()
    scene.pass_time(1.0)
    assert scene.failures == [UNREACHABLE]


def test_a_stream_dies_of_too_much_audio() -> None:
    scene = Scene(ServiceTrouble(limit_samples=2500))
    stream = scene.open()
    for _ in range(3):
        stream.send(SECOND)
    scene.pass_time(3.0)
    assert scene.failures == [TOO_LONG]
    assert scene.service.counts.died_of_age == 1


def test_a_stream_without_audio_is_ended() -> None:
    scene = Scene()
    scene.open()
    scene.pass_time(14.5)
    assert scene.failures == []
    scene.pass_time(2.0)
    assert scene.failures == [IDLE]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_broken_stream_says_why(fault: StreamFailure) -> None:
    scene = Scene()
    stream = scene.open()
    scene.pass_time(1.0)
    stream.break_now(fault)
    scene.pass_time(1.0)
    assert scene.failures == [fault]


def test_a_stalled_stream_takes_nothing_until_the_transport_gives_up() -> None:
    scene = Scene()
    stream = scene.open()
    scene.pass_time(1.0)
    stream.break_now(STALL)
    scene.pass_time(1.0)
    stream.send(SECOND)
    scene.pass_time(5.0)
    assert (stream.written_samples, scene.failures) == (0, [])
    scene.pass_time(7.0)
    assert scene.failures == [STANDS_STILL]


def test_a_deaf_stream_takes_everything_and_never_answers() -> None:
    scene = Scene()
    stream = scene.open()
    stream.break_now(DEAF)
    scene.pass_time(1.0)
    stream.send(said(3) + SECOND)
    stream.end()
    scene.pass_time(30.0)
    assert [type(report) for report in scene.reports] == [Opened]
    assert (stream.outbound_samples, stream.alive) == (0, True)
