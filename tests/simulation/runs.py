"""Many worlds on all cores: play blocks of seeds, collect what failed and what was seen on the way."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from tests.simulation.invariants import check
from tests.simulation.world import World

SEEDS_VARIABLE = "MEDSTREAM_SIMULATION_SEEDS"
DEFAULT_SEEDS = "0:20000"
_BLOCK_SEEDS = 100
_LAST_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed whose world did not hold, and how it came out."""

    seed: int
    report: str

    def __str__(self) -> str:
        return f"seed {self.seed}, again: make simulate SEEDS={self.seed}:1\n{self.report}"


@dataclass(slots=True)
class Outcome:
    """What became of `seeds` worlds. `seen`: how often each kind of event happened, by name."""

    seeds: int = 0
    failures: list[Failure] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Take in the outcome of other seeds."""
        self.seeds += other.seeds
        self.failures += other.failures
        self.seen.update(other.seen)


def parse_seeds(text: str) -> tuple[int, int]:
    """First seed and number of seeds of "FIRST:COUNT"."""
    first, count = text.split(":")
    return int(first), int(count)


def seeds_wanted() -> tuple[int, int]:
    """First seed and number of seeds, of the environment or by default."""
    return parse_seeds(os.environ.get(SEEDS_VARIABLE, DEFAULT_SEEDS))


def play(seed: int) -> World:
    """Play the seed's world to its end and check it."""
    world = World(seed)
    try:
        world.run()
        check(world)
    except Exception as error:
        error.add_note(world.describe())
        raise
    return world


def play_block(first: int, count: int) -> Outcome:
    """Play seeds one after the other."""
    outcome = Outcome()
    for seed in range(first, first + count):
        outcome.seeds += 1
        try:
            outcome.seen.update(play(seed).seen)
        except Exception as error:
            report = "".join(traceback.format_exception(error, limit=-_LAST_FRAMES))
            outcome.failures.append(Failure(seed, report))
    return outcome


def play_all(first: int, count: int, progress: Callable[[Outcome], None] | None = None) -> Outcome:
    """Play `count` seeds in blocks, on as many processes as there are cores."""
    if count <= _BLOCK_SEEDS:
        return play_block(first, count)
    outcome = Outcome()
    processes = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), processes) as pool:
        blocks = [
            pool.submit(play_block, start, min(_BLOCK_SEEDS, first + count - start))
            for start in range(first, first + count, _BLOCK_SEEDS)
        ]
        for block in as_completed(blocks):
            outcome.add(block.result())
            if progress is not None:
                progress(outcome)
    outcome.failures.sort(key=lambda failure: failure.seed)
    return outcome
