"""Two rows of words side by side: what is equal, what differs. Pure; the alignment is jiwer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jiwer

Pair = tuple[int | None, int | None]
"""Places of an expected and an actual word; one is None where there is no counterpart."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Every word once, in order: `pairs` of the same or of replaced words, and words without counterpart."""

    pairs: tuple[Pair, ...]
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Fewest words to replace, leave out or put in to make one row of the other."""
        return self.substitutions + self.deletions + self.insertions


def align(expected: Sequence[str], actual: Sequence[str]) -> Alignment:
    """The words of both rows side by side, with the fewest differences."""
    if not expected or not actual:  # jiwer refuses an empty reference
        missing: list[Pair] = [(place, None) for place in range(len(expected))]
        added: list[Pair] = [(None, place) for place in range(len(actual))]
        return Alignment((*missing, *added), deletions=len(missing), insertions=len(added))
    # Words as numbers: whatever a word has in it, jiwer sees what was compared.
    numbers: dict[str, str] = {}
    rows = [[numbers.setdefault(word, str(len(numbers))) for word in row] for row in (expected, actual)]
    found = jiwer.process_words(" ".join(rows[0]), " ".join(rows[1]))
    return Alignment(
        tuple(_pairs(found.alignments[0])), found.substitutions, found.deletions, found.insertions
    )


def _pairs(chunks: Sequence[jiwer.AlignmentChunk]) -> Iterator[Pair]:
    for chunk in chunks:
        expected = range(chunk.ref_start_idx, chunk.ref_end_idx)
        actual = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        if chunk.type == "delete":
            yield from ((place, None) for place in expected)
        elif chunk.type == "insert":
            yield from ((None, place) for place in actual)
        else:
            yield from zip(expected, actual, strict=True)
