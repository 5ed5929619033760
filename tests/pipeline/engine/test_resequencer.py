"""Verdicts on sequences, and chunks that wait for their predecessors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.resequencer import Fingerprint, Hole, Resequencer, Verdict
from pipeline.engine.timeline import Position
from tests.pipeline.builders import CHUNK_SAMPLES, chunk


def due(sequence: int, epoch: int = 0) -> Position:
    return Position(0, sequence, 0, epoch=epoch)


def loud(sequence: int, sound: int = 1) -> object:
    return chunk(sequence, payload=bytes([sound]) * 2 * CHUNK_SAMPLES)


def taken(count: int) -> Resequencer:
    """A resequencer that remembers chunks 0 to count-1, chunk n with the sound n."""
    order = Resequencer()
    for sequence in range(count):
        order.remember(chunk(sequence, payload=bytes([sequence]) * 16), 0)
    return order


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_sequence_not_yet_passed_is_next_or_ahead(expected: int, sequence: int) -> None:
    if sequence >= expected:
        verdict = Resequencer().judge(chunk(sequence), due(expected))
        assert verdict is (Verdict.NEXT if sequence == expected else Verdict.AHEAD)


def test_the_same_sequence_with_the_same_audio_is_a_duplicate() -> None:
    assert taken(8).judge(chunk(3, payload=bytes([3]) * 16), due(8)) is Verdict.DUPLICATE


def test_a_used_sequence_with_other_audio_tells_of_a_producer_that_began_again() -> None:
    assert taken(8).judge(chunk(3, payload=b"\x09" * 16), due(8)) is Verdict.RESTART


@pytest.mark.parametrize(("sequence", "verdict"), [(0, Verdict.RESTART), (3, Verdict.LATE)])
def test_what_nobody_remembers_is_late_but_for_the_very_first(sequence: int, verdict: Verdict) -> None:
    assert Resequencer().judge(chunk(sequence), due(900)) is verdict


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_chunk_of_a_hole_that_was_given_up_is_late(sequence: int) -> None:
    order = Resequencer()
    order.give_up(0, 0, 2)
    assert order.judge(chunk(sequence), due(5)) is Verdict.LATE


def test_each_epoch_has_its_own_memory() -> None:
    order = taken(8)
    assert order.judge(chunk(3, payload=bytes([3]) * 16), due(8, epoch=1)) is Verdict.LATE


def test_only_so_many_chunks_are_remembered() -> None:
    order = Resequencer()
    for sequence in range(1000):
        order.remember(chunk(sequence), 0)
    assert order.judge(chunk(999), due(1000)) is Verdict.DUPLICATE
    assert order.judge(chunk(10), due(1000)) is Verdict.LATE


def test_a_held_chunk_waits_until_its_sequence_is_due() -> None:
    order = Resequencer()
    order.hold(7, chunk(2), 10.0)
    order.hold(9, chunk(1), 11.0)
    assert order.first is not None
    assert (order.first.offset, order.waits_since) == (9, 10.0)
    assert (order.held_samples, sorted(order.held_offsets)) == (2 * CHUNK_SAMPLES, [7, 9])
    assert order.judge(chunk(2), due(0)) is Verdict.DUPLICATE, "a held chunk written once more"
    assert order.judge(chunk(2, payload=b"\x01\x01"), due(0)) is Verdict.REUSED
    assert order.release(0) is None
    held = order.release(1)
    assert held is not None
    assert (held.offset, order.held_samples) == (9, CHUNK_SAMPLES)
    assert [held.offset for held in order.release_all()] == [7]
    assert (order.first, order.waits_since, order.held_samples) == (None, None, 0)


def test_a_cursor_keeps_the_last_chunks_and_holes_before_it() -> None:
    order = taken(100)
    order.give_up(0, 40, 42)
    order.give_up(0, 98, 99)
    order.give_up(1, 0, 1)
    kept = order.fingerprints(0, 50)
    assert [fingerprint.sequence for fingerprint in kept] == list(range(18, 50))
    assert order.holes(0, 50) == (Hole(40, 42),)
    restored = Resequencer(0, kept, order.holes(0, 50))
    assert restored.judge(chunk(49, payload=bytes([49]) * 16), due(50)) is Verdict.DUPLICATE
    assert restored.judge(chunk(40), due(50)) is Verdict.LATE


def test_what_was_remembered_twice_counts_as_fresh() -> None:
    order = taken(3)
    order.remember(chunk(0, payload=b"\x05\x05"), 0)
    assert [fingerprint.sequence for fingerprint in order.fingerprints(0, 9)] == [1, 2, 0]
    assert isinstance(order.fingerprints(0, 9)[0], Fingerprint)
