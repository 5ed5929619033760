"""Protected health information in a final, by a rule simple enough to write tests against.

The service finds names, dates, numbers and addresses with a model; here two kinds of words are marked, and
words that follow each other without punctuation between them make one entity:

- words with a digit, unless a unit follows ("75 bpm" is a measurement, "75 Elm" is not);
- words with a capital, unless they begin a sentence, are "I" ("I", "I've") or are written in capitals only
  ("ECG", "I/O").

So "On May 5, Doctor Green saw I/O of 75 bpm." has the entities "May 5" and "Doctor Green". The rule also
marks what no reader would ("Sinus") and misses what every reader sees ("elm street"): it is for trying out
clients, never for protecting anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from connectors.transcribe.model import MedicalEntity
from deploy.local.transcribe.recognisers import Word
from deploy.local.transcribe.text import UNITS

CATEGORY = "PHI"
_SENTENCE_ENDS = frozenset(".?!")


def find_phi(words: Sequence[Word]) -> tuple[MedicalEntity, ...]:
    """The entities in the words of one final, in order. An entity is as confident as its least sure word."""
    marked = groupby(_judge(words), key=lambda judged: judged[0])
    return tuple(_entity([word for _, word in group]) for identifies, group in marked if identifies)


def _judge(words: Sequence[Word]) -> Iterator[tuple[bool, Word]]:
    begins_sentence = True
    for position, word in enumerate(words):
        follower = words[position + 1].content if position + 1 < len(words) else ""
        yield not word.is_punctuation and _identifies(word.content, follower, begins_sentence), word
        begins_sentence = word.is_punctuation and word.content[:1] in _SENTENCE_ENDS


def _identifies(content: str, follower: str, begins_sentence: bool) -> bool:
    if any(character.isdigit() for character in content):
        return follower not in UNITS
    return not begins_sentence and content[:1].isupper() and not content.isupper() and content[:2] != "I'"


def _entity(words: Sequence[Word]) -> MedicalEntity:
    known = [word.confidence for word in words if word.confidence is not None]
    return MedicalEntity(
        start_time=words[0].start_seconds,
        end_time=words[-1].end_seconds,
        category=CATEGORY,
        content=" ".join(word.content for word in words),
        confidence=min(known, default=None),
    )
