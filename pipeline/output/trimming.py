"""What of a final is news, when everything up to some moment has been published before. Pure.

Audio that is transcribed once more need not be cut into the same segments, so a segment may begin before the
end of what was published and end behind it. Words decide: one whose middle lies behind that end is news. The
middle, because the same word, heard again, may begin or end a few hundredths of a second elsewhere.

Entities stay consistent with the words: one that is cut in two is left with the words that are news.

Finals are records of the schema `final_transcript`, as dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.output.entities import Record, middle, places_of

PRONUNCIATION = "pronunciation"
_MICROS = 1_000_000


def end_of_words(final: Record) -> float:
    """Where the last word of the final ends, in seconds; the final's own end when no word has a time."""
    ends = [item["end_time"] for item in _words(final["alternatives"])]
    return max(ends) if ends else float(final["end_time"])


def news_of(final: Record, published_until: float) -> dict[str, Any] | None:
    """The part of the final behind `published_until` (seconds on its timeline); None when nothing is.

    A final that is all news stays as it is. Otherwise each alternative is cut to its last items, and its text
    is put together anew from them.
    """
    words = _words(final["alternatives"])
    if not words:
        is_news = middle(final) > published_until
        return dict(final) if is_news else None
    if all(middle(word) > published_until for word in words):
        return dict(final)
    alternatives = [_cut(alternative, published_until) for alternative in final["alternatives"]]
    left = _words(alternatives)
    if not left:
        return None
    start_time = left[0]["start_time"]
    return {
        **final,
        "alternatives": [alternative for alternative in alternatives if alternative["items"]],
        "start_time": start_time,
        "started_at": _moved(final.get("started_at"), start_time - final["start_time"]),
    }


def _words(alternatives: Sequence[Record]) -> list[Record]:
    """The words of the best alternative that say when they were spoken."""
    items = alternatives[0]["items"] if alternatives else ()
    return [item for item in items if _is_timed_word(item)]


def _is_timed_word(item: Record) -> bool:
    """Times that the service left out are equal."""
    return bool(item["type"] == PRONUNCIATION and item["end_time"] > item["start_time"])


def _cut(alternative: Record, published_until: float) -> dict[str, Any]:
    """Without the items up to the last word that was published, and the marks behind that word."""
    items = list(alternative["items"])
    published = [
        place for place, item in enumerate(items) if _is_timed_word(item) and middle(item) <= published_until
    ]
    first = published[-1] + 1 if published else 0
    while first < len(items) and items[first]["type"] != PRONUNCIATION:
        first += 1
    rests = [_rest(entity, items, first) for entity in alternative["entities"]]
    entities = [rest for rest in rests if rest is not None]
    left = items[first:]
    return {**alternative, "items": left, "entities": entities, "transcript": _text(left)}


def _rest(entity: Record, items: Sequence[Record], first: int) -> Record | None:
    """What of the entity is in `items[first:]`; one that is not found in the items stays, for it may be."""
    places = places_of(entity, items)
    if places is None or places[0] >= first:
        return entity
    left = [items[place] for place in places if place >= first]
    if not left:
        return None
    content = " ".join(item["content"] for item in left)
    return {**entity, "content": content, "start_time": left[0]["start_time"]}


def _text(items: Sequence[Record]) -> str:
    """The items as the service writes them: a blank before each word, none before a mark."""
    text = ""
    for item in items:
        if item["content"]:
            text += f" {item['content']}" if text and item["type"] == PRONUNCIATION else item["content"]
    return text


def _moved(started_at: int | None, seconds: float) -> int | None:
    return None if started_at is None else started_at + round(seconds * _MICROS)
