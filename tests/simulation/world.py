"""One world: sessions, a log, a service, workers, a job, and what goes wrong; all of it seeded.

`World(seed).run()` plays until every session has ended and been forgotten and no stream lives any more.
"""

from __future__ import annotations

import random
from collections import Counter

from pipeline.elements import AudioFormat, FinalTranscript, PartialTranscript, SessionSummary
from pipeline.engine.commands import (
    Command,
    EmitFinal,
    EmitPartial,
    EmitSessionEnded,
    Forget,
    Reject,
    RejectSession,
)
from tests.simulation.fake_log import FakeLog
from tests.simulation.fake_service import FakeService
from tests.simulation.fake_worker import FakeLive, FakeWorker
from tests.simulation.job import Checkpoint, Job
from tests.simulation.memory import check_memory
from tests.simulation.producer import Script, Write, write_all
from tests.simulation.profiles import settings_of
from tests.simulation.scheduler import START_SECONDS, Scheduler
from tests.simulation.settings import WorldSettings
from tests.simulation.speech import RATE_HERTZ, speak
from tests.simulation.troubles import Troubles

MAX_SECONDS = 240.0  # behind the last trouble: an orphan sweep and more


class Published:
    """What one session has published. `history`: finals as they stand logically, so that a restore takes
    back those that came after its checkpoint; `finals` keeps every record, in order."""

    def __init__(self) -> None:
        self.finals: list[FinalTranscript] = []
        self.history: list[FinalTranscript] = []
        self.partials: list[PartialTranscript] = []
        self.ended: list[SessionSummary] = []
        self.rejected: list[Reject] = []
        self.given_up: list[RejectSession] = []


class World:
    """See the module. `settings` are the seed's own, `job_type` is the engine's real shell, unless told."""

    def __init__(
        self, seed: int, *, settings: WorldSettings | None = None, job_type: type[Job] = Job
    ) -> None:
        self.seed = seed
        self.settings = settings or settings_of(seed)
        self.rng = random.Random(seed)  # noqa: S311 - a reproducible simulation
        self.scheduler = Scheduler()
        self.formats: dict[str, AudioFormat] = {}
        self.published: dict[str, Published] = {}
        self.checkpoints: list[Checkpoint] = []
        self.seen: Counter[str] = Counter()
        self.log = FakeLog(self.rng, self._produce())
        self.service = FakeService(
            self.rng, self.scheduler, self.settings.service, self.settings.manner, self.settings.catch_up_rate
        )
        self.workers = [
            FakeWorker(
                f"worker-{number}", self.scheduler, self.service, self.settings.worker.slots, self.seen
            )
            for number in range(self.settings.workers)
        ]
        self.job = job_type(self.rng, self.scheduler, self.log, self.settings, self.workers, self._publish)
        self.job.after_bundle = self._after_bundle
        for worker in self.workers:
            self.scheduler.after(self.rng.uniform(0.0, 15.0), worker.sweep)
        self.troubles = Troubles(self)
        self._take_checkpoint()

    def _produce(self) -> list[Write]:
        writes: list[Write] = []
        settings, rng = self.settings, self.rng
        for number, channels in enumerate(settings.channels):
            session_id = f"session-{number}"
            audio = AudioFormat(RATE_HERTZ, channels)
            self.formats[session_id] = audio
            self.published[session_id] = Published()
            script = Script(
                session_id,
                audio,
                settings.chunk_samples[number],
                rng.random() < 0.7,
                settings.media_offsets[number],
                settings.pace,
                START_SECONDS + rng.uniform(0.0, 4.0),
                rng.choice(("mark", "mark", "empty", "none")),
                settings.limits.reorder_wait_seconds,
            )
            writes += write_all(rng, script, speak(rng, channels, settings.style), settings.producer)
        return writes

    def run(self) -> None:
        """Play to the end; raises AssertionError when something does not hold, or no end comes."""
        while self.scheduler.now < self.troubles.horizon + MAX_SECONDS and self.scheduler.run_next():
            if self.over:
                return
        raise AssertionError(f"no end after {self.scheduler.events} events: {self.describe()}")

    @property
    def over(self) -> bool:
        """Every record delivered, every session ended and forgotten, no stream alive."""
        return (
            self.job.position == len(self.log.records)
            and not self.job.in_flight
            and not self.job.state
            and not self.service.alive
            and not any(worker.busy for worker in self.workers)
            and all(published.ended for published in self.published.values())
        )

    def describe(self) -> str:
        """Where the run stands, for whoever looks at a failure."""
        sessions = ", ".join(
            f"{session_id}: {len(p.history)} finals, {len(p.ended)} ended, "
            f"{self.job.state[session_id].status.value if session_id in self.job.state else 'no state'}"
            for session_id, p in self.published.items()
        )
        return (
            f"profile {self.settings.profile}, {self.scheduler.now - START_SECONDS:.1f} s, "
            f"position {self.job.position}/{len(self.log.records)}, {len(self.service.alive)} streams alive, "
            f"{self.troubles.describe()}; {sessions}"
        )

    # What the job publishes

    def _publish(self, session_id: str, output: Command) -> None:
        published = self.published[session_id]
        match output:
            case EmitFinal(final):
                assert final.segment_index == len(published.history), (
                    f"{session_id}: final {final.segment_index} where {len(published.history)} is next"
                )
                published.finals.append(final)
                published.history.append(final)
            case EmitPartial(partial):
                published.partials.append(partial)
            case EmitSessionEnded(summary):
                published.ended.append(summary)
            case Reject():
                published.rejected.append(output)
            case RejectSession():
                published.given_up.append(output)
            case Forget():
                pass
            case _:
                raise AssertionError(f"unexpected {type(output).__name__}")

    def _after_bundle(self, live: FakeLive) -> None:
        check_memory(live, self.settings.limits)

    # Checkpoints

    def _take_checkpoint(self) -> None:
        if self.job.in_flight:
            self.scheduler.after(0.05, self._take_checkpoint)  # its barrier waits behind it
            return
        counts = {session_id: len(published.history) for session_id, published in self.published.items()}
        self.checkpoints.append(self.job.checkpoint(counts))
        if self.scheduler.now < self.troubles.horizon:
            self.scheduler.after(self.rng.uniform(0.3, 2.0), self._take_checkpoint)

    def restore(self, checkpoint: Checkpoint, owners: dict[str, FakeWorker]) -> None:
        """Take the job back; what was published stays, but its logical history ends at the checkpoint.

        So do the checkpoints: one that was taken on a branch given up does not fit what is published next.
        """
        for session_id, count in checkpoint.published.items():
            del self.published[session_id].history[count:]
        if checkpoint in self.checkpoints:
            del self.checkpoints[self.checkpoints.index(checkpoint) + 1 :]
        self.job.restore(checkpoint, owners)
