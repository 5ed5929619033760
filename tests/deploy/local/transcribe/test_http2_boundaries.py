"""Boundaries are found wherever bytes are cut, and never inside a frame or a header block."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.transcribe.http2_boundaries import FrameBoundaries

DATA, HEADERS, PUSH_PROMISE, CONTINUATION = 0, 1, 5, 9
END_HEADERS = 0x4


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload


payloads = st.binary(max_size=40)
plain = st.builds(
    lambda *arguments: [frame(*arguments)],
    st.integers(0, 255).filter(lambda kind: kind not in (HEADERS, PUSH_PROMISE, CONTINUATION)),
    payloads,
    st.integers(0, 255),
)


@st.composite
def header_blocks(draw: st.DrawFn) -> list[bytes]:
    """HEADERS or PUSH_PROMISE and its CONTINUATIONs, the last of them with END_HEADERS; any other flags."""
    parts = draw(st.lists(payloads, min_size=1, max_size=4))
    kinds = [draw(st.sampled_from((HEADERS, PUSH_PROMISE))), *([CONTINUATION] * (len(parts) - 1))]
    flags = [draw(st.integers(0, 255)) & ~END_HEADERS for _ in parts]
    flags[-1] |= END_HEADERS
    return [frame(kind, part, flag) for kind, part, flag in zip(kinds, parts, flags, strict=True)]


units = st.lists(plain | header_blocks(), max_size=8)
"""What must stay together: a frame, or the frames of a header block."""


def ends(sequence: list[list[bytes]]) -> set[int]:
    """The position after each unit."""
    position, found = 0, set()
    for unit in sequence:
        position += sum(map(len, unit))
        found.add(position)
    return found


@given(units, st.data())
def test_the_first_boundary_of_each_piece_is_found(sequence: list[list[bytes]], data: st.DataObject) -> None:
    wire = b"".join(part for unit in sequence for part in unit)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=10))
    boundaries = FrameBoundaries()
    for start, end in pairwise([0, *sorted(cuts), len(wire)]):
        expected = min((at - start for at in ends(sequence) if start < at <= end), default=None)
        assert boundaries.advance(wire[start:end]) == expected
        assert boundaries.at_boundary == (end in ends(sequence) or not end)


@given(units)
def test_byte_by_byte(sequence: list[list[bytes]]) -> None:
    boundaries = FrameBoundaries()
    wire = b"".join(part for unit in sequence for part in unit)
    found = {at + 1 for at, byte in enumerate(wire) if boundaries.advance(bytes((byte,))) is not None}
    assert found == ends(sequence)


def test_it_begins_at_a_boundary_and_nothing_reaches_none() -> None:
    boundaries = FrameBoundaries()
    assert boundaries.at_boundary
    assert boundaries.advance(b"") is None
    assert boundaries.at_boundary


def test_the_longest_frame_is_followed_without_being_kept() -> None:
    boundaries = FrameBoundaries()
    assert boundaries.advance((2**24 - 1).to_bytes(3, "big") + bytes(6)) is None
    piece = bytes(2**16)
    assert all(boundaries.advance(piece) is None for _ in range(2**8 - 1))
    assert boundaries.advance(piece) == 2**16 - 1  # the last byte is the next frame's
