"""What may happen in a world, and how much of it; `profiles` says which seed gets what."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.engine.limits import SessionLimits
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
    """`fault_share`: of streams, that break. Of openings, `throttle_share` are refused for now,
    `refuse_share` for good.

    `quota`: streams the account may have at once. `limit_samples`: what a stream takes before it dies.
    """

    fault_share: float = 0.0
    throttle_share: float = 0.0
    refuse_share: float = 0.0
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
    drains: int = 0
    outages: int = 0
    breaks: int = 0
    broker_outages: int = 0
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
