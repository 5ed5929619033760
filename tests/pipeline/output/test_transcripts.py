"""Finals that come more than once, in pieces, and in another order than their session's end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.elements import FinalTranscript
from pipeline.output.output_values import SessionEnded
from pipeline.output.transcripts import Novelty, SegmentLedger, SegmentReceived, Transcripts
from tests.pipeline.synthetic_session import a_final, an_end


def test_a_repetition_is_told_from_a_revision() -> None:
    ledger = SegmentLedger()
    said = a_final(0, "one two", 1.0)
    assert ledger.enter(said) is Novelty.NEW
    assert ledger.enter(said) is Novelty.REPEATED
    assert ledger.enter(replace(said, stream_id="another", result_id="other")) is Novelty.REPEATED
    assert ledger.enter(a_final(0, "one three", 1.0)) is Novelty.REVISED
    assert ledger.enter(said) is Novelty.REVISED  # the later record wins, whatever was before it
    assert ledger.enter(a_final(0, "one two", 1.0, session_id="other")) is Novelty.NEW


def test_a_ledger_forgets_the_sessions_it_has_not_heard_of_for_longest() -> None:
    ledger = SegmentLedger(max_sessions=2)
    for session_id in ("a", "b", "a", "c"):  # b is forgotten
        ledger.enter(a_final(0, "word", 0.0, session_id=session_id))
    assert ledger.enter(a_final(0, "word", 0.0, session_id="a")) is Novelty.REPEATED
    assert ledger.enter(a_final(0, "word", 0.0, session_id="b")) is Novelty.NEW


def test_a_session_is_complete_with_its_end_and_every_segment() -> None:
    transcripts = Transcripts()
    assert not transcripts.add(an_end(2)).complete  # the end may be read first
    assert transcripts.session("session-1").missing == ((0, 1),)
    assert transcripts.add(a_final(1, "two", 2.0)).missing == ((0, 0),)
    assert transcripts.add(a_final(0, "one", 1.0)).complete
    assert [final.text for final in transcripts.session("session-1").segments] == ["one", "two"]


def test_a_session_that_goes_on_is_not_complete() -> None:
    session = Transcripts([a_final(0, "one", 1.0)]).session("session-1")
    assert (session.complete, session.missing, session.summary) == (False, (), None)
    assert session.duration_seconds == session.segments[0].end_time


def test_an_id_used_again_ends_with_its_later_count() -> None:
    transcripts = Transcripts([a_final(0, "one", 1.0), an_end(1), a_final(1, "again", 0.0), an_end(2)])
    transcripts.add(an_end(1))  # the first end, repeated
    summary = transcripts.session("session-1").summary
    assert summary is not None
    assert summary.segments == 2
    assert transcripts.session("session-1").complete
    transcripts.forget("session-1")
    assert "session-1" not in transcripts
    with pytest.raises(KeyError):
        transcripts.session("session-1")


EVENTS = st.lists(
    st.builds(
        lambda index, text, session: a_final(index, text, float(index), session_id=session),
        st.integers(0, 4),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["a", "b"]),
    )
    | st.builds(lambda session: an_end(5, session_id=session), st.sampled_from(["a", "b"])),
    max_size=40,
)


@settings(max_examples=50)
@given(EVENTS)
def test_what_a_ledger_lets_through_leads_to_the_same_sessions(
    events: list[FinalTranscript | SessionEnded],
) -> None:
    """Dropping repetitions loses nothing: storing what is news gives what storing everything gives."""
    ledger, news = SegmentLedger(), Transcripts()
    for event in events:
        if isinstance(event, SessionEnded):
            news.add(event)
        elif (novelty := ledger.enter(event)) is not Novelty.REPEATED:
            news.add(SegmentReceived(event, novelty is Novelty.REVISED, "finals", 0, 0))
    everything = Transcripts(events)
    assert {session.session_id: session for session in news} == {
        session.session_id: session for session in everything
    }
    for session in everything:
        latest = {
            event.segment_index: event
            for event in events
            if isinstance(event, FinalTranscript) and event.session_id == session.session_id
        }
        assert session.segments == tuple(latest[index] for index in sorted(latest))
