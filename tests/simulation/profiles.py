"""The settings of a seed: five profiles of trouble come round in turn, all else is drawn from the seed.

Bounds are scaled: a stream of the service lasts seconds here and four hours in reality.
"""

from __future__ import annotations

import random
from dataclasses import replace

from pipeline.engine.limits import SessionLimits
from tests.simulation.recogniser import Manner
from tests.simulation.settings import ProducerTrouble, ServiceTrouble, WorkerTrouble, WorldSettings
from tests.simulation.speech import RATE_HERTZ

LIMITS = SessionLimits(
    idle_close_seconds=4.0,
    session_timeout_seconds=25.0,
    ended_retention_seconds=45.0,
    outbound_seconds=3.0,
    drain_timeout_seconds=6.0,
    poll_paused_seconds=0.2,
    reorder_wait_seconds=2.0,
    max_gap_seconds=2.0,
    max_segment_seconds=8.0,
    healthy_seconds=10.0,
)
_BATCH_SECONDS = 10.0  # what may be sent at once is nothing of four hours, and much of 14 seconds

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
STREAMS = ServiceTrouble(fault_share=0.5, throttle_share=0.15, refuse_share=0.005, slow_share=0.1)
WORKERS = WorkerTrouble(
    kills=1,
    tears=1,
    restores=2,
    moves=2,
    pauses=1,
    stalls=2,
    drains=2,
    broker_outages=1,
    read_failure_share=0.05,
)


def settings_of(seed: int) -> WorldSettings:
    """The settings of a seed: its profile comes round with every fifth seed, all else is drawn."""
    rng = random.Random(~seed)  # noqa: S311 - a reproducible simulation
    return PROFILES[seed % len(PROFILES)](rng)


def _calm(rng: random.Random) -> WorldSettings:
    """Nothing goes wrong, though the producer may pause and streams are replaced before their limit."""
    sessions = rng.randint(1, 3)
    limits = _limits(rng)
    dies_after_seconds = limits.stream_limit_seconds + _BATCH_SECONDS
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
        service=ServiceTrouble(limit_samples=round(dies_after_seconds * RATE_HERTZ)),
        worker=WorkerTrouble(slots=rng.choice((None, None, 1, 2))),
        manner=Manner(
            max_words=rng.choice((4, 8, 12, None)),
            irregular=rng.random() < 0.3,
            tail_samples=rng.choice((0, 0, 60, 200)),
            partial_share=rng.choice((0.2, 0.6)),
            repeat_share=rng.choice((0.0, 0.0, 0.1)),
        ),
    )


def _limits(rng: random.Random) -> SessionLimits:
    return replace(
        LIMITS,
        outbound_seconds=rng.choice((2.0, 3.0, 5.0)),
        reorder_wait_seconds=rng.choice((1.2, 2.0, 3.0)),
        max_gap_seconds=rng.choice((0.6, 2.0, 4.0)),
        max_segment_seconds=rng.choice((7.0, 8.0, 12.0)),
        stream_limit_seconds=rng.choice((10.0, 14.0, LIMITS.stream_limit_seconds)),
    )


def _ordering(rng: random.Random) -> WorldSettings:
    """The producer writes twice, late, never, garbage, or begins its sequence again."""
    return replace(_calm(rng), profile="ordering", producer=ORDERING)


def _streams(rng: random.Random) -> WorldSettings:
    """Streams break in every way, openings are refused, answers are slow."""
    calm = _calm(rng)
    service = replace(
        STREAMS,
        latency_seconds=rng.choice(((0.02, 0.8), (0.02, 0.8), (0.3, 3.0))),
        limit_samples=calm.service.limit_samples,
        quota=rng.choice((None, None, calm.sessions - 1 or 1)),
    )
    limits = replace(calm.limits, max_retries=rng.choice((6, 1000, 1000, 1000)))
    worker = replace(calm.worker, outages=1, breaks=3)
    return replace(calm, profile="streams", limits=limits, service=service, worker=worker)


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
