"""Which chunks contradict their session or their neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.elements import FORMAT_CHANGED, SAMPLE_RATE_MISMATCH, AudioChunk, AudioFormat
from pipeline.engine.judging import FormatJudge
from tests.pipeline.builders import FORMAT, STEREO, chunk


def error_class(judge: FormatJudge, judged: AudioChunk) -> str | None:
    rejection = judge.check(judged)
    return None if rejection is None else rejection.error_class


def test_chunks_of_the_session_s_format_pass() -> None:
    judge = FormatJudge(FORMAT)
    assert [judge.check(chunk(n, media_offset_ms=100 * n)) for n in range(5)] == [None] * 5


def test_another_sample_rate_is_a_mismatch_and_names_both_rates() -> None:
    rejection = FormatJudge(FORMAT).check(chunk(3, format=AudioFormat(16_000)))
    assert rejection is not None
    assert rejection.error_class == SAMPLE_RATE_MISMATCH
    assert "16000" in rejection.reason
    assert "8000" in rejection.reason


def test_another_number_of_channels_is_a_changed_format() -> None:
    assert error_class(FormatJudge(FORMAT), chunk(3, format=STEREO)) == FORMAT_CHANGED


@pytest.mark.parametrize("other", [AudioFormat(16_000), STEREO])
def test_an_end_marker_without_audio_may_claim_any_format(other: AudioFormat) -> None:
    assert FormatJudge(FORMAT).check(chunk(3, format=other, payload=b"", end_of_session=True)) is None


def test_a_declared_rate_that_stretches_the_audio_cannot_be_true() -> None:
    judge = FormatJudge(FORMAT)  # recorded at 16 kHz, declared as 8 kHz: 100 ms would last 200
    verdicts = [judge.check(chunk(n, samples=1600, media_offset_ms=100 * n)) for n in range(20)]
    assert [verdict is None for verdict in verdicts] == [True] * 4 + [False] * 16
    rejection = verdicts[4]
    assert rejection is not None
    assert rejection.error_class == SAMPLE_RATE_MISMATCH
    assert "800 ms" in rejection.reason
    assert "400 ms" in rejection.reason


def test_one_chunk_that_is_too_long_is_forgiven() -> None:
    judge = FormatJudge(FORMAT)
    verdicts = [
        judge.check(chunk(n, samples=1600 if n == 2 else 800, media_offset_ms=100 * n)) for n in range(6)
    ]
    assert verdicts == [None] * 6


def test_chunks_of_another_format_are_not_compared_with() -> None:
    judge = FormatJudge(FORMAT)
    assert judge.check(chunk(0, media_offset_ms=0)) is None
    assert judge.check(chunk(1, media_offset_ms=100, format=STEREO)) is not None
    assert judge.check(chunk(1, media_offset_ms=100)) is None


def test_chunks_that_do_not_follow_one_another_are_not_compared() -> None:
    judge = FormatJudge(FORMAT)
    assert judge.check(chunk(0, media_offset_ms=0)) is None
    assert judge.check(chunk(2, media_offset_ms=10)) is None


def test_without_media_offsets_there_is_nothing_to_compare() -> None:
    judge = FormatJudge(FORMAT)
    assert judge.check(chunk(0)) is None
    assert judge.check(chunk(1, media_offset_ms=10)) is None


@given(
    samples=st.integers(80, 8000),
    jitters_ms=st.lists(st.integers(-120, 120), min_size=1, max_size=60),
    first_ms=st.integers(0, 10**9),
)
def test_jittered_offsets_of_honest_chunks_pass(samples: int, jitters_ms: list[int], first_ms: int) -> None:
    judge = FormatJudge(FORMAT)
    for number, jitter_ms in enumerate(jitters_ms):
        offset_ms = first_ms + number * samples * 1000 // 8000 + jitter_ms
        assert judge.check(chunk(number, samples=samples, media_offset_ms=offset_ms)) is None


@given(st.integers(800, 16_000), st.floats(1.5, 6.0))
def test_audio_of_a_higher_rate_than_declared_is_found_within_two_seconds(
    samples: int, factor: float
) -> None:
    judge = FormatJudge(FORMAT)
    elapsed_ms = 0.0
    number = 0
    while elapsed_ms <= 2000:
        verdict = judge.check(chunk(number, samples=samples, media_offset_ms=int(elapsed_ms)))
        elapsed_ms += samples / 8 / factor
        number += 1
    assert judge.check(chunk(number, samples=samples, media_offset_ms=int(elapsed_ms))) is not None or verdict
