"""The board's rules, one by one, and through whatever order the topics are read in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.elements import FinalTranscript, PartialTranscript
from pipeline.output.output_values import SessionEnded
from pipeline.watch.board import Board, BoardLimits
from pipeline.watch.values import (
    FinalSeen,
    PartialSeen,
    PartialWithdrawn,
    Seen,
    State,
    StateChanged,
    WatchedSession,
)
from tests.pipeline.watch.scripted_board import START_MS, a_final, a_partial, an_end, items_of, seen

NOW = START_MS / 1000 + 2.0


def the_session(board: Board) -> WatchedSession:
    (session,) = board
    return session


def partials(board: Board) -> list[str]:
    return [partial.alternatives[0].transcript for partial in the_session(board).partials.values()]


def texts(board: Board) -> list[str]:
    return [segment.final.text for _, segment in sorted(the_session(board).segments.items())]


# Finals and partials


def test_a_partial_is_replaced_until_its_final_comes() -> None:
    board = Board(START_MS)
    kinds = [type(event) for event in board.enter(seen(a_partial("the", 0.0)), NOW)]
    assert kinds == [StateChanged, PartialSeen]
    board.enter(seen(a_partial("the patient", 0.0)), NOW)
    assert partials(board) == ["the patient"]
    (event,) = board.enter(seen(a_final(0, "The patient.", 0.0)), NOW)
    assert isinstance(event, FinalSeen)
    assert partials(board) == []
    assert texts(board) == ["The patient."]
    assert board.enter(seen(a_partial("the patient is", 0.0)), NOW) == []  # read behind its final
    assert partials(board) == []


def test_another_stream_replaces_all_partials_before_it() -> None:
    board = Board(START_MS)
    board.enter(seen(a_partial("left", 0.0, result_id="a", channel="ch_0")), NOW)
    board.enter(seen(a_partial("right", 0.0, result_id="b", channel="ch_1")), NOW)
    assert partials(board) == ["left", "right"]
    board.enter(seen(a_partial("again", 0.0, result_id="c", stream_id="stream-2")), NOW)
    assert partials(board) == ["again"]


def test_a_withdrawn_partial_is_forgotten() -> None:
    board = Board(START_MS)
    board.enter(seen(a_partial("left", 0.0)), NOW)
    assert board.enter(seen(a_partial("", 0.0, superseded=True)), NOW) == [
        PartialWithdrawn("session-1", "result-0")
    ]
    assert partials(board) == []
    assert board.enter(seen(a_partial("", 0.0, superseded=True, session_id="unknown")), NOW) == []
    assert len(board) == 1


def test_a_final_of_another_stream_ends_what_it_covers() -> None:
    board = Board(START_MS)
    board.enter(seen(a_partial("lost words", 0.0, result_id="lost", channel="ch_0")), NOW)
    board.enter(seen(a_partial("other", 0.0, result_id="kept", channel="ch_1")), NOW)
    final = replace(a_final(0, "lost words again", 0.0, channel="ch_0"), stream_id="stream-2")
    board.enter(seen(final), NOW)
    assert partials(board) == ["other"]


def test_a_repetition_is_no_news_and_other_words_are_a_revision() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "one", 0.0)), NOW)
    version = board.version
    assert board.enter(seen(replace(a_final(0, "one", 0.0), stream_id="stream-9")), NOW) == []
    assert board.version == version
    (event,) = board.enter(seen(a_final(0, "one two", 0.0)), NOW)
    assert isinstance(event, FinalSeen)
    assert event.revised
    session = the_session(board)
    assert (session.finals, session.words) == (1, 2)


def test_words_of_low_confidence_are_counted() -> None:
    board = Board(START_MS, BoardLimits(low_confidence=0.6))
    items = (*items_of("sure,", 0.0, confidence=0.9), *items_of("unsure", 0.4, confidence=0.3))
    board.enter(seen(a_final(0, "sure, unsure", 0.0, items=items)), NOW)
    session = the_session(board)
    assert (session.words, session.low_confidence) == (2, 1)
    assert session.segments[0].confidence == (0.9 + 0.3) / 2


# States


def told(events: list[object]) -> list[tuple[State, str | None, int]]:
    return [(e.state, e.reason, e.missing) for e in events if isinstance(e, StateChanged)]


def test_a_session_drains_until_the_finals_that_its_end_counts_have_come() -> None:
    board = Board(START_MS)
    assert told(board.enter(seen(a_final(0, "one", 0.0)), NOW)) == [(State.LIVE, None, 0)]
    assert told(board.enter(seen(an_end(2)), NOW)) == [(State.DRAINING, "END_OF_SESSION", 1)]
    assert told(board.enter(seen(a_final(1, "two", 1.0)), NOW)) == [(State.ENDED, "END_OF_SESSION", 0)]
    assert board.enter(seen(an_end(2)), NOW) == []  # the same again


def test_missing_finals_are_not_waited_for_for_ever() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(3, "joined later", 0.0)), NOW)
    assert told(board.enter(seen(an_end(6)), NOW)) == [(State.DRAINING, "END_OF_SESSION", 2)]
    assert board.pass_time(NOW + 9.9) == []
    assert told(board.pass_time(NOW + 10.1)) == [(State.ENDED, "END_OF_SESSION", 2)]
    assert board.pass_time(NOW + 100) == []


def test_a_session_without_news_is_idle_until_there_is_some() -> None:
    board = Board(START_MS, BoardLimits(idle_after_seconds=5))
    board.enter(seen(a_partial("one", 0.0)), NOW)
    assert board.pass_time(NOW + 4.9) == []
    assert told(board.pass_time(NOW + 5.0)) == [(State.IDLE, None, 0)]
    assert told(board.enter(seen(a_partial("one two", 0.0)), NOW + 6)) == [(State.LIVE, None, 0)]


def test_a_refused_session_is_rejected() -> None:
    board = Board(START_MS)
    ended = an_end(0)
    refused = SessionEnded(replace(ended.summary, reason="REJECTED"), ended.ended_at_ms)
    assert told(board.enter(seen(refused), NOW)) == [(State.REJECTED, "REJECTED", 0)]


def test_an_id_used_again_is_another_life() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "one", 500.0)), NOW)
    board.enter(seen(an_end(1)), NOW)
    board.enter(seen(a_final(1, "again", 0.0)), NOW)
    session = the_session(board)
    assert (session.life, session.state, session.finals, session.heard_until) == (1, State.LIVE, 1, 0.4)
    assert texts(board) == ["again"]
    assert told(board.enter(seen(an_end(2)), NOW)) == [(State.ENDED, "END_OF_SESSION", 0)]


def test_a_partial_after_the_end_is_late_or_of_another_life() -> None:
    board = Board(START_MS)
    ended = an_end(1)
    before, after = ended.ended_at_ms - 5, ended.ended_at_ms + 5
    board.enter(seen(a_final(0, "one", 0.0)), NOW)
    board.enter(seen(ended), NOW)
    assert board.enter(seen(a_partial("late", 1.0, result_id="r9"), after), NOW) == []
    assert board.enter(seen(a_partial("late", 1.0, result_id="r9", stream_id="other"), before), NOW) == []
    board.enter(seen(a_partial("new", 0.0, result_id="r10", stream_id="stream-2"), after), NOW)
    assert the_session(board).life == 1
    assert partials(board) == ["new"]


def test_numbers_that_begin_again_long_after_are_another_life() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(4, "yesterday", 0.0)), NOW)
    later = START_MS + 86_400_000
    board.enter(seen(a_final(0, "today", 0.0), later), later / 1000)
    assert texts(board) == ["today"]
    assert the_session(board).life == 1


# Latency


def test_latency_is_told_of_what_was_published_while_one_watched() -> None:
    board = Board(START_MS)
    # Its last word ended 0.4 s after START_MS, its record is of 1.0 s, it arrives at 2.0 s.
    (_, event) = board.enter(seen(a_final(0, "one", 0.0)), NOW)
    assert isinstance(event, FinalSeen)
    assert event.latency is not None
    assert event.latency.since_spoken is not None
    assert round(event.latency.since_spoken, 3) == 1.6
    assert round(event.latency.since_published, 3) == 1.0
    (event,) = board.enter(seen(a_partial("two", 1.0, result_id="result-1")), NOW)  # 0 is at START_MS
    assert isinstance(event, PartialSeen)
    assert event.latency is not None
    assert event.latency.since_spoken is not None
    assert round(event.latency.since_spoken, 3) == 0.6
    assert board.median_latency_seconds is not None
    assert round(board.median_latency_seconds, 3) == 1.6
    (_, event) = board.enter(seen(a_final(0, "old", 0.0, session_id="old"), START_MS - 60_000), NOW)
    assert isinstance(event, FinalSeen)
    assert event.latency is None


def test_without_a_capture_time_latency_counts_from_publication_only() -> None:
    board = Board(START_MS)
    board.enter(seen(replace(a_final(0, "one", 0.0), started_at_ms=None)), NOW)
    latency = the_session(board).latency
    assert latency is not None
    assert latency.since_spoken is None
    assert round(latency.best, 3) == 1.0


def test_what_lay_in_the_topic_was_active_then() -> None:
    board = Board(START_MS)
    board.enter(seen(a_final(0, "old", 0.0, session_id="old"), START_MS - 60_000), NOW)
    board.enter(seen(a_final(0, "new", 0.0, session_id="new")), NOW)
    board.enter(seen(a_final(0, "over", 0.0, session_id="over")), NOW + 1)
    board.enter(seen(an_end(1, session_id="over")), NOW + 1)
    assert [session.session_id for session in board.by_activity()] == ["new", "old", "over"]
    assert told(board.pass_time(NOW)) == [(State.IDLE, None, 0)]


# Bounds


def test_the_least_interesting_session_makes_room() -> None:
    board = Board(START_MS, BoardLimits(sessions=2))
    board.enter(seen(a_final(0, "a", 0.0, session_id="a")), NOW)
    board.enter(seen(a_final(0, "b", 0.0, session_id="b")), NOW + 1)
    board.enter(seen(an_end(1, session_id="b")), NOW + 1)
    board.enter(seen(a_final(0, "c", 0.0, session_id="c")), NOW + 2)
    assert {session.session_id for session in board} == {"a", "c"}
    board.enter(seen(a_final(0, "d", 0.0, session_id="d")), NOW + 3)
    assert {session.session_id for session in board} == {"c", "d"}
    assert [name for _, name in board.forgotten] == ["b", "a"]


LIMITS = BoardLimits(sessions=3, segments=4, words=10, partials=2)


@st.composite
def topics(draw: st.DrawFn) -> list[Seen]:
    """Three sessions as the topics have them, repetitions included, in any order that keeps each topic's."""
    queues: list[list[Seen]] = []
    for number in range(3):
        name = f"s{number}"
        count = draw(st.integers(0, 8))
        words = st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=6).map(" ".join)
        said = [a_final(i, draw(words), 10.0 * i, session_id=name) for i in range(count)]
        finals: list[FinalTranscript] = []
        for final in said:
            finals.append(final)
            if draw(st.booleans()):  # a crash: the last ones come again
                back = draw(st.integers(1, 3))
                finals += finals[-back:]
        heard: list[PartialTranscript] = []
        for final in said:
            if draw(st.booleans()):
                text = draw(words)
                heard.append(a_partial(text, final.start_time, session_id=name, result_id=final.result_id))
        queues.append([seen(final) for final in finals])
        queues.append([seen(partial) for partial in heard])
        if draw(st.booleans()):
            queues.append([seen(an_end(count, session_id=name))] * draw(st.integers(1, 2)))
    order: list[Seen] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        order.append(queue.pop(0))
    return order


