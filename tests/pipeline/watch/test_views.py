"""The page's JSON: deltas add up to the whole, and without text nothing depends on the words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.transcribe.model import MedicalAlternative, MedicalItem
from pipeline.elements import FinalTranscript
from pipeline.watch.board import Board, BoardLimits
from pipeline.watch.values import Seen
from pipeline.watch.views import board_view
from tests.pipeline.synthetic_session import a_session
from tests.pipeline.watch.scripted_board import START_MS, a_final, a_partial, seen
from tests.pipeline.watch.test_board import topics

NOW = START_MS / 1000 + 2.0


class Page:
    """What the page's script does with the views it gets."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.sessions: dict[str, dict[str, Any]] = {}

    def take(self, view: dict[str, Any]) -> None:
        if view["full"]:
            self.sessions.clear()
        for name in view["gone"]:
            self.sessions.pop(name, None)
        for news in view["sessions"]:
            known = self.sessions.get(news["id"])
            segments = {}
            if known is not None and known["life"] == news["life"]:
                segments = {s["index"]: s for s in known["segments"]}
            segments |= {segment["index"]: segment for segment in news["segments"]}
            kept = [segments[i] for i in sorted(segments) if i >= (news["first"] or 0)]
            self.sessions[news["id"]] = {**news, "segments": kept if news["first"] is not None else []}
        self.version = view["version"]


@settings(max_examples=60, deadline=None)
@given(topics(), st.lists(st.booleans(), min_size=60, max_size=60), st.integers(1, 3))
def test_deltas_add_up_to_the_whole(order: list[Seen], looks: list[bool], sessions: int) -> None:
    board, page = Board(START_MS, BoardLimits(sessions=sessions, segments=4, words=10)), Page()
    for step, value in enumerate(order):
        board.enter(value, NOW + step)
        if looks[step % len(looks)]:
            view = board_view(board, page.version, show_text=True)
            if view is not None:
                page.take(view)
    view = board_view(board, page.version, show_text=True)
    if view is not None:
        page.take(view)
    whole = board_view(board, None, show_text=True)
    assert whole is not None
    assert page.version == board.version
    assert page.sessions == {session["id"]: session for session in whole["sessions"]}
    assert board_view(board, board.version, show_text=True) is None


def with_words(contents: list[str], ends: list[float]) -> FinalTranscript:
    """A final from 0 to 9 s with these words, which end there."""
    items, start = [], 0.0
    for content, end in zip(contents, [*sorted(ends), 9.0], strict=True):
        items.append(MedicalItem(start, end, "pronunciation", content, 0.8, speaker="1"))
        start = end
    final = a_final(0, " ".join(contents), 0.0, items=items)
    return replace(final, end_time=9.0)


WORDS = st.lists(st.text(min_size=1, max_size=12), min_size=3, max_size=3)
ENDS = st.lists(st.floats(0.1, 8.9), min_size=2, max_size=2)


@given(WORDS, ENDS, WORDS, ENDS)
def test_without_text_nothing_depends_on_the_words(
    one: list[str], one_ends: list[float], other: list[str], other_ends: list[float]
) -> None:
    views = []
    for words, ends in ((one, one_ends), (other, other_ends)):
        board = Board(START_MS)
        final = with_words(words, ends)
        board.enter(seen(final), NOW)
        heard = replace(a_partial("a b c", 9.0, result_id="next"), end_time=12.0)
        board.enter(seen(replace(heard, alternatives=(final.alternatives[0],))), NOW)
        views.append(board_view(board, None, show_text=False))
    assert views[0] == views[1]
    assert views[0] is not None
    session = views[0]["sessions"][0]
    assert (session["words"], session["partials"][0]["words"]) == (3, 3)
    assert "items" not in session["segments"][0]
    assert "text" not in session["partials"][0]


def test_with_text_words_come_with_times_confidence_and_speaker() -> None:
    board = Board(START_MS)
    session = a_session()
    for final in session.segments:
        board.enter(seen(final), NOW)
    assert session.ended is not None
    board.enter(seen(session.ended), NOW)
    view = board_view(board, None, show_text=True)
    assert view is not None
    found = view["sessions"][0]
    assert found["segments"][0]["items"][0] == ["Good", 1, 0.5, 0.9, 0.95, "0"]
    assert found["segments"][0]["items"][2] == [",", 0, 1.3, 1.3, None, None]
    assert found["segments"][0]["speakers"] == ["0", "1"]
    assert found["gaps"] == [[12.0, 30.0, "MISSING_SEQUENCE"], [38.0, 38.0, "LOST_OFFSETS"]]
    assert (found["state"], found["until"], found["zero"]) == ("ended", 40.0, START_MS - 33_250)
    json.dumps(view)


def test_a_text_without_items_is_one_word() -> None:
    board = Board(START_MS)
    final = replace(a_final(0, "", 0.0), alternatives=(MedicalAlternative("no\x1b[2J items"),))
    board.enter(seen(final), NOW)
    view = board_view(board, None, show_text=True)
    assert view is not None
    assert view["sessions"][0]["segments"][0]["items"] == [["no [2J items", 1, 0.0, 0.0, None, None]]


def test_who_was_away_for_too_long_gets_everything() -> None:
    board = Board(START_MS, BoardLimits(sessions=2))
    board.enter(seen(a_final(0, "word", 0.0, session_id="s0")), NOW)
    then = board.version
    for number in range(1, 3):
        board.enter(seen(a_final(0, "word", 0.0, session_id=f"s{number}")), NOW + number)
    view = board_view(board, then, show_text=False)
    assert view is not None
    assert (view["full"], view["gone"]) == (False, ["s0"])
    for number in range(3, 9):
        board.enter(seen(a_final(0, "word", 0.0, session_id=f"s{number}")), NOW + number)
    view = board_view(board, then, show_text=False)
    assert view is not None
    assert (view["full"], view["gone"]) == (True, [])
    later = board_view(board, board.version + 5, show_text=False)  # of another run
    assert later is not None
    assert later["full"]
