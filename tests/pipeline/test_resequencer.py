"""Verdicts on sequences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.resequencer import Verdict, judge_sequence

SEQUENCES = st.integers(0, 2**63 - 1)


@given(SEQUENCES, SEQUENCES)
def test_a_sequence_is_next_a_jump_or_a_duplicate_by_its_order(expected: int, sequence: int) -> None:
    verdict = judge_sequence(expected, sequence)
    assert (verdict is Verdict.NEXT) == (sequence == expected)
    assert (verdict is Verdict.JUMP) == (sequence > expected)
    assert (verdict is Verdict.DUPLICATE) == (sequence < expected)


def test_a_chunk_that_follows_is_next_and_its_repetition_a_duplicate() -> None:
    assert judge_sequence(4, 4) is Verdict.NEXT
    assert judge_sequence(5, 4) is Verdict.DUPLICATE
    assert judge_sequence(5, 7) is Verdict.JUMP
