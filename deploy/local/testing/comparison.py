"""What was heard against what is expected, session by session. Pure.

All words of a session are aligned at once (for each channel, where expected segments name theirs), so a
segment that is cut in another way does not move what comes after it. From the aligned words follows which
segments belong together: a `Passage` is one expected segment and the one that came in its place, or one that
is missing, or one that nobody expected, or several that were cut in another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from deploy.local.testing.alignment import Alignment, align
from deploy.local.testing.expected import Expected, ExpectedSession, Segment
from deploy.local.testing.passages import Passage, passages_of
from deploy.local.testing.words import Word, words_of

EXACT, WER = "exact", "wer"
COMPARISONS = (EXACT, WER)


@dataclass(frozen=True, slots=True)
class Rules:
    """When a session is as expected.

    `exact`: the same words in the same segments. `wer`: at most `max_wer` word errors for each expected word
    of the session, wherever segments end. With both, segments that have expected times begin and end at most
    `time_tolerance_seconds` before or after them.
    """

    compare: str = EXACT
    max_wer: float = 0.05
    time_tolerance_seconds: float = 0.5
    verbatim: bool = False


class Verdict(StrEnum):
    """What became of a session."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING = "missing"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class SessionResult:
    """One session. `passages` are in the order of speech, those without any difference included.

    `word_errors` is counted against `expected_words`. `cuts_count`: whether it matters where segments end.
    `remarks`: what else is known of it, in words without any of the transcript's.
    """

    session_id: str
    verdict: Verdict
    expected_segments: int
    actual_segments: int
    expected_words: int
    actual_words: int
    word_errors: int
    cuts_count: bool
    passages: tuple[Passage, ...] = field(repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.SAME

    @property
    def wer(self) -> float:
        """Word errors for each expected word; above 1 when much was added."""
        return self.word_errors / max(1, self.expected_words)


@dataclass(frozen=True, slots=True)
class Report:
    """All sessions: the expected ones in their order, then the unexpected ones by name."""

    rules: Rules
    sessions: tuple[SessionResult, ...]

    @property
    def passed(self) -> bool:
        return all(session.passed for session in self.sessions)

    @property
    def failed(self) -> tuple[SessionResult, ...]:
        return tuple(session for session in self.sessions if not session.passed)

    @property
    def expected_words(self) -> int:
        return sum(session.expected_words for session in self.sessions)

    @property
    def word_errors(self) -> int:
        return sum(session.word_errors for session in self.sessions)


def compare(
    expected: Expected,
    actual: Mapping[str, Sequence[Segment]],
    rules: Rules,
    remarks: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Compare every session of either side. `actual`: segments in the order of their time; `remarks` by
    session, for the report.
    """
    told = remarks or {}
    ids = [*expected, *sorted(set(actual) - set(expected))]
    sessions = (
        _compare_session(name, expected.get(name), actual.get(name), rules, told.get(name, ()))
        for name in ids
    )
    return Report(rules, tuple(sessions))


def _compare_session(
    session_id: str,
    expected: ExpectedSession | None,
    actual: Sequence[Segment] | None,
    rules: Rules,
    remarks: Sequence[str],
) -> SessionResult:
    wanted = expected.segments if expected is not None else ()
    placed: list[tuple[float, Passage]] = []
    errors = 0
    for ours, theirs in _by_channel(wanted, actual or ()):
        alignment, found = _compare_channel(ours, theirs, rules)
        errors += alignment.errors
        placed = sorted([*placed, *_placed(found)], key=lambda entry: entry[0]) if placed else _placed(found)
    result = SessionResult(
        session_id,
        Verdict.SAME,
        expected_segments=len(wanted),
        actual_segments=len(actual or ()),
        expected_words=sum(passage.expected_words for _, passage in placed),
        actual_words=sum(passage.actual_words for _, passage in placed),
        word_errors=errors,
        cuts_count=rules.compare == EXACT and not (expected is not None and expected.as_one_text),
        passages=tuple(passage for _, passage in placed),
        remarks=tuple(remarks),
    )
    return replace(result, verdict=_verdict(result, expected, actual, rules))


def _verdict(
    result: SessionResult,
    expected: ExpectedSession | None,
    actual: Sequence[Segment] | None,
    rules: Rules,
) -> Verdict:
    if expected is None:
        return Verdict.UNEXPECTED
    if actual is None:
        return Verdict.MISSING
    if rules.compare == WER:
        words_agree = result.wer <= rules.max_wer
    else:
        recut = any(passage.is_recut for passage in result.passages)
        words_agree = not result.word_errors and not (result.cuts_count and recut)
    in_time = not any(passage.time_differences for passage in result.passages)
    return Verdict.SAME if words_agree and in_time else Verdict.DIFFERENT


def _placed(passages: Sequence[Passage]) -> list[tuple[float, Passage]]:
    """Each with its place on the timeline; one without times goes with the one before it."""
    placed, last = [], 0.0
    for passage in passages:
        last = last if passage.start_time is None else passage.start_time
        placed.append((last, passage))
    return placed


def _by_channel(
    expected: Sequence[Segment], actual: Sequence[Segment]
) -> Iterable[tuple[Sequence[Segment], Sequence[Segment]]]:
    """The segments that are compared with each other: by channel where the expected ones name theirs."""
    if all(segment.channel_id is None for segment in expected):
        yield expected, actual
        return
    channels = {segment.channel_id: None for segment in (*expected, *actual)}
    for channel in channels:
        yield (
            [segment for segment in expected if segment.channel_id == channel],
            [segment for segment in actual if segment.channel_id == channel],
        )


def _compare_channel(
    expected: Sequence[Segment], actual: Sequence[Segment], rules: Rules
) -> tuple[Alignment, list[Passage]]:
    rows = [
        [words_of(segment.text, verbatim=rules.verbatim) for segment in side] for side in (expected, actual)
    ]
    alignment = align(*([word.compared for words in row for word in words] for row in rows))
    return alignment, passages_of(
        _spoken(expected, rows[0]), _spoken(actual, rows[1]), alignment, rules.time_tolerance_seconds
    )


def _spoken(
    segments: Sequence[Segment], rows: Sequence[Sequence[Word]]
) -> list[tuple[Segment, Sequence[Word]]]:
    return list(zip(segments, rows, strict=True))
