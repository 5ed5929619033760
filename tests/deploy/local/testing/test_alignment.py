"""Rows of words side by side, against jiwer's count and a plain edit distance."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.testing.alignment import align

WORDS = st.lists(st.sampled_from(["a", "b", "c", "the", "-", "|", "ä"]), max_size=12)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Wagner and Fischer's, as written in any textbook."""
    row = list(range(len(other) + 1))
    for number, word in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, counterpart in enumerate(other, 1):
            cheapest = min(row[place] + 1, row[place - 1] + 1, before + (word != counterpart))
            before, row[place] = row[place], cheapest
    return row[-1]


@given(WORDS, WORDS)
def test_every_word_is_there_once_in_order_and_the_differences_are_the_fewest(
    expected: list[str], actual: list[str]
) -> None:
    found = align(expected, actual)
    assert [left for left, _ in found.pairs if left is not None] == list(range(len(expected)))
    assert [right for _, right in found.pairs if right is not None] == list(range(len(actual)))
    assert found.errors == edit_distance(expected, actual)
    differing = [
        pair
        for pair in found.pairs
        if pair[0] is None or pair[1] is None or expected[pair[0]] != actual[pair[1]]
    ]
    assert len(differing) == found.errors


def test_a_row_without_words_is_all_missing_or_all_added() -> None:
    assert align(["a", "b"], []).deletions == 2
    assert align([], ["a"]).insertions == 1
    assert align([], []).pairs == ()
