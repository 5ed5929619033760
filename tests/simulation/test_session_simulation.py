"""The session engine through thousands of random failures: whatever breaks, the transcript is what was said.

A failing run prints its seed; `MEDSTREAM_SIMULATION_SEEDS=1000:200 pytest tests/simulation` plays 200 runs
from seed 1000.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.world import RATE, World

_FIRST, _COUNT = (int(part) for part in os.environ.get("MEDSTREAM_SIMULATION_SEEDS", "0:150").split(":"))
_GROUP = 25


@pytest.mark.parametrize("first_seed", range(_FIRST, _FIRST + _COUNT, _GROUP))
@pytest.mark.parametrize("trouble", [0, 4, 15])
def test_finals_say_exactly_what_was_recorded(first_seed: int, trouble: int) -> None:
    for seed in range(first_seed, min(first_seed + _GROUP, _FIRST + _COUNT)):
        try:
            _play(seed, trouble)
        except Exception as error:
            error.add_note(f"simulation seed {seed}, trouble {trouble}")
            raise


def _play(seed: int, trouble: int) -> None:
    world = World(seed, trouble)
    world.run()
    assert not world.rejected
    by_index = {final.segment_index: final for final in world.finals}
    assert sorted(by_index) == list(range(len(by_index))), "a segment_index is missing"
    heard = [
        (item.content, item.start_time, item.end_time)
        for index in sorted(by_index)
        for item in by_index[index].alternatives[0].items
    ]
    expected = world.recording.words()
    assert [word for word, _, _ in heard] == [word for word, _, _ in expected]
    for (_, start, end), (_, expected_start, expected_end) in zip(heard, expected, strict=True):
        assert start == pytest.approx(expected_start, abs=0.002)
        assert end == pytest.approx(expected_end, abs=0.002)
    _check_summary(world)
    _check_partials(world)
    if not trouble:
        assert len(world.finals) == len(by_index), "without failures each final comes once"
        assert world.streams_opened == 1


def _check_summary(world: World) -> None:
    summary = world.ended[-1]
    assert summary.reason == "END_OF_SESSION"
    assert summary.chunks == len(world.log)
    assert summary.segments == len({final.segment_index for final in world.finals})
    assert summary.audio_seconds == pytest.approx(len(world.recording.samples()) / RATE)
    assert not summary.gaps


def _check_partials(world: World) -> None:
    """A partial's segment is finished by a final of the same result, or withdrawn, unless a kill took it."""
    if world.kills:
        return
    finished = {final.result_id for final in world.finals}
    withdrawn = {partial.result_id for partial in world.partials if partial.superseded}
    assert {partial.result_id for partial in world.partials} <= finished | withdrawn
