"""What is measured of each system: sessions in real time, a topic to be caught up with, a killed worker."""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.processes import ChildProcess
from tests.benchmarks.pipelines.listener import Heard, Listener, quantile
from tests.benchmarks.pipelines.quick_service import FINAL_SECONDS
from tests.benchmarks.pipelines.speakers import CHUNK_SECONDS, Speech
from tests.benchmarks.pipelines.systems import JVM, PYTHON, Stage, System, running

PARTITIONS = 2
RAMP_PER_SECOND = 20
WARM_UP_SECONDS = 15.0
_START_SECONDS = 120.0
_UNPACED = ("--catch-up-rate=0", "--max-stream-opens-per-second=1000")


@dataclass(frozen=True, slots=True)
class RealTime:
    """Sessions that speak in real time for `seconds`, all of them live.

    Delays are from the service's sending of a final to its consumer; lags from the sending of the audio that
    a final ends with to the service's having it. Memory: before the first session, and medians of the first
    and of the last third of the measurement.
    """

    system: str
    sessions: int
    seconds: float
    finals: int
    delay_p50_ms: float
    delay_p95_ms: float
    delay_p99_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    python_cpu_seconds: float
    jvm_cpu_seconds: float
    python_idle_mib: float
    python_early_mib: float
    python_rss_mib: float
    jvm_rss_mib: float
    round: int = 0

    @property
    def python_kib_per_session(self) -> float:
        """What each live session adds to a system that runs without any."""
        return 1024 * (self.python_rss_mib - self.python_idle_mib) / self.sessions

    @property
    def python_us_per_chunk(self) -> float:
        return 1e6 * self.python_cpu_seconds / self.chunks

    @property
    def all_us_per_chunk(self) -> float:
        return 1e6 * (self.python_cpu_seconds + self.jvm_cpu_seconds) / self.chunks

    @property
    def chunks(self) -> float:
        return self.sessions * self.seconds / CHUNK_SECONDS


@dataclass(frozen=True, slots=True)
class CatchUp:
    """A topic that was full before the system began: from its first final to its last."""

    system: str
    sessions: int
    audio_seconds: float
    seconds: float
    chunks_per_second: float
    chunks_per_core_second: float
    python_cpu_seconds: float
    jvm_cpu_seconds: float
    python_rss_mib: float
    round: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """`kill -9` to the workers of live sessions: seconds until the next final of any, and of every one."""

    system: str
    sessions: int
    first_seconds: float
    all_seconds: float
    round: int = 0


class TooShort(Exception):
    """There was too little to do for a measurement."""


@contextmanager
def _system(
    name: str, stage: Stage, speech: Speech | None = None, options: tuple[str, ...] = ()
) -> Iterator[tuple[System, Listener, str]]:
    """One that runs on topics of its own; `speech` is in the audio topic before it starts."""
    audio = f"b{uuid.uuid4().hex[:8]}"
    finals = f"{audio}.finals"
    stage.broker.create_topics({audio: PARTITIONS, finals: PARTITIONS, f"{finals}.dead": 1})
    if speech is not None:
        _speaking(stage, replace(speech, topic=audio)).wait(600)
    listener = Listener(stage.broker.bootstrap_servers, finals, PARTITIONS)
    try:
        with running(name, stage, audio, finals, options) as system:
            yield system, listener, audio
    finally:
        listener.close()


def real_time(name: str, stage: Stage, sessions: int, seconds: float) -> RealTime:
    with _system(name, stage) as (system, listener, audio):
        _wake(stage, listener, audio)
        idle = system.rss_mib()[PYTHON]
        ramp = sessions / RAMP_PER_SECOND
        begin_at = time.time() + 3.0
        speech = _speech(stage, audio, sessions, ramp + WARM_UP_SECONDS + seconds + 2.0, ramp, begin_at)
        speaking = _speaking(stage, speech)
        time.sleep(begin_at + ramp + WARM_UP_SECONDS - time.time())
        since, before = time.time(), system.cpu_seconds()
        memory = _memory(system, until=since + seconds)
        until, after = time.time(), system.cpu_seconds()
        speaking.wait(60)
        time.sleep(3.0)
        heard = listener.between(since, until)
    delays = [final.delay_ms for final in heard]
    lags = [_lag_ms(final, speech) for final in heard]
    return RealTime(
        name,
        sessions,
        round(until - since, 2),
        len(heard),
        *(round(quantile(delays, share), 1) for share in (0.5, 0.95, 0.99)),
        *(round(quantile(lags, share), 1) for share in (0.5, 0.99)),
        *(round(after[role] - before[role], 3) for role in (PYTHON, JVM)),
        round(idle, 1),
        *(round(mib, 1) for mib in memory),
    )


