"""Finals without the words that the service identified as protected health information. Pure.

`mask` makes of a final the record of the masked topic: same schema, same ids, same times, `phi_masked`. Words
of entities become a token, `[PHI]` (the service's category), each word by itself, in the items, the
transcript and the entities; a word that an entity of the segment has is masked wherever the segment has it,
since a name said twice may be identified once. Only the best reading is kept, and the entities of all of them
count against it.

It fails closed. A segment of which it is not certain where its entities are is masked as a whole: one reading
`[MASKED]` without items. So is one whose stream was not asked to identify anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.output.entities import Record, places_of, words_of

PHI = "PHI"
"""What a stream is asked to identify (ContentIdentificationType), and the service's one category."""
WHOLE = "[MASKED]"

_CATEGORY = re.compile(r"[A-Z][A-Z_]{0,31}")


@dataclass(frozen=True, slots=True)
class Masked:
    """`record` for the masked topic; whether words were replaced in it, and whether all of it was."""

    record: dict[str, Any] = field(repr=False)
    words: bool
    whole: bool


def mask(final: Record) -> Masked:
    """The final without what it says of a patient; see the module."""
    readings = final["alternatives"]
    if final.get("content_identification_type") != PHI:
        return _as_a_whole(final)
    if not any(reading["entities"] for reading in readings):
        return Masked({**final, "alternatives": list(readings[:1]), "phi_masked": True}, False, False)
    tokens = _tokens(readings)
    if tokens is None:
        return _as_a_whole(final)
    best = _masked_reading(readings[0], tokens)
    if best is None:
        return _as_a_whole(final)
    return Masked({**final, "alternatives": [best], "phi_masked": True}, True, False)


def _as_a_whole(final: Record) -> Masked:
    reading = {"transcript": WHOLE, "items": [], "entities": []}
    kept = [reading] if final["alternatives"] else []
    return Masked({**final, "alternatives": kept, "phi_masked": True}, bool(kept), bool(kept))


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What takes the place of a word: by its index in the best reading, or by what it is."""

    by_place: Mapping[int, str]
    by_word: Mapping[str, str]

    def of(self, place: int, content: str) -> str | None:
        """None: the word stays."""
        if place in self.by_place:
            return self.by_place[place]
        return next((self.by_word[word] for word in words_of(content) if word in self.by_word), None)


def _tokens(readings: Sequence[Record]) -> _Tokens | None:
    """None when an entity cannot be found in its own reading."""
    by_place: dict[int, str] = {}
    by_word: dict[str, str] = {}
    best = readings[0]["items"]
    for reading in readings:
        for entity in reading["entities"]:
            places = places_of(entity, reading["items"])
            if places is None:
                return None
            if reading is not readings[0]:  # other words, or cut otherwise: whatever was said meanwhile
                places = [place for place, item in enumerate(best) if _overlap(item, entity)]
            token = token_of(entity["category"])
            by_place |= {place: token for place in places if place not in by_place}
            by_word |= {word: token for word in words_of(entity["content"]) if word not in by_word}
    return _Tokens(by_place, by_word)


def token_of(category: str) -> str:
    """`[CATEGORY]`; a category that is no plain name is taken for text, and not repeated."""
    return f"[{category if _CATEGORY.fullmatch(category) else PHI}]"


def _overlap(item: Record, entity: Record) -> bool:
    return bool(
        words_of(item["content"])
        and item["start_time"] <= entity["end_time"]
        and item["end_time"] >= entity["start_time"]
    )


def _masked_reading(reading: Record, tokens: _Tokens) -> dict[str, Any] | None:
    """None when the transcript is not the text of the items, or a word would be left."""
    contents = [tokens.of(place, item["content"]) for place, item in enumerate(reading["items"])]
    items = [
        item if token is None else {**item, "content": token}
        for item, token in zip(reading["items"], contents, strict=True)
    ]
    spaces = _spaces(reading["transcript"], [item["content"] for item in reading["items"]])
    if spaces is None:
        return None
    said = [item["content"] for item in items]
    transcript = "".join(space + content for space, content in zip(spaces, [*said, ""], strict=True))
    entities = [{**entity, "content": token_of(entity["category"])} for entity in reading["entities"]]
    # Items may make other words together than each by itself.
    plain = "".join(
        space + (content if token is None else " ")
        for space, content, token in zip(spaces, [*said, ""], [*contents, None], strict=True)
    )
    if not tokens.by_word.keys().isdisjoint(words_of(plain)):
        return None
    return {**reading, "transcript": transcript, "items": items, "entities": entities}


def _spaces(transcript: str, contents: Sequence[str]) -> list[str] | None:
    """What stands before each of `contents` in the transcript and behind the last, if that is only blanks."""
    spaces, place = [], 0
    for content in contents:
        rest = transcript[place:]
        blanks = rest[: len(rest) - len(rest.lstrip())] if content else ""
        if not rest.startswith(content, len(blanks)):
            return None
        spaces.append(blanks)
        place += len(blanks) + len(content)
    behind = transcript[place:]
    return None if behind.strip() else [*spaces, behind]
