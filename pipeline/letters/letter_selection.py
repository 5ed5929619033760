"""Dead letters as people look for them: by reason, session and time, each position once. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pipeline.elements import DeadLetter

Position = tuple[str, int, int]
"""Topic, partition and offset of the bad record: what identifies a dead letter."""

_RANGE = re.compile(r"the session from offset (\d+) (?:on|to (\d+)): ")


def range_message(first_offset: int, last_offset: int | None, reason: str) -> str:
    """The message of a session that is given up: which records it is about (to the last one, inclusive; None:
    all from the first), and why. `range_of` reads it back.
    """
    until = "on" if last_offset is None else f"to {last_offset}"
    return f"the session from offset {first_offset} {until}: {reason}"


def range_of(letter: DeadLetter) -> tuple[int, int | None] | None:
    """First and last offset of the session that the letter gives up; None: it is about one record."""
    found = _RANGE.match(letter.rejection.reason) if letter.record.value is None else None
    if found is None:
        return None
    return int(found[1]), None if found[2] is None else int(found[2])


def position_of(letter: DeadLetter) -> Position:
    """What identifies the letter, as `ce_id` has it."""
    return letter.record.topic, letter.record.partition, letter.record.offset


def position_text(position: Position) -> str:
    """`TOPIC/PARTITION/OFFSET`."""
    return "/".join(map(str, position))


def session_of(letter: DeadLetter) -> str | None:
    """The session, as the letter or its record's key names it."""
    if letter.session_id is not None:
        return letter.session_id
    try:
        return (letter.record.key or b"").decode() or None
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; what is empty or None selects all. Times: of the failure, [from, to), ms."""

    reasons: Collection[str] = ()
    sessions: Collection[str] = ()
    positions: Collection[str] = ()
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.reasons or letter.rejection.error_class in self.reasons)
            and (not self.sessions or session_of(letter) in self.sessions)
            and (not self.positions or position_text(position_of(letter)) in self.positions)
            and (self.from_ms is None or letter.failed_at_ms >= self.from_ms)
            and (self.to_ms is None or letter.failed_at_ms < self.to_ms)
        )


def each_once(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The last letter of each position, by position: letters may repeat, under the same id."""
    latest: dict[tuple[Position, bool], DeadLetter] = {}
    for letter in letters:  # a refused session's letter bears its first record's position, which may have one
        latest[position_of(letter), range_of(letter) is not None] = letter
    return [latest[place] for place in sorted(latest)]


@dataclass(slots=True)
class ReasonCount:
    """The letters of one error class."""

    reason: str
    letters: int = 0
    sessions: set[str] = field(default_factory=set)
    first_at_ms: int = 0
    last_at_ms: int = 0
    example: str = ""
    """The message of the latest."""


def by_reason(letters: Iterable[DeadLetter]) -> list[ReasonCount]:
    """What there is of each error class, the most frequent first."""
    found: dict[str, ReasonCount] = {}
    for letter in letters:
        count = found.setdefault(letter.rejection.error_class, ReasonCount(letter.rejection.error_class))
        count.letters += 1
        if (session := session_of(letter)) is not None:
            count.sessions.add(session)
        count.first_at_ms = min(count.first_at_ms or letter.failed_at_ms, letter.failed_at_ms)
        if letter.failed_at_ms >= count.last_at_ms:
            count.last_at_ms, count.example = letter.failed_at_ms, letter.rejection.reason
    return sorted(found.values(), key=lambda count: (-count.letters, count.reason))
