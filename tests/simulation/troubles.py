"""What goes wrong outside of producer and service: workers that die, stand still or lose their keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.fake_service import FAULTS
from tests.simulation.scheduler import START_SECONDS

if TYPE_CHECKING:
    from tests.simulation.fake_worker import FakeWorker
    from tests.simulation.job import Checkpoint
    from tests.simulation.world import World

_CALM_AFTER_SECONDS = 20.0  # behind the last record: from then on nothing new goes wrong

_RESTORING = ("kill", "tear", "restore_under", "move", "pause_and_move", "drain")


class Troubles:
    """Lays the world's troubles onto its clock; `taken` counts those that happened, by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self.taken: dict[str, int] = {}
        last = max((record.write.at for record in world.log.records), default=START_SECONDS)
        self.horizon = last + _CALM_AFTER_SECONDS
        plan = world.settings.worker
        kinds: list[tuple[int, Callable[[], None]]] = [
            (plan.kills, self.kill),
            (plan.tears, self.tear),
            (plan.restores, self.restore_under),
            (plan.moves, self.move),
            (plan.pauses, self.pause_and_move),
            (plan.stalls, self.stall),
            (plan.drains, self.drain),
            (plan.outages, self.outage),
            (plan.breaks, self.break_streams),
            (plan.broker_outages, self.broker_outage),
        ]
        for most, trouble in kinds:
            for _ in range(self._rng.randint(0, most)):
                moment = self._rng.uniform(START_SECONDS, self.horizon)
                world.scheduler.at(moment, self._happen, trouble)
        world.scheduler.at(self.horizon, self._calm)

    def describe(self) -> str:
        """What happened so far."""
        return ", ".join(f"{count} {name}" for name, count in self.taken.items()) or "no trouble"

    @property
    def restored(self) -> bool:
        """Whether anything was taken back or moved in this run."""
        return any(name in self.taken for name in _RESTORING)

    def _happen(self, trouble: Callable[[], None]) -> None:
        name = trouble.__name__
        self.taken[name] = self.taken.get(name, 0) + 1
        self._world.seen[name] += 1
        trouble()

    def _calm(self) -> None:
        self._world.service.calm = True

    # Workers

    def kill(self) -> None:
        """A worker dies; the job goes back to a checkpoint, its keys anywhere."""
        self._kill(self._rng.choice(self._world.workers))

    def tear(self) -> None:
        """The same, in the midst of the next bundle."""
        self._world.job.tear = self._kill

    def _kill(self, worker: FakeWorker) -> None:
        worker.kill()
        self._world.restore(self._any_checkpoint(), self._shuffled())

    def restore_under(self) -> None:
        """The job is restored, the workers survive with registries that may be ahead of the state."""
        self._world.restore(self._any_checkpoint(), self._world.job.owners)

    def move(self) -> None:
        """Keys go to other workers, as when the job is rescaled; the old workers' sessions stay there."""
        if self._awake:
            checkpoint = self._latest() if self._rng.random() < 0.6 else self._any_checkpoint()
            self._world.restore(checkpoint, self._shuffled())

    def pause_and_move(self) -> None:
        """A worker stands still for so long that its keys go to others; later it wakes up."""
        if len(self._awake) < 2:
            return
        sleeper = self._rng.choice(self._awake)
        sleeper.paused = True
        self._world.scheduler.after(self._rng.uniform(2.0, 40.0), self._wake, sleeper)
        self._world.restore(self._any_checkpoint(), self._shuffled())

    def stall(self) -> None:
        """A worker stands still for some seconds, and the job with it."""
        sleeper = self._rng.choice(self._world.workers)
        if not sleeper.paused:
            sleeper.paused = True
            self._world.scheduler.after(self._rng.uniform(0.2, 8.0), self._wake, sleeper)

    def drain(self) -> None:
        """The job is drained, and another one goes on from what it left, on other workers."""
        self._world.job.drain(lambda: self._world.restore(self._latest(), self._shuffled()))

    def _wake(self, sleeper: FakeWorker) -> None:
        sleeper.paused = False

    @property
    def _awake(self) -> list[FakeWorker]:
        return [worker for worker in self._world.workers if not worker.paused]

    def _latest(self) -> Checkpoint:
        """As of now, unless something is on its way, which a barrier would wait for."""
        world = self._world
        if world.job.in_flight:
            return world.checkpoints[-1]
        counts = {session_id: len(published.history) for session_id, published in world.published.items()}
        return world.job.checkpoint(counts)

    def _any_checkpoint(self) -> Checkpoint:
        checkpoints = self._world.checkpoints
        return checkpoints[-1] if self._rng.random() < 0.5 else self._rng.choice(checkpoints)

    def _shuffled(self) -> dict[str, FakeWorker]:
        awake = self._awake
        return {session_id: self._rng.choice(awake) for session_id in self._world.published}

    # The service

    def outage(self) -> None:
        """Every stream breaks, and none can be opened for some time."""
        world = self._world
        world.service.away_until = world.scheduler.now + self._rng.uniform(1.0, 15.0)
        self.break_streams()

    def broker_outage(self) -> None:
        """The source delivers nothing and reads of the log fail, maybe for longer than sessions last."""
        job = self._world.job
        job.broker_away_until = self._world.scheduler.now + self._rng.uniform(0.5, 30.0)

    def break_streams(self) -> None:
        """All streams of the service break at once."""
        for stream in sorted(self._world.service.alive, key=lambda stream: stream.number):
            stream.break_now(self._rng.choice(FAULTS))