@settings(max_examples=100, deadline=None)
@given(topics())
def test_whatever_order_the_topics_are_read_in_the_board_comes_to_the_same(order: list[Seen]) -> None:
    board = Board(START_MS, LIMITS)
    for step, value in enumerate(order):
        board.enter(value, NOW + step)
        for session in board:
            assert len(session.segments) <= LIMITS.segments
            assert len(session.partials) <= LIMITS.partials
            kept = sum(segment.words for segment in session.segments.values())
            assert kept <= LIMITS.words or len(session.segments) == 1
            assert not set(session.partials) & {s.final.result_id for s in session.segments.values()}
    for session in board:
        finals = [
            s.value
            for s in order
            if isinstance(s.value, FinalTranscript) and s.session_id == session.session_id
        ]
        ended = any(isinstance(s.value, SessionEnded) and s.session_id == session.session_id for s in order)
        assert session.finals == len({final.segment_index for final in finals})
        if finals:
            last = max(finals, key=lambda final: final.segment_index)
            assert session.segments[last.segment_index].final.text == last.text
            assert session.words == sum(
                len(text.split()) for text in {f.segment_index: f.text for f in finals}.values()
            )
        assert (session.state is State.ENDED) == ended
        assert session.life == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=40))
def test_the_number_of_sessions_is_bounded(names: list[int]) -> None:
    board = Board(START_MS, LIMITS)
    for step, name in enumerate(names):
        board.enter(seen(a_final(0, "word", 0.0, session_id=f"s{name}")), NOW + step)
        assert len(board) <= LIMITS.sessions
        assert f"s{name}" in {session.session_id for session in board}
