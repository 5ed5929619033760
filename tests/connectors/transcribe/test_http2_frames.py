"""GOAWAY frames are taken out of any sequence of frames, cut anywhere; nothing else changes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.http2_frames import FrameFilter, Goaway


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + bytes(4) + payload


def goaway(last_stream_id: int, error_code: int, debug: bytes = b"") -> bytes:
    return frame(7, struct.pack(">II", last_stream_id, error_code) + debug)


others = st.builds(frame, st.integers(0, 12).filter(lambda kind: kind != 7), st.binary(max_size=40))
goaways = st.builds(goaway, st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=9))


@given(st.lists(others | goaways, max_size=8), st.data())
def test_goaways_are_taken_out_wherever_bytes_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    frames_filter = FrameFilter()
    passed, found = b"", []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        kept, more = frames_filter.receive_data(wire[start:end])
        passed += kept
        found += more
    assert passed == b"".join(one for one in frames if one[3] != 7)
    expected = [struct.unpack_from(">II", one, 9) for one in frames if one[3] == 7]
    assert found == [Goaway(last_stream_id, code) for last_stream_id, code in expected]


@given(st.lists(others | goaways, max_size=4))
def test_byte_by_byte(frames: list[bytes]) -> None:
    frames_filter = FrameFilter()
    parts = [frames_filter.receive_data(bytes((byte,))) for byte in b"".join(frames)]
    assert b"".join(kept for kept, _ in parts) == b"".join(one for one in frames if one[3] != 7)
    assert sum(len(found) for _, found in parts) == sum(one[3] == 7 for one in frames)


def test_a_frame_passes_while_it_is_incomplete() -> None:
    frames_filter = FrameFilter()
    data = frame(0, bytes(100))
    assert frames_filter.receive_data(data[:50]) == (data[:50], [])
    assert frames_filter.receive_data(data[50:] + goaway(1, 0)) == (data[50:], [Goaway(1, 0)])


@given(st.integers(0, 255), st.integers(16_385, 2**24 - 1), st.binary(max_size=30))
def test_an_overlong_frame_is_found_in_its_header_and_ends_everything(
    kind: int, length: int, rest: bytes
) -> None:
    before = frame(0, b"before")
    frames_filter = FrameFilter()
    header = length.to_bytes(3, "big") + bytes((kind, 0)) + bytes(4)
    assert frames_filter.receive_data(before + header + rest) == (before, [])
    assert frames_filter.overlong_frame_bytes == length
    assert frames_filter.receive_data(goaway(1, 0)) == (b"", [])


def test_frames_of_the_largest_length_pass() -> None:
    wire = frame(0, bytes(16_384))
    frames_filter = FrameFilter()
    assert frames_filter.receive_data(wire + goaway(1, 0)) == (wire, [Goaway(1, 0)])
    assert frames_filter.overlong_frame_bytes == 0


def test_a_goaway_too_short_for_its_fields_is_dropped() -> None:
    assert FrameFilter().receive_data(frame(7, b"1234")) == (b"", [])


def test_the_reserved_bit_of_the_stream_id_is_ignored() -> None:
    assert FrameFilter().receive_data(goaway(0x80000001, 0)) == (b"", [Goaway(1, 0)])
