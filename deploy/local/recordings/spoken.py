"""Written text to the words a speaker says: "75 bpm" becomes "seventy five beats per minute".

The synthesis script reads dictations through it, so that the voice says exactly the words the reference
stands for, and the demo brings reference and transcript to this one form before it counts word errors: a
recogniser that writes "75 bpm" and one that writes "seventy five beats per minute" heard the same thing.

Pure: text in, text out. English, whole numbers below one million and decimals digit by digit.
"""

from __future__ import annotations

import re

# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
# fmt: on
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

# What formatted transcripts write for spoken words. Longest first, matched as whole tokens in lower case.
_ABBREVIATIONS = {
    "i/o": "in and out",
    "mmhg": "millimeters of mercury",
    "bpm": "beats per minute",
    "mcg": "micrograms",
    "mg": "milligrams",
    "ml": "milliliters",
    "mm": "millimeters",
    "cm": "centimeters",
    "kg": "kilograms",
    "%": "percent",
}

_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:/\d+)?|i/o(?![a-z])|%|[a-z]+(?:'[a-z]+)?")


def number_words(number: int) -> str:
    """Cardinal of `number` (0 to 999,999) as American dictation says it: no "and", no hyphen."""
    if not 0 <= number < 1_000_000:
        raise ValueError(f"number_words takes 0 to 999999, not {number}")
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _join(_TENS[number // 10], number % 10)
    if number < 1_000:
        return _join(f"{_ONES[number // 100]} hundred", number % 100)
    return _join(f"{number_words(number // 1_000)} thousand", number % 1_000)


def spoken_form(text: str) -> str:
    """The words of `text` as they are said: lower case, one space between, digits and units in words.

    Punctuation goes, hyphens separate words. "138/84" is read as "one hundred thirty eight over eighty four",
    "4.2" as "four point two". A number of seven digits or more is read digit by digit.
    """
    lowered = text.lower().replace("’", "'")
    lowered = re.sub(r"(?<=\d),(?=\d{3}\b)", "", lowered)
    return " ".join(_token_words(token) for token in _TOKEN.findall(lowered))


def _join(head: str, rest: int) -> str:
    return f"{head} {number_words(rest)}" if rest else head


def _token_words(token: str) -> str:
    if not token[0].isdigit():
        return _ABBREVIATIONS.get(token, token)
    if "/" in token:
        return " over ".join(_numeral_words(part) for part in token.split("/"))
    return _numeral_words(token)


def _numeral_words(numeral: str) -> str:
    whole, _, decimals = numeral.partition(".")
    words = number_words(int(whole)) if len(whole) < 7 else _digits(whole)
    return f"{words} point {_digits(decimals)}" if decimals else words


def _digits(numeral: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in numeral)
