"""The report for people: lines with styles, for a terminal in colours, elsewhere as plain text. Pure.

Without `show_text` no word of any transcript is in it: segments, times, positions and numbers of words. With
it, plain lines mark words as `[-expected-] {+actual+}` between a few words that are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from deploy.local.testing.comparison import EXACT, Report, SessionResult, Verdict
from deploy.local.testing.passages import Passage, Piece
from pipeline.output.transcript_text import clock

_CONTEXT_WORDS = 4
_INDENT = " " * 6
HIDDEN = "Words are hidden; --show-text shows them (they are patient data, if the recording is)."
_PASSED_STYLE, _FAILED_STYLE = "green", "bold red"


def report_lines(report: Report, *, show_text: bool) -> Iterator[Text]:
    """All of the report, session by session, the sum in the last line."""
    for session in report.sessions:
        yield from session_lines(session, report, show_text=show_text)
    if not show_text and any(not piece.same for piece in _pieces(report)):
        yield Text(HIDDEN, "dim")
    yield Text(summary_line(report), _PASSED_STYLE if report.passed else _FAILED_STYLE)


def session_lines(session: SessionResult, report: Report, *, show_text: bool) -> Iterator[Text]:
    """One session: its verdict, then what differs, if that is why it failed or words differ."""
    mark = ("ok    ", _PASSED_STYLE) if session.passed else ("FAIL  ", _FAILED_STYLE)
    yield Text.assemble(mark, f"{printable(session.session_id)}: {verdict_line(session, report)}")
    yield from detail_lines(session, show_text=show_text)


def detail_lines(session: SessionResult, *, show_text: bool) -> Iterator[Text]:
    """Each passage that differs, and what else is known."""
    for passage in session.passages:
        if passage.differs and (_matters(passage) or session.cuts_count):
            yield from _passage_lines(passage, session, show_text=show_text)
    for remark in session.remarks if not session.passed else ():
        yield Text(_INDENT + printable(remark))


def verdict_line(session: SessionResult, report: Report) -> str:
    """What there is to say of the session in one line."""
    segments, words = session.expected_segments, session.expected_words
    match session.verdict:
        case Verdict.MISSING:
            return f"missing; {_count(words, 'word')} in {_count(segments, 'segment')} expected"
        case Verdict.UNEXPECTED:
            words, segments = session.actual_words, session.actual_segments
            return f"not expected; {_count(words, 'word')} in {_count(segments, 'segment')} came"
    said = f"{_count(words, 'word')} in {_count(segments, 'segment')}"
    if session.word_errors:
        said += (
            f", {_count(session.word_errors, 'word error')} (WER {session.wer:.1%}{_limit(session, report)})"
        )
    if late := sum(bool(passage.time_differences) for passage in session.passages):
        said += f", {_count(late, 'segment')} out of time"
    if session.cuts_count and (recut := _recut(session)):
        said += f", {recut}"
    return said


def summary_line(report: Report) -> str:
    """All sessions in one line."""
    failed, errors = len(report.failed), report.word_errors
    passed = len(report.sessions) - failed
    rate = errors / max(1, report.expected_words)
    said = f"{_count(len(report.sessions), 'session')}: {passed} as expected, {failed} not"
    return (
        f"{said}; {_count(errors, 'word error')} in {_count(report.expected_words, 'word')} (WER {rate:.1%})"
    )


def printable(text: str) -> str:
    """`text` without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _pieces(report: Report) -> Iterator[Piece]:
    for session in report.sessions:
        for passage in session.passages:
            yield from passage.pieces


def _limit(session: SessionResult, report: Report) -> str:
    rules = report.rules
    if rules.compare == EXACT:
        return ""
    return f", {'more than' if session.wer > rules.max_wer else 'at most'} {rules.max_wer:.1%}"


def _matters(passage: Passage) -> bool:
    """Whether it differs in more than where its segments end."""
    return bool(passage.time_differences) or any(not piece.same for piece in passage.pieces)


