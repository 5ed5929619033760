"""Which expected and actual segments belong together, and how they differ. Pure.

Two segments belong together when the alignment has a word of one on the same word of the other; a segment
that shares no word with any belongs where its words were replaced, and one between two that belong together
belongs to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.local.testing.alignment import Alignment, Pair
from deploy.local.testing.expected import Segment
from deploy.local.testing.words import Word

Spoken = Sequence[tuple[Segment, Sequence[Word]]]
"""Segments with their words."""

_EXPECTED, _ACTUAL = 0, 1
_Node = tuple[int, int]
"""Side and number of a segment."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Words in a row that are the same, or that differ: then `expected` was to be, `actual` came instead.

    `first_word`: the number, from 1, that its first expected word has within the passage.
    """

    same: bool
    first_word: int
    expected: tuple[str, ...] = field(repr=False)
    actual: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TimeDifference:
    """An `edge` ("start" or "end") that is farther from its time than tolerated; both in seconds."""

    edge: str
    expected: float
    actual: float

    @property
    def seconds(self) -> float:
        """How much later it is; negative: earlier."""
        return self.actual - self.expected


@dataclass(frozen=True, slots=True)
class Passage:
    """Segments that belong together. `expected` and `actual`: their numbers, from 1, as far as there are any.

    `start_time`, `end_time`: seconds, of what came, else of what was expected; None: unknown.
    """

    channel_id: str | None
    expected: tuple[int, ...]
    actual: tuple[int, ...]
    start_time: float | None
    end_time: float | None
    pieces: tuple[Piece, ...]
    time_differences: tuple[TimeDifference, ...]

    @property
    def is_recut(self) -> bool:
        """Whether there are more or fewer segments than expected."""
        return len(self.expected) != 1 or len(self.actual) != 1

    @property
    def differs(self) -> bool:
        return self.is_recut or bool(self.time_differences) or any(not piece.same for piece in self.pieces)

    @property
    def expected_words(self) -> int:
        return sum(len(piece.expected) for piece in self.pieces)

    @property
    def actual_words(self) -> int:
        return sum(len(piece.actual) for piece in self.pieces)


def passages_of(
    expected: Spoken, actual: Spoken, alignment: Alignment, time_tolerance_seconds: float
) -> list[Passage]:
    """All passages in the order of speech. Segments without words are left out."""
    owners = (_owners(expected), _owners(actual))
    groups = _Groups(alignment.pairs, owners, (expected, actual))
    builders: dict[_Node, _Builder] = {}
    for left, right in alignment.pairs:
        homes = (
            None if left is None else groups.of((_EXPECTED, owners[_EXPECTED][left][0])),
            None if right is None else groups.of((_ACTUAL, owners[_ACTUAL][right][0])),
        )
        for home in dict.fromkeys(home for home in homes if home is not None):
            builder = builders.setdefault(home, _Builder())
            builder.add(
                owners[_EXPECTED][left] if left is not None and homes[_EXPECTED] == home else None,
                owners[_ACTUAL][right] if right is not None and homes[_ACTUAL] == home else None,
            )
    return _in_order(
        [builder.passage(expected, actual, time_tolerance_seconds) for builder in builders.values()]
    )


def _in_order(passages: Sequence[Passage]) -> list[Passage]:
    """In the order of both sides; of neighbours that have but one the expected one first."""
    ours = sorted((passage for passage in passages if passage.expected), key=lambda one: one.expected)
    theirs = deque(sorted((passage for passage in passages if passage.actual), key=lambda one: one.actual))
    found = []
    for passage in ours:
        while passage.actual and theirs[0] is not passage:
            found.append(theirs.popleft())
        if passage.actual:
            theirs.popleft()
        found.append(passage)
    return [*found, *theirs]


_Owned = tuple[int, Word]
"""A word with the number of its segment."""


def _owners(spoken: Spoken) -> list[_Owned]:
    return [(number, word) for number, (_, words) in enumerate(spoken) for word in words]


class _Groups:
    """Segments that belong together, by the smallest of them (union-find)."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        owners: tuple[Sequence[_Owned], Sequence[_Owned]],
        sides: tuple[Spoken, Spoken],
    ) -> None:
        self._parents: dict[_Node, _Node] = {
            (side, number): (side, number)
            for side in (_EXPECTED, _ACTUAL)
            for number in range(len(sides[side]))
        }
        replaced: list[tuple[_Node, _Node]] = []
        at_home: set[_Node] = set()
        for left, right in pairs:
            if left is None or right is None:
                continue
            (one, expected), (other, actual) = owners[_EXPECTED][left], owners[_ACTUAL][right]
            nodes = (_EXPECTED, one), (_ACTUAL, other)
            if expected.compared == actual.compared:
                self._unite(*nodes)
                at_home.update(nodes)
            else:
                replaced.append(nodes)
        for one_node, other_node in replaced:
            if one_node not in at_home and other_node not in at_home:
                self._unite(one_node, other_node)
        self._enclose()

    def of(self, node: _Node) -> _Node:
        """The group's name."""
        while self._parents[node] != node:
            node = self._parents[node]
        return node

    def _enclose(self) -> None:
        """A segment between two of a group belongs to it, or passages would overlap."""
        for side in (_EXPECTED, _ACTUAL):
            members: dict[_Node, list[int]] = {}
            for node in self._parents:
                if node[0] == side:
                    members.setdefault(self.of(node), []).append(node[1])
            for numbers in members.values():
                for number in range(min(numbers), max(numbers)):
                    self._unite((side, number), (side, number + 1))

    def _unite(self, one: _Node, other: _Node) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        self._parents[second] = first


