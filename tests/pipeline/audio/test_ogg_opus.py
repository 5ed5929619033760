"""Whether a payload is exactly one Ogg Opus stream; pages are checked against a second implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import ogg_opus
from pipeline.elements import INVALID_CHUNK, UNDECODABLE_AUDIO
from pipeline.errors import ChunkRejected
from tests.encoders import encode, ogg_pages, ogg_stream, tone
from tests.pipeline.builders import SECRET_AUDIO

SHORT = encode(tone(440, 1600, 16_000), "OGG_OPUS", 16_000)
LONG = encode(tone(440, 48_000, 16_000), "OGG_OPUS", 16_000)  # several pages of audio
PAGES = ogg_pages(LONG)


def error_class(payload: bytes) -> str:
    with pytest.raises(ChunkRejected) as rejected:
        ogg_opus.prepared(payload, 16_000)
    assert SECRET_AUDIO.decode() not in str(rejected.value)
    return rejected.value.error_class


@given(st.integers(8000, 48_000))
def test_only_the_input_rate_changes_and_every_page_stays_valid(rate: int) -> None:
    prepared = ogg_opus.prepared(LONG, rate)
    assert prepared == ogg_stream(ogg_pages(prepared))
    assert int.from_bytes(prepared[40:44], "little") == rate
    assert ogg_opus.prepared(prepared, 16_000) == LONG


def test_a_stream_begins_with_a_first_page_only() -> None:
    assert ogg_opus.begins(LONG)
    for page in range(1, len(PAGES)):
        assert not ogg_opus.begins(ogg_stream(PAGES[page:]))
    for payload in (b"", b"OggS", LONG[:27], b"fLaC" + LONG, LONG[1:]):
        assert not ogg_opus.begins(payload)


@given(st.integers(47, len(LONG) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_found(at: int, change: int) -> None:
    damaged = bytearray(LONG)
    damaged[at] ^= change
    assert error_class(bytes(damaged)) == UNDECODABLE_AUDIO


def test_a_damaged_first_page_is_not_mended() -> None:
    damaged = bytearray(SHORT)
    damaged[38] ^= 1  # samples to skip at the start
    assert error_class(bytes(damaged)) == UNDECODABLE_AUDIO


@pytest.mark.parametrize("missing", range(1, len(PAGES)))
def test_a_missing_page_is_found(missing: int) -> None:
    assert error_class(ogg_stream(PAGES[:missing] + PAGES[missing + 1 :])) == UNDECODABLE_AUDIO


@pytest.mark.parametrize("end", range(1, len(PAGES)))
def test_a_stream_that_breaks_off_after_a_page_is_found(end: int) -> None:
    assert error_class(ogg_stream(PAGES[:end])) == UNDECODABLE_AUDIO


@given(st.integers(47, len(LONG) - 1))
def test_a_stream_that_breaks_off_within_a_page_is_found(end: int) -> None:
    assert error_class(LONG[:end]) == UNDECODABLE_AUDIO


@pytest.mark.parametrize("behind", [SHORT, LONG, b"\0", SECRET_AUDIO, SHORT[:27]], ids=range(5))
def test_whatever_lies_behind_a_stream_is_found(behind: bytes) -> None:
    assert error_class(LONG + behind) == UNDECODABLE_AUDIO


def test_a_page_of_another_stream_is_found() -> None:
    stranger = bytearray(PAGES[2])
    stranger[14:18] = b"\1\2\3\4"
    assert error_class(ogg_stream([*PAGES[:2], stranger, *PAGES[3:]])) == UNDECODABLE_AUDIO


@pytest.mark.parametrize(
    "payload", [LONG[:28], LONG[:46], LONG.replace(b"OpusHead", b"SpeexHdr")], ids=range(3)
)
def test_a_stream_without_an_opus_head_is_no_opus(payload: bytes) -> None:
    assert error_class(payload) == INVALID_CHUNK
