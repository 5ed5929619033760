"""What both deliveries promise, while workers die, also around a commit, brokers die, and zombies wake up.

Exactly once: the service cuts the same audio into other segments each time it hears it, and a consumer of
another library that reads committed records only sees every word of every session once, in order, under
indexes without holes. At least once: nothing is missing, and what comes again is the same, under the same id.

A few disturbances in CI; `make prove-deliveries`, the whole proof, sets MEDSTREAM_TEST_KILLS and so on.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.settings import AT_LEAST_ONCE, EXACTLY_ONCE
from tests.integration.committed_reader import assert_each_word_once
from tests.integration.conftest import Measured
from tests.integration.harness import Conversation, Session, marked_session
from tests.integration.mortal_job import (
    AFTER_COMMIT,
    ANY_MOMENT,
    BEFORE_COMMIT,
    BROKER,
    ZOMBIE,
    Stage,
    disturb,
    stage,
)
from tests.integration.verdicts import assert_complete, assert_repeats_are_the_same

KILLS = int(os.environ.get("MEDSTREAM_TEST_KILLS", "2"))
BROKER_KILLS = int(os.environ.get("MEDSTREAM_TEST_BROKER_KILLS", "1"))
ZOMBIES = int(os.environ.get("MEDSTREAM_TEST_ZOMBIES", "0"))  # test_paused_worker has one
SEED = int(os.environ.get("MEDSTREAM_TEST_SEED", str(random.randrange(10**6))))  # noqa: S311

pytestmark = pytest.mark.timeout(200 + 40 * (KILLS + BROKER_KILLS + ZOMBIES))

SESSIONS = 8
MAX_STREAMS = ["--max-streams", str(6 * SESSIONS)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """Of its own, since it is killed."""
    with KafkaBroker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def lone_flink(tmp_path: Path) -> Iterator[FlinkJobServer]:
    with FlinkJobServer(tmp_path / "flink") as server:
        yield server


def test_exactly_once_every_word_is_read_once_whatever_dies(
    broker: KafkaBroker, lone_flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    options = ["--recogniser-option", "max-words=5", *MAX_STREAMS]
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as endpoint,
        stage(broker, lone_flink, endpoint, tmp_path, EXACTLY_ONCE, SEED) as scene,
    ):
        plan = [(BEFORE_COMMIT, AFTER_COMMIT, ANY_MOMENT)[number % 3] for number in range(KILLS)]
        sessions = play(scene, [*plan, *[BROKER] * BROKER_KILLS, *[ZOMBIE] * ZOMBIES], measured)
        time.sleep(3)  # what a zombie might still write
        assert_each_word_once(scene.reader, sessions)
        words = sum(len(final["alternatives"][0]["items"]) for final in scene.reader.finals)
        measured(f"{len(scene.reader.finals)} finals, {words} words, each once")


def test_at_least_once_nothing_is_missing_and_repeats_are_the_same(
    broker: KafkaBroker, lone_flink: FlinkJobServer, tmp_path: Path, measured: Measured
) -> None:
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=MAX_STREAMS) as endpoint,
        stage(broker, lone_flink, endpoint, tmp_path, AT_LEAST_ONCE, SEED) as scene,
    ):
        plan = [(BEFORE_COMMIT, ANY_MOMENT)[number % 2] for number in range(KILLS // 2)]
        sessions = play(scene, [*plan, *[BROKER] * (BROKER_KILLS // 2)], measured)
        scene.job.outputs.wait_ended(sessions, 60)
        assert_complete(scene.job, sessions)
        repeats = assert_repeats_are_the_same(scene.job, sessions)
        measured(f"{len(scene.job.outputs.finals)} finals, {repeats} of them repeats")
        assert repeats >= plan.count(BEFORE_COMMIT), "finals whose markers were not written come again"


def play(scene: Stage, plan: Sequence[str], measured: Measured) -> list[Session]:
    """A conversation with the disturbances of the plan, in any order; returns what was said."""
    measured(f"seed {SEED}")
    longest = [marked_session(f"x{n}", 800, words=2 + n % 5) for n in range(SESSIONS)]
    scene.ids = {session.id for session in longest}
    conversation = Conversation(scene.job.player, longest)
    scene.reader.seconds_until_all_spoke(scene.ids, 0.0, 90)
    order = scene.dice.sample(plan, len(plan))
    seconds = [disturb(scene, what, measured) for what in order]
    sessions = conversation.finish()
    scene.reader.wait_ended(sessions, 120)
    for kind in sorted(set(plan)):
        found = [second for what, second in zip(order, seconds, strict=True) if what == kind]
        measured(
            f"{kind:16} {len(found):3} times; seconds until all sessions had new finals: median "
            f"{statistics.median(found):.1f}, most {max(found):.1f}"
        )
    return sessions
