"""When each record of a recording goes out again, as which session, and with what faults. Pure.

Times are seconds of the recording: the caller divides them by the speed. They come from the records'
timestamps and never go back; a record without one, or with an earlier one than those before it, goes with
them. Chance is an argument (`roll`), so that a seed gives the same faults again.

Faults are of a session (of each copy of it): a dropped record is not sent, a duplicated one twice in a row, a
reordered one behind one to `reorder_distance` later ones of its session, and a stalled session is silent
for `stall_seconds` and then sends all at once what it held back.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from string import Formatter
from typing import NamedTuple

from connectors.kafka.records import KafkaRecord
from pipeline.errors import SettingsError
from pipeline.recordings.record_selection import SessionFilter, session_filter, session_name

DROPPED, DUPLICATED, REORDERED, STALLED = "dropped", "duplicated", "reordered", "stalls"
PAUSE_BETWEEN_ROUNDS_SECONDS = 1.0
REORDER_DISTANCE = 3
"""Records of its session that a reordered one falls behind, at most."""
_PLACEHOLDERS = ("session", "copy", "round")


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances from 0 to 1, for each record."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    stall: float = 0.0
    reorder_distance: int = REORDER_DISTANCE
    stall_seconds: float = 5.0

    @property
    def any(self) -> bool:
        return any((self.drop, self.duplicate, self.reorder, self.stall))


def parse_faults(text: str | None) -> Faults:
    """`drop=0.01,duplicate=0.01,reorder=0.02:5,stall=0.001:10`; raises SettingsError.

    Behind a colon: how many records later at most, and how many seconds.
    """
    chances: dict[str, float] = {}
    extra: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        kind, separator, value = part.partition("=")
        chance, colon, size = value.partition(":")
        if kind not in ("drop", "duplicate", "reorder", "stall") or not separator:
            expected = "drop=P, duplicate=P, reorder=P[:RECORDS], stall=P[:SECONDS]"
            raise SettingsError("--fault", f"{part!r} is no fault; expected {expected}")
        chances[kind] = _number(part, chance, 0, 1)
        if colon and kind == "reorder":
            extra["reorder_distance"] = int(_number(part, size, 1, 10_000))
        elif colon and kind == "stall":
            extra["stall_seconds"] = _number(part, size, 0, 86_400)
        elif colon:
            raise SettingsError("--fault", f"{part!r}: {kind} takes nothing behind a colon")
    distance = int(extra.pop("reorder_distance", REORDER_DISTANCE))
    return Faults(**chances, **extra, reorder_distance=distance)


def _number(part: str, text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise SettingsError("--fault", f"{part!r}: {text!r} is no number from {low:g} to {high:g}")
    return number


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What of a recording is replayed, and as what.

    `names`: template of the sessions' names with {session}, {copy} and {round}, both from 1; None: as they
    are. `first_ms` and `stop_ms`: the stretch of the recording, milliseconds since 1970; None: all of it.
    """

    sessions: tuple[str, ...] = ()
    first_ms: int | None = None
    stop_ms: int | None = None
    names: str | None = None
    fan_out: int = 1
    faults: Faults = field(default_factory=Faults)


class Planned(NamedTuple):
    """A record and when it is due, in seconds of the recording; `name`: its new session, None: as it was."""

    due_seconds: float
    record: KafkaRecord
    name: str | None = None


def names_template(given: str | None, *, fan_out: int, loop: bool) -> str | None:
    """The given template of names, or one that tells copies and rounds apart. Raises SettingsError."""
    if given is None:
        suffix = ("-c{copy}" if fan_out > 1 else "") + ("-r{round}" if loop else "")
        return "{session}" + suffix if suffix else None
    try:
        fields = [name for _, name, _, _ in Formatter().parse(given) if name is not None]
    except ValueError as error:
        raise SettingsError("--rename-sessions", f"{given!r}: {error}") from None
    unknown = [name for name in fields if name not in _PLACEHOLDERS]
    if unknown or "session" not in fields:
        raise SettingsError(
            "--rename-sessions", f"{given!r} must contain {{session}}, and may contain {{copy}} and {{round}}"
        )
    return None if given == "{session}" else given


@dataclass(slots=True)
class _Held:
    behind: int
    """So many records of the session are still to go by."""
    record: KafkaRecord
    name: str | None


