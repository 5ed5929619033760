"""What a retry of dead letters sends, and in which order. Pure.

A letter that holds its record's value is sent as it is. One that does not (a session refused for good, or a
record too large for a dead letter) names where its records lie in the input topic: they are read again there.
Everything goes in the order of the input topic's offsets, so each session is in its own order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from connectors.kafka.records import KafkaRecord
from pipeline.elements import (
    AFTER_END_OF_SESSION,
    MISSING_VALUE,
    RETRIES_EXHAUSTED,
    SESSION_REFUSED,
    DeadLetter,
)
from pipeline.errors import SettingsError
from pipeline.letters.letter_selection import each_once, position_of, position_text, range_of, session_of

ENDED = (SESSION_REFUSED, RETRIES_EXHAUSTED, AFTER_END_OF_SESSION)
"""Error classes of sessions that are over: whatever comes under their id is refused for a while."""
PLACEHOLDER = "{session}"


@dataclass(frozen=True, slots=True)
class Republish:
    """Send this record to its topic, byte for byte or under `new_session_id`."""

    record: KafkaRecord
    session_id: str | None
    new_session_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Send a session's records that lie in the input topic; `last_offset` inclusive, None: to its end."""

    key: bytes | None
    topic: str
    partition: int
    first_offset: int
    last_offset: int | None
    session_id: str | None
    new_session_id: str | None = None

    def holds(self, record: KafkaRecord) -> bool:
        """Whether the record is one of those."""
        here = (record.topic, record.partition, record.key) == (self.topic, self.partition, self.key)
        last = record.offset if self.last_offset is None else self.last_offset
        return here and self.first_offset <= record.offset <= last


Step = Republish | ReadAgain


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` in the order in which to take them; `left_out`: letters of records that never had a value."""

    steps: tuple[Step, ...]
    left_out: tuple[DeadLetter, ...] = ()


def plan_retry(letters: Iterable[DeadLetter], rename: str | None = None) -> Plan:
    """What to send for these letters.

    `rename`: the new session id, with `{session}` for the old one; needed in it where there are several
    sessions. Raises SettingsError. A record that is there with the same bytes twice, since an earlier retry
    failed too, is sent once.
    """
    once = each_once(letters)
    left_out = tuple(letter for letter in once if letter.rejection.error_class == MISSING_VALUE)
    sessions = {session for letter in once if (session := session_of(letter)) is not None}
    if rename is not None and PLACEHOLDER not in rename and len(sessions) > 1:
        raise SettingsError(
            "--rename", f"{len(sessions)} sessions would become one; put {PLACEHOLDER} in the new name"
        )
    steps = [
        _renamed(_step(letter), rename) for letter in once if letter.rejection.error_class != MISSING_VALUE
    ]
    ranges = [step for step in steps if isinstance(step, ReadAgain)]
    kept = [step for step in steps if not _is_covered(step, ranges)]
    return Plan(tuple(_without_repetitions(kept)), left_out)


def _step(letter: DeadLetter) -> Step:
    record = letter.record
    if record.value is not None:
        return Republish(record, session_of(letter))
    first, last = range_of(letter) or (record.offset, record.offset)
    return ReadAgain(record.key, record.topic, record.partition, first, last, session_of(letter))


def _renamed(step: Step, rename: str | None) -> Step:
    if rename is None:
        return step
    if step.session_id is None:
        raise SettingsError(
            "--rename", "a record without a session has no name to change; leave it out by --reason"
        )
    return replace(step, new_session_id=rename.replace(PLACEHOLDER, step.session_id))


def _is_covered(step: Step, ranges: Sequence[ReadAgain]) -> bool:
    """Whether the step's records are among those of a session that is read again as a whole."""
    if isinstance(step, Republish):
        return any(known.holds(step.record) for known in ranges)
    first = KafkaRecord(step.topic, step.partition, step.first_offset, -1, 0, step.key, None)
    return any(known is not step and known.holds(first) and _ends_behind(known, step) for known in ranges)


def _ends_behind(known: ReadAgain, step: ReadAgain) -> bool:
    """Whether `known` reaches further than `step`, which begins within it."""
    if step.last_offset is None:
        return known.last_offset is None and known.first_offset < step.first_offset
    wider = known.first_offset < step.first_offset or known.last_offset != step.last_offset
    return wider and (known.last_offset is None or known.last_offset >= step.last_offset)


def _without_repetitions(steps: Iterable[Step]) -> Iterable[Step]:
    seen = set()
    for step in steps:
        if isinstance(step, Republish):
            sent = (step.record.topic, step.record.key, step.record.value, step.record.headers)
            if sent in seen:
                continue
            seen.add(sent)
        yield step


def check_ended(letters: Iterable[DeadLetter], now_ms: int, retention_seconds: float) -> None:
    """Raises SettingsError if a session was over so recently that the job would refuse it again."""
    for letter in each_once(letters):
        since = (now_ms - letter.failed_at_ms) / 1000
        if letter.rejection.error_class in ENDED and since < retention_seconds:
            raise SettingsError(
                "--rename",
                f"the session of {position_text(position_of(letter))} was refused {since:.0f} s ago, and the "
                f"job refuses its id for {retention_seconds:g} s (its --ended-retention-seconds): wait for "
                f"{retention_seconds - since:.0f} s, or give a new id, as --rename '{PLACEHOLDER}-retry'",
            )
