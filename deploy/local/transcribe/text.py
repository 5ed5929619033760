"""Spoken words to written items, the way the service writes them: "75 bpm." for "seventy five beats per
minute".

A few rules, each over whole words: numbers from ten up and decimals become digits, a short table of units and
phrases becomes abbreviations, "I" and the first word get a capital, a final ends with a full stop. Words that
become one item keep the start of the first, the end of the last and the lowest confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.local.transcribe.recognisers import Word

_ABBREVIATIONS: dict[tuple[str, ...], str] = {
    ("beats", "per", "minute"): "bpm",
    ("in", "and", "out"): "I/O",
    ("millimeters", "of", "mercury"): "mmHg",
    ("micrograms",): "mcg",
    ("milligrams",): "mg",
    ("milliliters",): "mL",
}
_LONGEST_PHRASE = max(map(len, _ABBREVIATIONS))
UNITS = frozenset(("bpm", "mmHg", "mcg", "mg", "mL"))
"""The abbreviations that follow a number."""

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONE_VALUES = {word: value for value, word in enumerate(_ONES)}
_TEEN_VALUES = {word: 10 + value for value, word in enumerate(_TEENS)}
_TENS_VALUES = {word: 20 + 10 * value for value, word in enumerate(_TENS)}

_Number = tuple[int, int]
"""A value and the position after its last word."""


def format_words(words: Sequence[Word], *, is_final: bool) -> tuple[Word, ...]:
    """Return the items to write for lower-case spoken `words`; punctuation that was recognised stays."""
    items: list[Word] = []
    texts = [word.content for word in words]
    position = 0
    while position < len(words):
        content, end = _written(texts, position)
        items.append(_merge(content, words[position:end]))
        position = end
    if not items:
        return ()
    items[0] = replace(items[0], content=items[0].content[:1].upper() + items[0].content[1:])
    if is_final and not items[-1].is_punctuation:
        end_seconds = items[-1].end_seconds
        items.append(Word(".", end_seconds, end_seconds, None, is_punctuation=True))
    return tuple(items)


def _merge(content: str, words: Sequence[Word]) -> Word:
    known = [word.confidence for word in words if word.confidence is not None]
    return replace(
        words[0],
        content=content,
        end_seconds=words[-1].end_seconds,
        confidence=min(known, default=None),
    )


def _written(texts: Sequence[str], position: int) -> tuple[str, int]:
    """What to write for the words at `position`, and the position after them."""
    for length in range(_LONGEST_PHRASE, 0, -1):
        phrase = tuple(texts[position : position + length])
        if len(phrase) == length and phrase in _ABBREVIATIONS:
            return _ABBREVIATIONS[phrase], position + length
    number = _read_number(texts, position)
    if number is not None:
        value, end = number
        decimals, decimals_end = _read_decimals(texts, end)
        if decimals:
            return f"{value}.{decimals}", decimals_end
        if value >= 10:
            return str(value), end
    return _capitalise_pronoun(texts[position]), position + 1


def _capitalise_pronoun(text: str) -> str:
    return "I" + text[1:] if text == "i" or text.startswith("i'") else text


def _read_number(texts: Sequence[str], position: int) -> _Number | None:
    """A cardinal below a million: "two thousand three hundred and five"."""
    below = _read_below_thousand(texts, position)
    if below is None or _at(texts, below[1]) != "thousand" or below[0] == 0:
        return below
    value, end = below[0] * 1000, below[1] + 1
    rest = _read_after_and(texts, end, _read_below_thousand(texts, _after_and(texts, end)))
    return (value, end) if rest is None else (value + rest[0], rest[1])


def _read_below_thousand(texts: Sequence[str], position: int) -> _Number | None:
    hundreds = _ONE_VALUES.get(_at(texts, position), 0)
    if not hundreds or _at(texts, position + 1) != "hundred":
        return _read_below_hundred(texts, position)
    value, end = hundreds * 100, position + 2
    rest = _read_after_and(texts, end, _read_below_hundred(texts, _after_and(texts, end)))
    return (value, end) if rest is None else (value + rest[0], rest[1])


def _read_below_hundred(texts: Sequence[str], position: int) -> _Number | None:
    word = _at(texts, position)
    if word in _TENS_VALUES:
        ones = _ONE_VALUES.get(_at(texts, position + 1), 0)
        return (_TENS_VALUES[word] + ones, position + (2 if ones else 1))
    value = _TEEN_VALUES.get(word, _ONE_VALUES.get(word))
    return None if value is None else (value, position + 1)


def _after_and(texts: Sequence[str], position: int) -> int:
    return position + 1 if _at(texts, position) == "and" else position


def _read_after_and(texts: Sequence[str], position: int, rest: _Number | None) -> _Number | None:
    """`rest`, unless it is a lone zero or, behind "and", could begin something new ("and three of them")."""
    if rest is None or rest[0] == 0:
        return None
    follows_and = _at(texts, position) == "and"
    return None if follows_and and _at(texts, rest[1]) == "of" else rest


def _read_decimals(texts: Sequence[str], position: int) -> tuple[str, int]:
    """The digits spoken after "point"; an empty text when there are none."""
    if _at(texts, position) != "point":
        return "", position
    end = position + 1
    digits = ""
    while _at(texts, end) in _ONE_VALUES:
        digits += str(_ONE_VALUES[_at(texts, end)])
        end += 1
    return digits, end


def _at(texts: Sequence[str], position: int) -> str:
    return texts[position] if position < len(texts) else ""