def _memory(system: System, until: float) -> tuple[float, float, float]:
    """Python's in the first and in the last third of the time until then, and the JVM's, in MiB."""
    python: list[float] = []
    while (left := until - time.time()) > 0:
        time.sleep(min(1.0, left))
        found = system.rss_mib()
        python.append(found[PYTHON])
    third = max(1, len(python) // 3)
    return statistics.median(python[:third]), statistics.median(python[-third:]), found[JVM]


def catch_up(name: str, stage: Stage, sessions: int, audio_seconds: float) -> CatchUp:
    speech = _speech(stage, "", sessions, audio_seconds, 0.0, 0.0)
    options = () if name == "bare" else _UNPACED
    with _system(name, stage, speech, options) as (system, listener, _):
        listener.wait(lambda: bool(listener.heard), _START_SECONDS, "the first final")
        began, before, rss = time.time(), system.cpu_seconds(), 0.0
        missed = len(listener.heard)
        per_session = _finals_per_session(audio_seconds)
        deadline = time.monotonic() + 20 * audio_seconds
        while len(listener.heard) < per_session * sessions and time.monotonic() < deadline:
            rss = max(rss, system.rss_mib()[PYTHON])
            time.sleep(0.1)
        ended, after = max(final.arrived_at for final in listener.heard), system.cpu_seconds()
        share = 1 - missed / (per_session * sessions)
        complete = len(listener.heard) / (per_session * sessions)
    if complete < 1:
        raise TimeoutError(f"{name} published {complete:.0%} of what the topic held")
    chunks = share * sessions * audio_seconds / CHUNK_SECONDS
    python, jvm = (after[role] - before[role] for role in (PYTHON, JVM))
    if not chunks or not python:
        raise TooShort(f"{name} was done at once; give it more (--catch-up-seconds)")
    return CatchUp(
        name,
        sessions,
        audio_seconds,
        round(ended - began, 2),
        round(chunks / (ended - began)),
        round(chunks / python),
        round(python, 2),
        round(jvm, 2),
        round(rss, 1),
    )


def recovery(name: str, stage: Stage, sessions: int) -> Recovery:
    """Of a system that recovers."""
    with _system(name, stage) as (system, listener, audio):
        _wake(stage, listener, audio)
        begin_at = time.time() + 3.0
        speaking = _speaking(stage, _speech(stage, audio, sessions, 75.0, 2.0, begin_at))
        time.sleep(begin_at + 25.0 - time.time())
        killed_at = time.time()
        for process in system.processes()[PYTHON]:
            process.kill()

        def spoke() -> dict[str, float]:
            first: dict[str, float] = {}
            for final in listener.between(killed_at, float("inf")):
                first.setdefault(final.session_id, final.arrived_at)
            return first

        listener.wait(lambda: len(spoke()) >= sessions, 60, "finals of every session after the kill")
        moments = sorted(spoke().values())
        speaking.kill()
    return Recovery(name, sessions, round(moments[0] - killed_at, 2), round(moments[-1] - killed_at, 2))


def _wake(stage: Stage, listener: Listener, audio: str) -> None:
    """Wait until the system works: a session of its own has had a final."""
    speech = Speech(stage.broker.bootstrap_servers, audio, "first", 1, 8.0, at_once=True)
    _speaking(stage, speech).wait(60)
    listener.wait(lambda: bool(listener.heard), _START_SECONDS, "the system's first final")


def _speech(stage: Stage, topic: str, sessions: int, seconds: float, ramp: float, begin_at: float) -> Speech:
    return Speech(
        stage.broker.bootstrap_servers,
        topic,
        "spoken",
        sessions,
        seconds,
        ramp_seconds=ramp,
        begin_at=begin_at,
        at_once=begin_at == 0.0,
    )


def _speaking(stage: Stage, speech: Speech) -> ChildProcess:
    command = [sys.executable, "-m", "tests.benchmarks.pipelines.speakers", speech.to_argument()]
    return ChildProcess("speakers", command, log_path=stage.directory / "speakers.log")


def _lag_ms(final: Heard, speech: Speech) -> float:
    """A chunk is sent when its audio begins, and a final is due when the chunk that it ends with is there."""
    number = int(final.session_id.rpartition("-")[2])
    sent_at = speech.begins_at(number) + final.end_seconds - CHUNK_SECONDS
    return 1000 * (final.sent_at - sent_at)


def _finals_per_session(audio_seconds: float) -> int:
    return -int(-audio_seconds // FINAL_SECONDS)


def service(directory: Path) -> tuple[ChildProcess, str]:
    """The service that every system of a run talks to, and its URL."""
    ready = directory / "service.url"
    command = [sys.executable, "-m", "tests.benchmarks.pipelines.quick_service", str(ready)]
    process = ChildProcess("quick service", command, log_path=directory / "service.log")
    process.wait_until_ready(ready.exists, 30)
    return process, ready.read_text(encoding="utf-8")
