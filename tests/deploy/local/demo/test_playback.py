"""Recordings cut into chunks: nothing lost, in order, in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.demo.playback import CHUNK_MS, STAGGER_SECONDS, plan_sessions, play_order, total_seconds
from deploy.local.recordings import Recording
from schemas.serde import SingleObjectSerde


def recording(name: str, rate: int, samples: int) -> Recording:
    pcm = bytes(index % 251 for index in range(2 * samples))
    return Recording(name, name.title(), "CARDIOLOGY", "DICTATION", rate, pcm, "said")


recordings = st.builds(
    recording,
    name=st.sampled_from(["a", "b", "c"]),
    rate=st.sampled_from([8_000, 16_000]),
    samples=st.integers(min_value=1, max_value=9_000),
)


@given(st.lists(recordings, min_size=1, max_size=4), st.floats(min_value=0.5, max_value=8))
def test_chunks_carry_all_audio_of_each_session_in_order_and_end_it_once(
    played: list[Recording], speed: float
) -> None:
    sessions = plan_sessions(played, len(played) + 2, "run")
    chunks = list(play_order(sessions, speed, started_at_us=0))
    assert [chunk.due_seconds for chunk in chunks] == sorted(chunk.due_seconds for chunk in chunks)
    for session in {session.session_id: session for session in sessions}.values():
        own = [chunk for chunk in chunks if chunk.session_id == session.session_id]
        same_id = [other for other in sessions if other.session_id == session.session_id]
        if len(same_id) > 1:  # two recordings of one name: their chunks cannot be told apart
            continue
        assert b"".join(chunk.record["payload"] for chunk in own) == session.recording.pcm
        assert [chunk.record["sequence"] for chunk in own] == list(range(len(own)))
        assert [chunk.is_last for chunk in own] == [False] * (len(own) - 1) + [True]
        assert own[-1].played_seconds == session.recording.duration_seconds


def test_a_chunk_is_due_when_its_last_sample_was_captured() -> None:
    first, second = plan_sessions([recording("a", 8_000, 2_000)], 2, "run")
    chunks = list(play_order([first, second], 1.0, started_at_us=1_000_000))
    due = [chunk.due_seconds for chunk in chunks if chunk.session_id == first.session_id]
    assert due == [0.1, 0.2, 0.25]
    captured = [c.record["captured_at"] for c in chunks if c.session_id == second.session_id]
    assert captured == [1_000_000 + round((STAGGER_SECONDS + n * CHUNK_MS / 1000) * 1e6) for n in range(3)]
    assert total_seconds([first, second], 1.0) == STAGGER_SECONDS + 0.25


def test_double_speed_takes_half_the_time() -> None:
    sessions = plan_sessions([recording("a", 16_000, 16_000)], 3, "run")
    last = list(play_order(sessions, 2.0, started_at_us=0))[-1]
    assert last.due_seconds == total_seconds(sessions, 2.0) == total_seconds(sessions, 1.0) / 2


def test_more_sessions_than_recordings_take_them_again_under_new_ids() -> None:
    sessions = plan_sessions([recording("a", 8_000, 1), recording("b", 8_000, 1)], 5, "r1")
    assert [session.session_id for session in sessions] == ["a-r1", "b-r1", "a-r1-2", "b-r1-2", "a-r1-3"]


def test_records_fit_the_schema_and_the_first_one_has_the_settings() -> None:
    serde = SingleObjectSerde("audio_chunk")
    sessions = plan_sessions([recording("a", 8_000, 1_700)], 1, "run")
    decoded = [serde.decode(serde.encode(chunk.record)) for chunk in play_order(sessions, 1.0, 0)]
    assert decoded[0]["settings"]["specialty"] == "CARDIOLOGY"
    assert decoded[1]["settings"] is None
    assert decoded[-1]["end_of_session"] is True
