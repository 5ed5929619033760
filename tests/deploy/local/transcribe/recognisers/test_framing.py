"""Segments between the endpoint and the recogniser's processes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.recognisers.framing import LENGTH, decode_segments, encode_segments

SECONDS = st.floats(min_value=0, max_value=14_400, allow_nan=False)
WORDS = st.builds(
    Word, st.text(), SECONDS, SECONDS, st.none() | st.floats(0, 1), st.booleans(), st.none() | st.text()
)
SEGMENTS = st.builds(
    Segment, st.integers(0, 1000), st.booleans(), SECONDS, SECONDS, st.lists(WORDS, max_size=5).map(tuple)
)


@given(st.lists(SEGMENTS, max_size=5))
@settings(deadline=None)
def test_segments_arrive_as_they_were_sent(segments: list[Segment]) -> None:
    frame = encode_segments(segments)
    assert LENGTH.unpack(frame[: LENGTH.size])[0] == len(frame) - LENGTH.size
    assert decode_segments(frame[LENGTH.size :]) == segments
