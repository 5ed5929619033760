"""Where in a final the words of its PHI entities are. Pure.

The service gives an entity its text and its times apart from the words it consists of. Both must agree: an
entity is the words in whose middle its time is, and their text must be its own. Records are those of the
schema `final_transcript`, as dictionaries.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

_WORD = re.compile(r"\w+")
_ROUNDING_SECONDS = 1e-6  # items and entities are moved to the session's timeline one by one


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, without marks and difference of letters: "Smith-Jones's" has three."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def middle(timed: Record) -> float:
    """Half-way between start and end, in seconds."""
    return float(timed["start_time"] + timed["end_time"]) / 2


def places_of(entity: Record, items: Sequence[Record]) -> list[int] | None:
    """Which of `items` the entity consists of, by index; None when its times and its text disagree."""
    start, end = entity["start_time"] - _ROUNDING_SECONDS, entity["end_time"] + _ROUNDING_SECONDS
    places = [
        place
        for place, item in enumerate(items)
        if start <= middle(item) <= end and words_of(item["content"])
    ]
    found = "".join("".join(words_of(items[place]["content"])) for place in places)
    return places if found and found == "".join(words_of(entity["content"])) else None
