"""Word error rate of a session: how many words differ from what was said.

Both texts are brought to the words as spoken first (recordings/spoken.py), so that formatting, such as
digits, "bpm" or punctuation, counts neither for nor against a recogniser. The alignment is jiwer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import jiwer

from deploy.local.recordings.spoken import spoken_form


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Differences between a transcript and its reference, in words."""

    reference_words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word; above 1.0 when much was invented, 0.0 when nothing was said."""
        return self.errors / max(1, self.reference_words)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.reference_words + other.reference_words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


NO_ERRORS = WordErrors(0, 0, 0, 0)


def word_errors(reference: str, transcript: str) -> WordErrors:
    """Compares the two texts word by word."""
    said, heard = spoken_form(reference), spoken_form(transcript)
    if not said:  # jiwer refuses an empty reference
        return WordErrors(0, 0, 0, len(heard.split()))
    alignment = jiwer.process_words(said, heard)
    return WordErrors(
        reference_words=len(said.split()),
        substitutions=alignment.substitutions,
        deletions=alignment.deletions,
        insertions=alignment.insertions,
    )
