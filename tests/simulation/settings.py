"""What may happen in a world, and how much of it: all of it follows from the seed.

Bounds are scaled: a stream of the service lasts seconds here and four hours in reality.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from pipeline.limits import SessionLimits
from tests.simulation.recogniser import Manner
from tests.simulation.speech import SpeechStyle


@dataclass(frozen=True, slots=True)
class ProducerTrouble:
    """Shares are of chunks, unless a name says otherwise.

    `reorder_chunks`: a late chunk comes after so many of its successors at most. `drop_chunks`: lengths of a
    hole. `restart_share`: of sessions, in which the sequence begins again; `surplus_share`: of sessions,
    whose producer goes on behind its end mark. `garbage_share`: of chunks, in whose place a record lies that
    is none. `head`: the first chunks of a session may be late or missing, too.
    """

    duplicate_share: float = 0.0
    reorder_share: float = 0.0
    reorder_chunks: int = 8
    drop_share: float = 0.0
    drop_chunks: tuple[int, int] = (1, 4)
    long_drop_share: float = 0.0
    pause_share: float = 0.0
    too_late_share: float = 0.0
    surplus_share: float = 0.0
    restart_share: float = 0.0
    garbage_share: float = 0.0
    head: bool = False


@dataclass(frozen=True, slots=True)
class ServiceTrouble:
    """`fault_share`: of streams, that break. `throttle_share`: of openings, refused at random.

    `quota`: streams the account may have at once. `limit_samples`: what a stream takes before it dies.
    """

    fault_share: float = 0.0
    throttle_share: float = 0.0
    quota: int | None = None
    latency_seconds: tuple[float, float] = (0.02, 0.3)
    slow_share: float = 0.0
    limit_samples: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerTrouble:
    """How many of each happen in a run, at most. `slots`: live streams of one worker."""

    kills: int = 0
    tears: int = 0
    restores: int = 0
    moves: int = 0
    pauses: int = 0
    stalls: int = 0
    outages: int = 0
    breaks: int = 0
    read_failure_share: float = 0.0
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """See the module. `pace`: wall seconds a producer takes for a second of audio. `catch_up_rate`: audio
    seconds per second a stream is sent at most (0: as fast as it is there)."""

    profile: str
    sessions: int
    workers: int
    channels: tuple[int, ...]
    chunk_samples: tuple[int, ...]
    media_offsets: tuple[bool, ...]
    pace: float
    catch_up_rate: float
    poll_seconds: tuple[float, float]
    limits: SessionLimits
    producer: ProducerTrouble = field(default_factory=ProducerTrouble)
    service: ServiceTrouble = field(default_factory=ServiceTrouble)
    worker: WorkerTrouble = field(default_factory=WorkerTrouble)
    manner: Manner = field(default_factory=Manner)
    style: SpeechStyle = field(default_factory=SpeechStyle)


LIMITS = SessionLimits(
    idle_close_seconds=4.0,
    session_timeout_seconds=25.0,
    ended_retention_seconds=20.0,
    outbound_seconds=3.0,
    drain_timeout_seconds=6.0,
    poll_paused_seconds=0.2,
    reorder_wait_seconds=2.0,
    max_gap_seconds=2.0,
    max_segment_seconds=8.0,
    healthy_seconds=10.0,
)
_ROTATION_SECONDS = 14.0
_BATCH_SECONDS = 8.0  # what may be sent at once is nothing of four hours, and much of 14 seconds

ORDERING = ProducerTrouble(
    duplicate_share=0.08,
    reorder_share=0.08,
    drop_share=0.03,
    long_drop_share=0.1,
    pause_share=0.02,
    too_late_share=0.01,
    surplus_share=0.2,
    restart_share=0.1,
    garbage_share=0.01,
    head=True,
)
STREAMS = ServiceTrouble(fault_share=0.5, throttle_share=0.15, latency_seconds=(0.02, 0.8), slow_share=0.1)
WORKERS = WorkerTrouble(kills=1, tears=1, restores=2, moves=2, pauses=1, stalls=2, read_failure_share=0.05)


def settings_of(seed: int) -> WorldSettings:
    """The settings of a seed: its profile comes round with every fifth seed, all else is drawn."""
    rng = random.Random(~seed)  # noqa: S311 - a reproducible simulation
    return PROFILES[seed % len(PROFILES)](rng)


def _calm(rng: random.Random) -> WorldSettings:
    """Nothing goes wrong, though the producer may pause and streams are replaced before their limit."""
    sessions = rng.randint(1, 3)
    rotates = rng.random() < 0.5
    limits = replace(LIMITS, stream_limit_seconds=_ROTATION_SECONDS) if rotates else LIMITS
    limit_samples = round(1000 * (_ROTATION_SECONDS + _BATCH_SECONDS)) if rotates else None
    return WorldSettings(
        profile="calm",
        sessions=sessions,
        workers=rng.randint(1, 2),
        channels=tuple(rng.choice((1, 1, 2)) for _ in range(sessions)),
        chunk_samples=tuple(rng.randint(80, 200) for _ in range(sessions)),
        media_offsets=tuple(rng.random() < 0.5 for _ in range(sessions)),
        pace=rng.choice((1.0, 1.0, 0.5)),
        catch_up_rate=rng.choice((0.0, 2.0, 4.0)),
        poll_seconds=rng.choice(((0.02, 0.2), (0.1, 0.5))),
        limits=limits,
        producer=ProducerTrouble(pause_share=rng.choice((0.0, 0.03))),
        service=ServiceTrouble(limit_samples=limit_samples),
        worker=WorkerTrouble(slots=rng.choice((None, None, 1, 2))),
        manner=Manner(
            max_words=rng.choice((4, 8, 12)),
            tail_samples=rng.choice((0, 0, 60, 200)),
            partial_share=rng.choice((0.2, 0.6)),
            repeat_share=rng.choice((0.0, 0.0, 0.1)),
        ),
    )


def _ordering(rng: random.Random) -> WorldSettings:
    """The producer writes twice, late, never, garbage, or begins its sequence again."""
    return replace(_calm(rng), profile="ordering", producer=ORDERING)


def _streams(rng: random.Random) -> WorldSettings:
    """Streams break in every way, openings are refused, answers are slow."""
    calm = _calm(rng)
    service = replace(
        STREAMS,
        limit_samples=calm.service.limit_samples,
        quota=rng.choice((None, None, calm.sessions - 1 or 1)),
    )
    return replace(calm, profile="streams", service=service, worker=replace(calm.worker, outages=1, breaks=3))


def _workers(rng: random.Random) -> WorldSettings:
    """Workers are killed, restored, moved and paused."""
    calm = _calm(rng)
    worker = replace(WORKERS, slots=calm.worker.slots, breaks=1)
    return replace(calm, profile="workers", workers=rng.randint(1, 3), worker=worker)


def _everything(rng: random.Random) -> WorldSettings:
    """All of it at once."""
    streams = _streams(rng)
    worker = replace(WORKERS, slots=streams.worker.slots, breaks=2, outages=1)
    return replace(streams, profile="everything", workers=rng.randint(1, 3), producer=ORDERING, worker=worker)


PROFILES = (_calm, _ordering, _streams, _workers, _everything)