class ReplayPlan:
    """The plan of all rounds. `counts`: what faults there were, by name."""

    def __init__(self, options: ReplayOptions, roll: Callable[[], float]) -> None:
        """`roll` gives numbers from 0 up to 1, such as `random.Random(seed).random`."""
        self._options = options
        self._faults = options.faults
        self._wanted: SessionFilter = session_filter(options.sessions)
        self._roll = roll
        self.counts: Counter[str] = Counter()
        self._began_at = 0.0
        self._last_due = 0.0
        self._serial = 0
        self._waiting: list[tuple[float, int, Planned]] = []
        self._stalled_until: dict[tuple[bytes | None, int], float] = {}
        self._held: dict[tuple[bytes | None, int], list[_Held]] = {}

    def round(self, records: Iterable[KafkaRecord], number: int = 1) -> Iterator[Planned]:
        """One round through the recording, in the order of sending; rounds follow each other."""
        if number > 1:
            self._began_at = self._last_due + PAUSE_BETWEEN_ROUNDS_SECONDS
        if not self._faults.any and self._options.fan_out == 1 and self._options.names is None:
            for due, record in self._timed(records):
                yield Planned(due, record)
            return
        for due, record in self._timed(records):
            yield from self._release(due)
            for copy in range(1, self._options.fan_out + 1):
                self._place(due, record, copy, number)
            yield from self._release(due)
        for key in list(self._held):
            for entry in self._held.pop(key):
                self._push(max(self._last_due, self._stalled_until.get(key, 0.0)), entry.record, entry.name)
        yield from self._release(float("inf"))
        self._stalled_until.clear()

    def _timed(self, records: Iterable[KafkaRecord]) -> Iterator[tuple[float, KafkaRecord]]:
        """Records of the stretch that is wanted, with their time since its beginning."""
        first_ms, newest_ms = self._options.first_ms, None
        for record in records:
            if record.timestamp_ms >= 0:
                newest_ms = record.timestamp_ms if newest_ms is None else max(newest_ms, record.timestamp_ms)
            if newest_ms is not None:
                if self._options.stop_ms is not None and newest_ms >= self._options.stop_ms:
                    return
                if self._options.first_ms is not None and newest_ms < self._options.first_ms:
                    continue
                first_ms = newest_ms if first_ms is None else first_ms
            if self._wanted(record.key):
                since = 0 if newest_ms is None or first_ms is None else newest_ms - first_ms
                self._last_due = max(self._last_due, self._began_at + since / 1000)
                yield self._last_due, record

    def _place(self, due: float, record: KafkaRecord, copy: int, number: int) -> None:
        name = None
        if self._options.names is not None:
            session = session_name(record.key)
            name = self._options.names.format(session=session, copy=copy, round=number)
        if not self._faults.any:
            self._push(due, record, name)
            return
        key = (record.key, copy)
        if self._happens(self._faults.drop, DROPPED):
            return
        if due >= self._stalled_until.get(key, 0.0) and self._happens(self._faults.stall, STALLED):
            self._stalled_until[key] = due + self._faults.stall_seconds
        at = max(due, self._stalled_until.get(key, 0.0))
        if self._happens(self._faults.reorder, REORDERED):
            behind = 1 + int(self._roll() * self._faults.reorder_distance)
            self._held.setdefault(key, []).append(_Held(behind, record, name))
            return
        self._push(at, record, name)
        if self._happens(self._faults.duplicate, DUPLICATED):
            self._push(at, record, name)
        self._let_go(key, at)

    def _let_go(self, key: tuple[bytes | None, int], at: float) -> None:
        """A record of the session has gone by those that are held back."""
        if (held := self._held.get(key)) is None:
            return
        for entry in held:
            entry.behind -= 1
            if not entry.behind:
                self._push(at, entry.record, entry.name)
        self._held[key] = [entry for entry in held if entry.behind]
        if not self._held[key]:
            del self._held[key]

    def _happens(self, chance: float, name: str) -> bool:
        happens = chance > 0 and self._roll() < chance
        self.counts[name] += happens
        return happens

    def _push(self, due: float, record: KafkaRecord, name: str | None) -> None:
        self._serial += 1
        heapq.heappush(self._waiting, (due, self._serial, Planned(due, record, name)))

    def _release(self, until: float) -> Iterator[Planned]:
        while self._waiting and self._waiting[0][0] <= until:
            planned = heapq.heappop(self._waiting)[2]
            self._last_due = max(self._last_due, planned.due_seconds)
            yield planned
