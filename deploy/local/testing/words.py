"""Texts as the words that are compared. Pure.

A word is what stands between spaces. Normally case does not count, nor does punctuation at a word's ends
(`.,;:!?…"'()[]{}<>` and typographic quotes and dashes): "Fever," is "fever"; "4.2", "138/84", "don't" and
"follow-up" stay as they are; a dash by itself is no word. Unicode is compared in NFKC. `verbatim` takes every
word as it is written.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_AROUND_WORDS = ".,;:!?…\"'()[]{}<>‘’“”„‚«»‹›¿¡–—"
_DASHES = "-‐‑"


@dataclass(frozen=True, slots=True, repr=False)
class Word:
    """A word as it is written, and what is compared of it."""

    written: str
    compared: str


def words_of(text: str, *, verbatim: bool = False) -> tuple[Word, ...]:
    """The words of `text` in their order."""
    written = text.split()
    if verbatim:
        return tuple(Word(word, word) for word in written)
    return tuple(Word(word, plain) for word in written if (plain := _plain(word)))


def _plain(word: str) -> str:
    folded = unicodedata.normalize("NFKC", word).casefold().strip(_AROUND_WORDS)
    kept = "".join(folded.split())  # NFKC makes spaces of some characters
    return kept if kept.strip(_DASHES) else ""