class _Builder:
    """Collects the words of one passage."""

    def __init__(self) -> None:
        self._segments: tuple[dict[int, None], dict[int, None]] = ({}, {})
        self._pieces: list[tuple[bool, int, list[str], list[str]]] = []
        self._words = 0

    def add(self, expected: _Owned | None, actual: _Owned | None) -> None:
        same = expected is not None and actual is not None and expected[1].compared == actual[1].compared
        if not self._pieces or self._pieces[-1][0] != same:
            self._pieces.append((same, self._words + 1, [], []))
        for side, owned in enumerate((expected, actual)):
            if owned is not None:
                self._segments[side][owned[0]] = None
                (self._pieces[-1][2], self._pieces[-1][3])[side].append(owned[1].written)
        self._words += expected is not None

    def passage(self, expected: Spoken, actual: Spoken, tolerance_seconds: float) -> Passage:
        ours = [expected[number][0] for number in self._segments[_EXPECTED]]
        theirs = [actual[number][0] for number in self._segments[_ACTUAL]]
        shown = theirs or ours
        return Passage(
            channel_id=shown[0].channel_id,
            expected=tuple(number + 1 for number in self._segments[_EXPECTED]),
            actual=tuple(number + 1 for number in self._segments[_ACTUAL]),
            start_time=shown[0].start_time,
            end_time=shown[-1].end_time,
            pieces=tuple(
                Piece(same, first, tuple(left), tuple(right)) for same, first, left, right in self._pieces
            ),
            time_differences=_time_differences(ours, theirs, tolerance_seconds),
        )


def _time_differences(
    expected: Sequence[Segment], actual: Sequence[Segment], tolerance_seconds: float
) -> tuple[TimeDifference, ...]:
    if not expected or not actual:
        return ()
    edges = (
        ("start", expected[0].start_time, actual[0].start_time),
        ("end", expected[-1].end_time, actual[-1].end_time),
    )
    return tuple(
        TimeDifference(edge, wanted, came)
        for edge, wanted, came in edges
        if wanted is not None and came is not None and round(abs(came - wanted), 3) > tolerance_seconds
    )
