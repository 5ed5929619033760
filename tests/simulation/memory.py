"""Bounds of a session's memory, checked after every bundle."""

from __future__ import annotations

from pipeline.engine.limits import SessionLimits
from tests.simulation.fake_worker import FakeLive
from tests.simulation.speech import RATE_HERTZ

_SLACK_SECONDS = 1.0  # more than the longest chunk
_READ_SHARE = 1.2  # a read is sized for records, which are larger than their audio


def check_memory(live: FakeLive, limits: SessionLimits) -> None:
    """Assert what the settings promise: audio that waits, chunks held, spans remembered, size of a read."""
    if live.stream is not None:
        outbound_seconds = live.stream.outbound_samples / RATE_HERTZ
        # When a hole is given up, silence goes out for it and then what was held behind it.
        at_once = limits.max_gap_seconds + limits.reorder_wait_seconds + _SLACK_SECONDS
        most = limits.outbound_seconds * _READ_SHARE + at_once
        assert outbound_seconds <= most, f"{outbound_seconds} s in the outbound buffer"
    feed = live.session._feed
    assert feed.held_seconds <= limits.reorder_wait_seconds + _SLACK_SECONDS, "held chunks"
    timeline = feed.timeline
    spans_seconds = (timeline.next.start_sample - feed.resume.start_sample) / RATE_HERTZ
    gaps_seconds = sum(span.end_sample - span.start_sample for span in timeline.gaps) / RATE_HERTZ
    most = 2 * limits.max_segment_seconds + limits.outbound_seconds + limits.reorder_wait_seconds
    assert spans_seconds - gaps_seconds <= most + 2 * _SLACK_SECONDS, f"{spans_seconds} s on the timeline"
