"""Which chunks contradict their session or their neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.elements import FORMAT_CHANGED, SAMPLE_RATE_MISMATCH, AudioChunk, AudioFormat
from pipeline.judging import FormatJudge
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


def test_a_declared_rate_that_makes_chunks_overlap_cannot_be_true() -> None:
    judge = FormatJudge(FORMAT)
    assert judge.check(chunk(0, samples=1600, media_offset_ms=0)) is None  # 200 ms at 8 kHz
    rejection = judge.check(chunk(1, samples=1600, media_offset_ms=100))
    assert rejection is not None
    assert rejection.error_class == SAMPLE_RATE_MISMATCH
    assert "200 ms" in rejection.reason
    assert "100 ms" in rejection.reason


def test_a_session_that_lies_throughout_loses_every_chunk_but_its_first() -> None:
    judge = FormatJudge(FORMAT)
    verdicts = [judge.check(chunk(n, samples=1600, media_offset_ms=100 * n)) for n in range(6)]
    assert [verdict is None for verdict in verdicts] == [True] + [False] * 5


def test_one_chunk_that_lies_costs_one_chunk() -> None:
    judge = FormatJudge(FORMAT)
    verdicts = [
        judge.check(chunk(n, samples=1600 if n == 2 else 800, media_offset_ms=100 * n)) for n in range(6)
    ]
    assert [verdict is None for verdict in verdicts] == [True, True, True, False, True, True]


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
    jitter_ms=st.integers(-19, 20),
    first_ms=st.integers(0, 10**9),
)
def test_rounded_and_jittered_offsets_of_honest_chunks_pass(
    samples: int, jitter_ms: int, first_ms: int
) -> None:
    judge = FormatJudge(FORMAT)
    begins_ms = first_ms + samples * 1000 // 8000 + max(jitter_ms, -(samples // 8) // 2)
    assert judge.check(chunk(0, samples=samples, media_offset_ms=first_ms)) is None
    assert judge.check(chunk(1, samples=samples, media_offset_ms=begins_ms)) is None


@given(st.integers(1600, 48_000))
def test_audio_of_twice_the_declared_rate_is_found_from_200_ms_on(samples: int) -> None:
    judge = FormatJudge(FORMAT)  # recorded at 16 kHz, declared as 8 kHz
    assert judge.check(chunk(0, samples=samples, media_offset_ms=0)) is None
    assert judge.check(chunk(1, samples=samples, media_offset_ms=samples * 1000 // 16_000)) is not None