def _recut(session: SessionResult) -> str:
    missing = sum(not passage.actual for passage in session.passages)
    added = sum(not passage.expected for passage in session.passages)
    other = sum(passage.is_recut for passage in session.passages) - missing - added
    counts = (
        (missing, "segment", "missing"),
        (added, "segment", "added"),
        (other, "stretch", "cut otherwise"),
    )
    return ", ".join(f"{_count(count, what)} {how}" for count, what, how in counts if count)


def _passage_lines(passage: Passage, session: SessionResult, *, show_text: bool) -> Iterator[Text]:
    head = f"{_INDENT}{_where(passage, session)}"
    recut = _recut_words(passage, cuts_count=session.cuts_count)
    changed = [piece for piece in passage.pieces if not piece.same]
    if recut:
        yield Text(f"{head} {recut}")
    if changed and show_text:
        yield Text(f"{head}: " if not recut else f"{_INDENT}  ") + _marked(passage.pieces)
    elif changed and passage.expected and passage.actual:
        positions = "; ".join(_masked(piece, passage.expected_words) for piece in changed)
        yield Text(f"{head}: {positions}" if not recut else f"{_INDENT}  {positions}")
    for edge in passage.time_differences:
        later = f"{abs(edge.seconds):.2f} s {'later' if edge.seconds > 0 else 'earlier'}"
        yield Text(f"{head} {edge.edge}s at {clock(edge.actual)}, {later} than {clock(edge.expected)}")


def _where(passage: Passage, session: SessionResult) -> str:
    numbers = passage.expected or passage.actual
    total = session.expected_segments if passage.expected else session.actual_segments
    which = f"segment {numbers[0]}" if len(numbers) == 1 else f"segments {numbers[0]}-{numbers[-1]}"
    where = (
        f"{which} of {total}" if passage.expected else f"a segment that nobody expected ({which} of {total})"
    )
    if passage.channel_id is not None:
        where += f" ({printable(passage.channel_id)})"
    if passage.start_time is not None and passage.end_time is not None:
        where += f" [{clock(passage.start_time)}–{clock(passage.end_time)}]"
    return where


def _recut_words(passage: Passage, *, cuts_count: bool) -> str:
    """In how many segments it came, where that is not one for one."""
    expected, actual = len(passage.expected), len(passage.actual)
    verb = "is" if expected == 1 else "are"
    if not actual:
        return f"{verb} missing: {_count(passage.expected_words, 'word')}"
    if not expected:
        return f"came: {_count(passage.actual_words, 'word')}"
    return f"came as {_count(actual, 'segment')}" if cuts_count and passage.is_recut else ""


def _masked(piece: Piece, words: int) -> str:
    """Which words are concerned, and how many came."""
    expected, actual, first = len(piece.expected), len(piece.actual), piece.first_word
    if not expected:
        place = "before the first" if first == 1 else f"after word {first - 1}"
        return f"{_count(actual, 'word')} added {place}"
    which = f"word {first}" if expected == 1 else f"words {first}-{first + expected - 1}"
    what = f"replaced by {_count(actual, 'word')}" if actual else "missing"
    return f"{which} of {words} {what}"


def _marked(pieces: Sequence[Piece]) -> Text:
    """The words, the differing ones marked; of long stretches that are the same only the ends."""
    parts: list[Text] = []
    for place, piece in enumerate(pieces):
        if piece.same:
            shown = _context(piece.actual, first=place == 0, last=place == len(pieces) - 1)
            parts.append(Text(printable(shown)))
            continue
        if piece.expected:
            parts.append(Text(f"[-{printable(' '.join(piece.expected))}-]", "red"))
        if piece.actual:
            parts.append(Text(f"{{+{printable(' '.join(piece.actual))}+}}", "green"))
    return Text(" ").join(parts)


def _context(words: Sequence[str], *, first: bool, last: bool) -> str:
    before = () if first else words[:_CONTEXT_WORDS]
    after = () if last else words[-_CONTEXT_WORDS:]
    if len(before) + len(after) >= len(words):
        return " ".join(words)
    return " ".join([*before, "…", *after])


def _count(number: int, one: str) -> str:
    more = f"{one}es" if one.endswith("ch") else f"{one}s"
    return f"{number} {one if number == 1 else more}"
